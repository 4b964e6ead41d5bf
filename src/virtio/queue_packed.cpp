// Packed rings: one ring of descriptors that both sides write, and an event suppression structure (slot and wrap
// counter, flags) in each area (VIRTIO 1.2, 2.8).
#include <fmt/format.h>

#include "virtio/queue.hpp"
#include "virtio/ring_layout.hpp"

namespace nagaya::virtio {

using namespace ring;

bool Queue::packed_available() const {
  const u16 flags = load16(ring_ + 16 * next_avail_ + 14, __ATOMIC_ACQUIRE);
  return bool(flags & flag_avail) == avail_wrap_ && bool(flags & flag_used) != avail_wrap_;
}

Result<bool> Queue::pop_packed(Chain& chain) {
  if (!packed_available()) return false;
  u16 slot = next_avail_;
  bool wrap = avail_wrap_;
  for (;;) {
    const Descriptor descriptor = load_descriptor(ring_ + 16 * slot, true);
    if (chain.slots == size_) return fail("virtqueue", "a chain longer than its ring");
    ++chain.slots;
    if (++slot == size_) {
      slot = 0;
      wrap = !wrap;
    }
    chain.id = descriptor.other;  // the last one's counts
    if (descriptor.flags & flag_indirect) {
      if (chain.slots != 1) return fail("virtqueue", "an indirect descriptor within a chain");
      TRY(add_indirect(chain, descriptor));
      break;
    }
    TRY(add_segment(chain, descriptor));
    if (!(descriptor.flags & flag_next)) break;
  }
  next_avail_ = slot;
  avail_wrap_ = wrap;
  return true;
}

void Queue::unpop_packed(u16 slots) {
  if (next_avail_ < slots) {
    next_avail_ = static_cast<u16>(next_avail_ + size_);
    avail_wrap_ = !avail_wrap_;
  }
  next_avail_ = static_cast<u16>(next_avail_ - slots);
}

/// Writes the used descriptor; the first staged one gets its flags last, in publish.
void Queue::stage_packed(u16 id, u32 length, bool writable, u16 slots) {
  u32 slot = u32{next_used_} + staged_;
  bool wrap = used_wrap_;
  if (slot >= size_) {
    slot -= size_;
    wrap = !wrap;
  }
  u8* at = ring_ + 16 * slot;
  store32(at + 8, length);
  store16(at + 12, id);
  const u16 flags = static_cast<u16>((wrap ? flag_avail | flag_used : 0) | (writable ? flag_write : 0));
  if (staged_ == 0) {
    first_flags_ = flags;
  } else {
    store16(at + 14, flags);
  }
  memory_->wrote(descriptors_ + u64{16} * slot, 16);
  staged_ = static_cast<u16>(staged_ + slots);
}

void Queue::publish_packed() {
  store16(ring_ + 16 * next_used_ + 14, first_flags_, __ATOMIC_RELEASE);
  memory_->wrote(descriptors_ + u64{16} * next_used_ + 14, 2);
  u32 slot = u32{next_used_} + staged_;
  if (slot >= size_) {
    slot -= size_;
    used_wrap_ = !used_wrap_;
  }
  next_used_ = static_cast<u16>(slot);
}

bool Queue::wants_interrupt_packed() const {
  const u32 event = load32(driver_host_);
  const u16 mode = static_cast<u16>(event >> 16 & 3);
  if (mode != events_slot || !features_.event_index) return mode != events_none;
  // The slot asked for, counted backwards from the next one to be used.
  u16 slot = static_cast<u16>(event & 0x7fff);
  if (bool(event & 0x8000) != used_wrap_) slot = static_cast<u16>(slot - size_);
  return static_cast<u16>(next_used_ - slot - 1) < since_interrupt_;
}

void Queue::notifications_packed(bool on) {
  if (on && features_.event_index) {
    store16(device_host_, static_cast<u16>(next_avail_ | (avail_wrap_ ? 0x8000 : 0)));
    store16(device_host_ + 2, events_slot, __ATOMIC_RELEASE);
  } else {
    store16(device_host_ + 2, on ? events_all : events_none);
  }
  memory_->wrote(device_, 4);
}

}  // namespace nagaya::virtio
