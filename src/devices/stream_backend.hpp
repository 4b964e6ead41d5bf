// Moves bytes between a character device and descriptors, on an event loop, with bounded buffers both ways.
#pragma once
#include <array>
#include <atomic>
#include <functional>
#include <mutex>

#include "devices/char_sink.hpp"
#include "devices/output_ring.hpp"
#include "host/event_loop.hpp"
#include "host/fd.hpp"

namespace nagaya::devices {

class StreamBackend final : public CharBackend {
 public:
  enum class WhenFull : u8 { push_back, drop };

  /// `hangup` is called on the loop's thread after the other end has gone and its descriptors are closed.
  static Result<std::unique_ptr<StreamBackend>> create(host::EventLoop& loop, WhenFull when_full, std::string where = {},
                                                       std::function<void()> hangup = {});
  /// Not on the loop's thread while the loop runs elsewhere; waits for a callback under way.
  ~StreamBackend() override;

  /// Begins with these descriptors (either may be empty). Once, or on the loop's thread after a hangup.
  Result<> connect(host::Fd in, host::Fd out);
  /// The same with one descriptor for both directions, whose end of input ends both.
  Result<> connect_both(host::Fd both);

  std::size_t write(std::span<const u8> data) override;
  void attach(CharReceiver* receiver) override;
  void input_room() override;
  void drain(unsigned timeout_ms) override;
  [[nodiscard]] std::string where() const override { return where_; }

 private:
  enum class Flow : u8 { done, would_block, broken };

  StreamBackend(host::EventLoop& loop, WhenFull when_full, std::string where, std::function<void()> hangup);
  void on_wake();
  void on_event(int fd, u32 events);
  // With io_mutex_ held, on the loop's thread.
  Result<> watch();
  void service(bool readable);
  void take_input(bool readable);
  bool deliver();
  void update_interest();
  void disconnect();
  // With io_mutex_ held, any thread.
  Flow flush(unsigned most_bytes);
  void offer_room();
  [[nodiscard]] int out_fd() const { return single_ ? in_.get() : out_.get(); }

  host::EventLoop& loop_;
  const WhenFull when_full_;
  const std::string where_;
  const std::function<void()> hangup_;
  host::Fd wake_;
  std::atomic<bool> announce_{false};  // tell the receiver about the carrier

  // Taken first, and held while the receiver is called; never taken by write() or input_room().
  std::mutex io_mutex_;
  host::Fd in_, out_;
  bool single_ = false;                            // in_ serves both directions
  bool in_watched_ = false, out_watched_ = false;  // false: a file that is always ready
  bool in_ended_ = false, out_broken_ = false, out_blocked_ = false;
  CharReceiver* receiver_ = nullptr;
  std::array<u8, 1024> input_{};
  std::size_t input_count_ = 0;

  // Taken second.
  std::mutex ring_mutex_;
  OutputRing ring_;
  bool open_ = false;     // output goes somewhere, else it is dropped
  bool refused_ = false;  // a write came up short
};

}  // namespace nagaya::devices
