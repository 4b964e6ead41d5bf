#include "machine/escape_key.hpp"

#include <algorithm>

namespace nagaya::machine {

EscapeKey::EscapeKey(host::EventLoop& loop, std::unique_ptr<devices::CharBackend> inner, std::function<void()> on_key)
    : loop_(loop), inner_(std::move(inner)), on_key_(std::move(on_key)) {
  inner_->attach(this);  // also without a guest that listens, the key does its work
}

EscapeKey::~EscapeKey() {
  inner_->attach(nullptr);
  const std::lock_guard lock(waiting_->mutex);
  waiting_->receiver = nullptr;
}

void EscapeKey::attach(devices::CharReceiver* receiver) {
  inner_->attach(nullptr);  // no call is under way afterwards, apart from a posted delivery, which the lock waits for
  {
    const std::lock_guard lock(waiting_->mutex);
    waiting_->receiver = receiver;
  }
  inner_->attach(this);
}

void EscapeKey::Waiting::deliver() {
  const std::lock_guard lock(mutex);
  if (receiver == nullptr || bytes.empty()) return;
  const std::size_t taken = std::min(receiver->input(bytes), bytes.size());
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
}

void EscapeKey::input_room() {
  loop_.post([waiting = waiting_] { waiting->deliver(); });
  inner_->input_room();
}

std::size_t EscapeKey::input(std::span<const u8> data) {
  const auto found = std::ranges::find(data, key);
  const auto for_guest = data.first(static_cast<std::size_t>(found - data.begin()));
  {
    const std::lock_guard lock(waiting_->mutex);
    if (waiting_->receiver != nullptr) {
      const std::size_t room = type_ahead - waiting_->bytes.size();
      const auto kept = for_guest.first(std::min(room, for_guest.size()));
      waiting_->bytes.insert(waiting_->bytes.end(), kept.begin(), kept.end());
    }
  }
  waiting_->deliver();
  if (found != data.end()) on_key_();
  return data.size();
}

devices::CharReceiver* EscapeKey::receiver() const {
  const std::lock_guard lock(waiting_->mutex);
  return waiting_->receiver;
}

void EscapeKey::output_room() {
  if (auto* to = receiver()) to->output_room();
}

void EscapeKey::connected(bool present) {
  if (auto* to = receiver()) to->connected(present);
}

}  // namespace nagaya::machine
