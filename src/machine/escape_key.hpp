// A character back end in which one key of the user does not reach the guest.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "devices/char_sink.hpp"
#include "host/event_loop.hpp"

namespace nagaya::machine {

/// Takes whatever is typed, so that the key is heard also when the guest reads nothing; what the guest has no room for waits
/// here, and beyond `type_ahead` bytes is dropped, as a terminal does.
class EscapeKey final : public devices::CharBackend, devices::CharReceiver {
 public:
  static constexpr u8 key = 0x1d;  ///< Ctrl-]
  static constexpr std::size_t type_ahead = 4096;

  /// `loop` is the one `inner` works on; `on_key` is called on its thread.
  EscapeKey(host::EventLoop& loop, std::unique_ptr<devices::CharBackend> inner, std::function<void()> on_key);
  ~EscapeKey() override;

  std::size_t write(std::span<const u8> data) override { return inner_->write(data); }
  void attach(devices::CharReceiver* receiver) override;
  void input_room() override;
  void drain(unsigned timeout_ms) override { inner_->drain(timeout_ms); }
  std::string where() const override { return inner_->where(); }

 private:
  /// What outlives us in tasks posted to the loop.
  struct Waiting {
    std::mutex mutex;  // held while the receiver takes input; taken after the inner back end's own
    devices::CharReceiver* receiver = nullptr;  // guarded by mutex
    std::vector<u8> bytes;                      // guarded by mutex
    void deliver();
  };

  std::size_t input(std::span<const u8> data) override;
  void output_room() override;
  void connected(bool present) override;
  [[nodiscard]] devices::CharReceiver* receiver() const;

  host::EventLoop& loop_;
  const std::unique_ptr<devices::CharBackend> inner_;
  const std::function<void()> on_key_;
  const std::shared_ptr<Waiting> waiting_ = std::make_shared<Waiting>();
};

}  // namespace nagaya::machine
