// Split rings. Driver area: flags, index, ring of heads, used_event. Device area: flags, index, ring of (id, length),
// avail_event (VIRTIO 1.2, 2.7.6 to 2.7.10).
#include <fmt/format.h>

#include <atomic>

#include "virtio/queue.hpp"
#include "virtio/ring_layout.hpp"

namespace nagaya::virtio {

using namespace ring;

u16 Queue::available_index() const { return load16(driver_host_ + 2, __ATOMIC_ACQUIRE); }

Result<bool> Queue::pop_split(Chain& chain) {
  const u16 waiting = static_cast<u16>(available_index() - next_avail_);
  if (waiting == 0) return false;
  if (waiting > size_) return fail("virtqueue", fmt::format("{} requests offered in a ring of {}", waiting, size_));
  u16 index = load16(driver_host_ + 4 + 2 * (next_avail_ & (size_ - 1)));
  if (index >= size_) return fail("virtqueue", fmt::format("descriptor {} of {}", index, size_));
  chain.id = index;
  // Each descriptor at most once: what takes more steps than there are is a loop.
  for (u16 walked = 0; walked < size_; ++walked) {
    const Descriptor descriptor = load_descriptor(ring_ + 16 * index, false);
    const bool indirect = descriptor.flags & flag_indirect;
    if (indirect) {
      TRY(add_indirect(chain, descriptor));
    } else {
      TRY(add_segment(chain, descriptor));
    }
    if (!(descriptor.flags & flag_next) || indirect) {
      ++next_avail_;
      return true;
    }
    index = descriptor.other;
    if (index >= size_) return fail("virtqueue", fmt::format("descriptor {} of {}", index, size_));
  }
  return fail("virtqueue", "descriptors that form a loop");
}

void Queue::stage_split(u16 id, u32 length) {
  const u64 offset = 4 + 8 * u64{static_cast<u16>(next_used_ + staged_) & (size_ - 1u)};
  store32(device_host_ + offset, id);
  store32(device_host_ + offset + 4, length);
  memory_->wrote(device_ + offset, 8);
  ++staged_;
}

void Queue::publish_split() {
  next_used_ = static_cast<u16>(next_used_ + staged_);
  store16(device_host_ + 2, next_used_, __ATOMIC_RELEASE);
  memory_->wrote(device_ + 2, 2);
}

bool Queue::wants_interrupt_split() const {
  if (!features_.event_index) return !(load16(driver_host_) & no_interrupt);
  const u16 event = load16(driver_host_ + 4 + 2 * size_);
  return static_cast<u16>(next_used_ - event - 1) < since_interrupt_;
}

void Queue::notifications_split(bool on) {
  if (features_.event_index) {
    // Off: the old index stays behind, and is not passed again for a long time.
    if (!on) return;
    const u64 offset = 4 + 8 * u64{size_};
    store16(device_host_ + offset, next_avail_);
    memory_->wrote(device_ + offset, 2);
  } else {
    store16(device_host_, on ? 0 : no_notify);
    memory_->wrote(device_, 2);
  }
}

}  // namespace nagaya::virtio
