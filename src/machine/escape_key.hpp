// A character back end in which one key of the user does not reach the guest.
#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include "devices/char_sink.hpp"

namespace nagaya::machine {

class EscapeKey final : public devices::CharBackend, devices::CharReceiver {
 public:
  static constexpr u8 key = 0x1d;  ///< Ctrl-]

  EscapeKey(std::unique_ptr<devices::CharBackend> inner, std::function<void()> on_key)
      : inner_(std::move(inner)), on_key_(std::move(on_key)) {}
  ~EscapeKey() override { inner_->attach(nullptr); }

  std::size_t write(std::span<const u8> data) override { return inner_->write(data); }
  void attach(devices::CharReceiver* receiver) override {
    inner_->attach(nullptr);  // no call is under way afterwards
    receiver_ = receiver;
    inner_->attach(this);  // also without a guest that listens, the key does its work
  }
  void input_room() override { inner_->input_room(); }
  void drain(unsigned timeout_ms) override { inner_->drain(timeout_ms); }
  std::string where() const override { return inner_->where(); }

 private:
  std::size_t input(std::span<const u8> data) override {
    const auto found = std::ranges::find(data, key);
    const auto before = static_cast<std::size_t>(found - data.begin());
    if (found != data.end()) on_key_();
    if (receiver_ == nullptr) return data.size();
    const std::size_t taken = before != 0 ? receiver_->input(data.first(before)) : 0;
    // The key itself is swallowed once all before it has been taken.
    return taken == before && found != data.end() ? before + 1 : taken;
  }
  void output_room() override {
    if (receiver_ != nullptr) receiver_->output_room();
  }
  void connected(bool present) override {
    if (receiver_ != nullptr) receiver_->connected(present);
  }

  const std::unique_ptr<devices::CharBackend> inner_;
  const std::function<void()> on_key_;
  devices::CharReceiver* receiver_ = nullptr;
};

}  // namespace nagaya::machine
