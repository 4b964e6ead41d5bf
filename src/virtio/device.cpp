#include "virtio/device.hpp"

#include <algorithm>

namespace nagaya::virtio {

using namespace status;

VirtioDevice::VirtioDevice(std::string name, u16 type, memory::GuestMemory& memory, const std::vector<u16>& queue_sizes)
    : name_(std::move(name)), type_(type), memory_(memory) {
  for (u16 size : queue_sizes) queues_.emplace_back(size);
}

u64 VirtioDevice::offered_features() const {
  return (device_features() | f_indirect | f_event_index | f_version_1 | f_packed | f_queue_reset) & ~withheld_;
}

u64 VirtioDevice::driver_features() const {
  std::lock_guard lock(mutex_);
  return driver_features_;
}

void VirtioDevice::write_driver_features(u32 word, u32 value) {
  std::lock_guard lock(mutex_);
  if (word > 1 || status() & features_ok) return;
  driver_features_ = (driver_features_ & ~(u64{0xffff'ffff} << 32 * word)) | u64{value} << 32 * word;
}

RingFeatures VirtioDevice::ring_features() const {
  return {negotiated(f_packed), negotiated(f_event_index), negotiated(f_indirect)};
}

void VirtioDevice::write_status(u8 value) {
  std::lock_guard lock(mutex_);
  if (value == 0) {
    reset_locked();
    return;
  }
  const u8 now = status();
  // A driver only adds bits (2.1.1), and cannot say for us that we are well again.
  u8 added = static_cast<u8>(value & ~now & ~needs_reset);
  if (added & features_ok) {
    // Without version 1 there is only the legacy interface, which we have not; unknown bits are refused (2.2.1).
    const bool agreed = driver_features_ & f_version_1 && !(driver_features_ & ~offered_features());
    if (agreed) {
      negotiated_ = driver_features_;
    } else {
      added &= static_cast<u8>(~features_ok);
    }
  }
  if (!((now | added) & features_ok)) added &= static_cast<u8>(~driver_ok);
  status_.fetch_or(added, std::memory_order_acq_rel);
  if (added & driver_ok) start_locked();
}

u16 VirtioDevice::queue_max_size(unsigned queue) const { return find(queue) ? queues_[queue].max_size() : 0; }

u16 VirtioDevice::queue_size(unsigned queue) const {
  std::lock_guard lock(mutex_);
  return find(queue) ? queues_[queue].size() : 0;
}

bool VirtioDevice::queue_enabled(unsigned queue) const {
  std::lock_guard lock(mutex_);
  return find(queue) && queues_[queue].enabled();
}

u64 VirtioDevice::queue_address(unsigned queue, RingPart part) const {
  std::lock_guard lock(mutex_);
  const Queue* q = find(queue);
  if (!q) return 0;
  switch (part) {
    case RingPart::descriptors:
      return q->descriptors().value;
    case RingPart::driver:
      return q->driver_area().value;
    default:
      return q->device_area().value;
  }
}

void VirtioDevice::write_queue_size(unsigned queue, u16 size) {
  std::lock_guard lock(mutex_);
  if (find(queue)) queues_[queue].set_size(size);
}

void VirtioDevice::write_queue_address(unsigned queue, RingPart part, unsigned shift, u32 value) {
  const u64 old = queue_address(queue, part);
  const Gpa gpa((old & ~(u64{0xffff'ffff} << shift)) | u64{value} << shift);
  std::lock_guard lock(mutex_);
  if (!find(queue)) return;
  switch (part) {
    case RingPart::descriptors:
      return queues_[queue].set_descriptors(gpa);
    case RingPart::driver:
      return queues_[queue].set_driver_area(gpa);
    default:
      return queues_[queue].set_device_area(gpa);
  }
}

void VirtioDevice::enable_queue(unsigned queue) {
  std::lock_guard lock(mutex_);
  // How a ring looks is known only once features are agreed upon.
  if (!find(queue) || queues_[queue].enabled() || !(status() & features_ok) || !sound()) return;
  stop_locked();
  if (auto result = queues_[queue].enable(memory_, ring_features()); !result) broken(result.error().message());
  start_locked();
}

void VirtioDevice::reset_queue(unsigned queue) {
  std::lock_guard lock(mutex_);
  if (!find(queue)) return;
  stop_locked();
  queues_[queue].reset();
  start_locked();
}

/// Begins work where the driver is ready, we are well, and the machine runs.
void VirtioDevice::start_locked() {
  if (started_ || paused_ || !(status() & driver_ok) || !sound()) return;
  started_ = true;
  start();
  running_.store(true, std::memory_order_release);
  for (unsigned i = 0; i < queues_.size(); ++i) {
    if (queues_[i].enabled()) kicked(i);
  }
}

void VirtioDevice::stop_locked() {
  running_.store(false, std::memory_order_release);
  if (!started_) return;
  started_ = false;
  stop();
}

void VirtioDevice::reset_locked() {
  stop_locked();
  for (Queue& queue : queues_) queue.reset();
  reset_state();
  driver_features_ = 0;
  negotiated_ = 0;
  status_ = 0;
}

void VirtioDevice::reset() {
  std::lock_guard lock(mutex_);
  reset_locked();
  generation_ = 0;
}

void VirtioDevice::pause() {
  std::lock_guard lock(mutex_);
  paused_ = true;
  stop_locked();
}

void VirtioDevice::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  start_locked();
}

bool VirtioDevice::pop(unsigned index, Chain& chain) {
  if (!sound()) return false;
  auto popped = queues_[index].pop(chain);
  if (!popped) broken(popped.error().message());
  return popped.value_or(false);
}

void VirtioDevice::interrupt(unsigned index) {
  if (queues_[index].wants_interrupt() && transport_) transport_->queue_interrupt(index);
}

void VirtioDevice::broken(const std::string& why) {
  const u8 before = status_.fetch_or(needs_reset, std::memory_order_acq_rel);
  if (before & needs_reset) return;
  if (complaints_.pass()) log::warning("{}: {}; it stops until its driver resets it", name_, why);
  // "If DRIVER_OK is set, the device MUST send a configuration change notification" (2.1.2).
  if (before & driver_ok && transport_) transport_->config_interrupt();
}

void VirtioDevice::config_changed() {
  generation_.fetch_add(1, std::memory_order_acq_rel);
  if (status() & driver_ok && transport_) transport_->config_interrupt();
}

void VirtioDevice::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  out.put(status());
  out.put(driver_features_);
  out.put(generation_.load());
  for (const Queue& queue : queues_) queue.save(out);
  save_state(out);
}

void VirtioDevice::restore(state::Reader& in) {
  std::lock_guard lock(mutex_);
  reset_locked();
  const u8 saved = in.get<u8>();
  in.get(driver_features_);
  generation_ = in.get<u32>();
  if (saved & features_ok) {
    if (!(driver_features_ & f_version_1) || driver_features_ & ~offered_features()) {
      in.reject("the driver uses features that this device has not");
    }
    negotiated_ = driver_features_;
  }
  if (saved & driver_ok && !(saved & features_ok)) in.reject("a status that cannot be");
  for (Queue& queue : queues_) {
    queue.restore(in, memory_, ring_features());
    if (queue.enabled() && !(saved & features_ok)) in.reject("a queue enabled too early");
  }
  status_ = saved;
  restore_state(in);
}

}  // namespace nagaya::virtio
