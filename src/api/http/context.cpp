#include "api/http/context.hpp"

#include <poll.h>

namespace nagaya::api {

using namespace std::chrono_literals;

net::awaitable<void> sleep_until_event(Context& context, std::chrono::milliseconds most) {
  net::steady_timer timer(context.io, most);
  context.sleepers.insert(&timer);
  const ScopeExit forget([&] { context.sleepers.erase(&timer); });
  ErrorCode ignored;
  co_await timer.async_wait(quietly(ignored));
}

Deadline::Deadline(net::io_context& io, std::chrono::seconds patience, std::function<void()> act)
    : passed_(std::make_shared<bool>(false)), armed_(std::make_shared<bool>(true)), timer_(io, patience) {
  timer_.async_wait([passed = passed_, armed = armed_, act = std::move(act)](ErrorCode error) {
    if (error || !*armed) return;
    *passed = true;
    act();
  });
}

Deadline::~Deadline() { *armed_ = false; }

struct GoneWatch::State : std::enable_shared_from_this<GoneWatch::State> {
  State(net::io_context& io, int s, std::function<void()> a) : timer(io), socket(s), act(std::move(a)) {}
  void look() {
    timer.expires_after(500ms);
    timer.async_wait([self = shared_from_this()](ErrorCode error) {
      if (error || !self->armed) return;
      pollfd watched{self->socket, POLLRDHUP, 0};
      if (::poll(&watched, 1, 0) > 0 && (watched.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
        self->armed = false;
        self->act();
      } else {
        self->look();
      }
    });
  }
  net::steady_timer timer;
  int socket;
  std::function<void()> act;
  bool armed = true;
};

GoneWatch::GoneWatch(net::io_context& io, int socket, std::function<void()> act) : state_(std::make_shared<State>(io, socket, std::move(act))) { state_->look(); }

GoneWatch::~GoneWatch() {
  state_->armed = false;
  state_->timer.cancel();
}

bool start_job(Context& context, const std::shared_ptr<Job>& job) {
  static const std::set<std::string, std::less<>> long_ones = {"runExec", "openExec", "openConsole", "getLogs", "getFiles", "putFiles"};
  const bool slow = job->call.operation != nullptr && long_ones.contains(job->call.operation->id);
  job->done = false;
  job->finished.expires_at(net::steady_timer::time_point::max());
  job->call.gone = job->gone.get_token();
  // The job's own reference keeps it alive when its connection goes meanwhile; and it ends on the thread it belongs to.
  return (slow ? context.slow : context.quick).post([&context, job]() mutable {
    job->reply = context.service.finish(job->call, job->body);
    job->call.upload_stream.reset();
    net::post(context.io, [job = std::move(job)] {
      job->done = true;
      job->finished.cancel();
    });
  });
}

net::awaitable<void> wait_job(std::shared_ptr<Job> job) {
  while (!job->done) {
    ErrorCode ignored;
    co_await job->finished.async_wait(quietly(ignored));
  }
}

net::awaitable<bool> run_slow(Context& context, const std::function<void()>& work) {
  struct Waiting {
    explicit Waiting(net::io_context& io) : timer(io, net::steady_timer::time_point::max()) {}
    net::steady_timer timer;
    bool done = false;
  };
  auto waiting = std::make_shared<Waiting>(context.io);
  const bool taken = context.slow.post([&context, waiting, work]() mutable {
    work();
    net::post(context.io, [waiting = std::move(waiting)] {
      waiting->done = true;
      waiting->timer.cancel();
    });
  });
  if (!taken) co_return false;
  while (!waiting->done) {
    ErrorCode ignored;
    co_await waiting->timer.async_wait(quietly(ignored));
  }
  co_return true;
}

}  // namespace nagaya::api
