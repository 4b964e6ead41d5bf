// What the connections of a server share. All of it belongs to the one thread that does input and output.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>

#include "api/asio/asio.hpp"
#include "api/http/server.hpp"
#include "api/workers.hpp"
#include "base/scope.hpp"

namespace nagaya::api {

struct Context {
  Context(Service& s, ServerLimits l) : service(s), limits(l) {}
  Service& service;
  const ServerLimits limits;
  bool draining = false;
  std::size_t connections = 0;
  std::map<std::string, unsigned> by_address;
  std::size_t body_bytes = 0;
  /// Timers of those who wait for something to happen: cancelled when it does.
  std::set<net::steady_timer*> sleepers;
  /// How to end what would go on by itself: idle connections, streams, terminals.
  std::map<u64, std::function<void()>> closers;
  u64 next_closer = 0;

  // Last, in this order: workers post to `io`, and what still waits there when it ends uses the above.
  net::io_context io{1};
  /// Short calls and long ones wait apart: a guest that does not answer must not keep others from listing.
  Workers quick{"api-quick", 6, 512}, slow{"api-slow", 32, 64};

  void wake_sleepers() {
    for (net::steady_timer* timer : sleepers) timer->cancel();
  }
};

/// Waits for `most`, or until something happens.
net::awaitable<void> sleep_until_event(Context& context, std::chrono::milliseconds most);

/// Registers how to end something; the destructor takes it back.
class Closer {
 public:
  Closer(Context& context, std::function<void()> close) : context_(context), id_(context.next_closer++) { context_.closers[id_] = std::move(close); }
  ~Closer() { context_.closers.erase(id_); }
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

 private:
  Context& context_;
  u64 id_;
};

/// Calls `act` unless it goes away within `patience`.
class Deadline {
 public:
  Deadline(net::io_context& io, std::chrono::seconds patience, std::function<void()> act);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  [[nodiscard]] bool passed() const { return *passed_; }

 private:
  std::shared_ptr<bool> passed_, armed_;
  net::steady_timer timer_;
};

/// Looks twice a second whether the peer of a socket has gone, and calls `act` then, once.
class GoneWatch {
 public:
  GoneWatch(net::io_context& io, int socket, std::function<void()> act);
  ~GoneWatch();
  GoneWatch(const GoneWatch&) = delete;
  GoneWatch& operator=(const GoneWatch&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// A call on its way through a worker.
struct Job {
  Job(net::io_context& io, Call c) : call(std::move(c)), finished(io) {}
  Call call;
  std::string body{};
  std::stop_source gone{};
  Reply reply{};
  bool done = false;
  net::steady_timer finished;
};
/// False: too many calls wait.
[[nodiscard]] bool start_job(Context& context, const std::shared_ptr<Job>& job);
net::awaitable<void> wait_job(std::shared_ptr<Job> job);

/// Runs `work` on a worker for what takes long; false: too many wait.
net::awaitable<bool> run_slow(Context& context, const std::function<void()>& work);

}  // namespace nagaya::api
