#include "virtio/queue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "virtio/ring_layout.hpp"

namespace nagaya::virtio {

using namespace ring;

void Queue::set_size(u16 size) {
  if (!enabled_) size_ = size;
}
void Queue::set_descriptors(Gpa gpa) {
  if (!enabled_) descriptors_ = gpa;
}
void Queue::set_driver_area(Gpa gpa) {
  if (!enabled_) driver_ = gpa;
}
void Queue::set_device_area(Gpa gpa) {
  if (!enabled_) device_ = gpa;
}

Result<> Queue::place(memory::GuestMemory& memory, RingFeatures features) {
  if (size_ == 0 || size_ > max_size_ || (!features.packed && !std::has_single_bit(size_))) {
    return fail("virtqueue", fmt::format("size {} of at most {}", size_, max_size_));
  }
  struct Area {
    Gpa gpa;
    u64 size, align;
  };
  const u64 size = size_;
  const Area areas[] = {
      {descriptors_, 16 * size, 16},
      features.packed ? Area{driver_, 4, 4} : Area{driver_, 6 + 2 * size, 2},
      features.packed ? Area{device_, 4, 4} : Area{device_, 6 + 8 * size, 4},
  };
  u8* hosts[3];
  for (unsigned i = 0; i < 3; ++i) {
    const Area& area = areas[i];
    hosts[i] = reinterpret_cast<u8*>(memory.host(area.gpa, area.size, true));
    if (hosts[i] == nullptr || area.gpa.value % area.align != 0) {
      return fail("virtqueue", fmt::format("{} bytes of ring at {:#x}", area.size, area.gpa.value));
    }
    for (unsigned j = 0; j < i; ++j) {
      if (area.gpa.value < areas[j].gpa.value + areas[j].size && areas[j].gpa.value < area.gpa.value + area.size) {
        return fail("virtqueue", fmt::format("rings at {:#x} and {:#x} overlap", areas[j].gpa.value, area.gpa.value));
      }
    }
  }
  memory_ = &memory;
  features_ = features;
  ring_ = hosts[0];
  driver_host_ = hosts[1];
  device_host_ = hosts[2];
  return {};
}

Result<> Queue::enable(memory::GuestMemory& memory, RingFeatures features) {
  if (enabled_) return {};
  TRY(place(memory, features));
  // A packed ring's buffer ids are the driver's to choose among all of 16 bits.
  taken_.assign(features.packed ? 65536 : size_, false);
  enabled_ = true;
  return {};
}

void Queue::reset() { *this = Queue(max_size_); }

std::unexpected<Error> Queue::broken(std::string why) {
  broken_ = true;
  return fail("virtqueue", std::move(why));
}

bool Queue::has_work() const {
  if (!enabled_ || broken_) return false;
  return features_.packed ? packed_available() : available_index() != next_avail_;
}

Result<bool> Queue::pop(Chain& chain) {
  chain.clear();
  if (!enabled_ || broken_) return false;
  auto popped = features_.packed ? pop_packed(chain) : pop_split(chain);
  if (!popped) {
    broken_ = true;
    return popped;
  }
  if (!*popped) return false;
  if (chain.readable.empty() && chain.writable.empty()) return broken("a request without buffers");
  if (taken_[chain.id]) return broken(fmt::format("request {} is offered twice", chain.id));
  slots_in_flight_ += chain.slots;
  if (slots_in_flight_ > size_) return broken("more requests in flight than the ring has room for");
  taken_[chain.id] = true;
  ++in_flight_;
  return true;
}

Result<> Queue::add_segment(Chain& chain, const Descriptor& descriptor) const {
  const bool write = descriptor.flags & flag_write;
  if (!write && !chain.writable.empty()) return fail("virtqueue", "a readable buffer follows a writable one");
  if (descriptor.length == 0) return fail("virtqueue", "an empty buffer");
  if (chain.readable.size() + chain.writable.size() == most_segments) return fail("virtqueue", "too many buffers");
  const Gpa gpa(descriptor.address);
  Hva host = memory_->host(gpa, descriptor.length, write);
  if (host == nullptr) {
    return fail("virtqueue", fmt::format("a buffer of {} bytes at {:#x}", descriptor.length, gpa.value));
  }
  (write ? chain.writable : chain.readable).push_back({gpa, descriptor.length, reinterpret_cast<u8*>(host)});
  (write ? chain.writable_bytes : chain.readable_bytes) += descriptor.length;
  // What a driver may ask for as a whole (2.7.5.1); also what a used length can tell.
  if (chain.readable_bytes + chain.writable_bytes > ~u32{0}) return fail("virtqueue", "a request of more than 4 GiB");
  return {};
}

/// Walks a table of descriptors that lies elsewhere: linked by `next` in split rings, in order in packed ones.
Result<> Queue::add_indirect(Chain& chain, const Descriptor& table) const {
  if (!features_.indirect) return fail("virtqueue", "indirect descriptors were not agreed upon");
  if (table.flags & flag_next) return fail("virtqueue", "an indirect descriptor that goes on");
  const u32 count = table.length / 16;
  if (count == 0 || table.length % 16 != 0 || count > largest) {
    return fail("virtqueue", fmt::format("a table of {} bytes", table.length));
  }
  const auto* host = reinterpret_cast<const u8*>(memory_->host(Gpa(table.address), table.length));
  if (host == nullptr) return fail("virtqueue", fmt::format("a table at {:#x}", table.address));
  u32 index = 0;
  for (u32 walked = 0; walked < count; ++walked) {
    const Descriptor descriptor = load_descriptor(host + u64{16} * index, features_.packed);
    if (descriptor.flags & flag_indirect) return fail("virtqueue", "a table within a table");
    TRY(add_segment(chain, descriptor));
    if (features_.packed) {
      ++index;
      continue;
    }
    if (!(descriptor.flags & flag_next)) return {};
    index = descriptor.other;
    if (index >= count) return fail("virtqueue", fmt::format("descriptor {} of a table of {}", index, count));
  }
  if (features_.packed) return {};
  return fail("virtqueue", "descriptors that form a loop");
}

void Queue::stage(const Chain& chain, u64 written) {
  if (!enabled_ || chain.id >= taken_.size() || !taken_[chain.id]) return;
  taken_[chain.id] = false;
  --in_flight_;
  slots_in_flight_ -= chain.slots;
  if (broken_) return;
  u64 left = std::min(written, chain.writable_bytes);
  const u32 length = static_cast<u32>(left);
  for (const Segment& segment : chain.writable) {
    if (left == 0) break;
    const u64 count = std::min<u64>(left, segment.length);
    memory_->wrote(segment.gpa, count);
    left -= count;
  }
  if (features_.packed) {
    stage_packed(chain.id, length, !chain.writable.empty(), chain.slots);
  } else {
    stage_split(chain.id, length);
  }
}

void Queue::unpop(const Chain& chain) {
  if (!enabled_ || chain.id >= taken_.size() || !taken_[chain.id]) return;
  taken_[chain.id] = false;
  --in_flight_;
  slots_in_flight_ -= chain.slots;
  if (features_.packed) {
    unpop_packed(chain.slots);
  } else {
    --next_avail_;
  }
}

void Queue::publish() {
  if (staged_ == 0 || broken_) return;
  if (features_.packed) {
    publish_packed();
  } else {
    publish_split();
  }
  since_interrupt_ = static_cast<u16>(std::min(u32{since_interrupt_} + staged_, 0xffffu));
  staged_ = 0;
}

bool Queue::wants_interrupt() {
  if (!enabled_ || broken_ || since_interrupt_ == 0) return false;
  // What was published must be visible before the driver's wish is read (2.7.7.2, 2.8.10).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool wants = features_.packed ? wants_interrupt_packed() : wants_interrupt_split();
  since_interrupt_ = 0;
  return wants;
}

void Queue::disable_notifications() {
  if (!enabled_ || broken_) return;
  if (features_.packed) {
    notifications_packed(false);
  } else {
    notifications_split(false);
  }
}

bool Queue::enable_notifications() {
  if (!enabled_ || broken_) return false;
  if (features_.packed) {
    notifications_packed(true);
  } else {
    notifications_split(true);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return has_work();
}

void Queue::save(state::Writer& out) const {
  out.put(size_);
  out.put(enabled_);
  out.put(broken_);
  out.put(descriptors_.value);
  out.put(driver_.value);
  out.put(device_.value);
  out.put(next_avail_);
  out.put(next_used_);
  out.put(since_interrupt_);
  out.put(avail_wrap_);
  out.put(used_wrap_);
}

void Queue::restore(state::Reader& in, memory::GuestMemory& memory, RingFeatures features) {
  reset();
  in.get(size_);
  const bool enabled = in.get<bool>();
  const bool broken = in.get<bool>();
  descriptors_ = Gpa(in.get<u64>());
  driver_ = Gpa(in.get<u64>());
  device_ = Gpa(in.get<u64>());
  const u16 avail = in.get<u16>(), used = in.get<u16>(), since = in.get<u16>();
  const bool avail_wrap = in.get<bool>(), used_wrap = in.get<bool>();
  if (!enabled) return;
  if (auto result = enable(memory, features); !result) {
    in.reject(result.error().message());
    reset();
    return;
  }
  if (features.packed && (avail >= size_ || used >= size_)) {
    in.reject("a slot past the end of its ring");
    reset();
    return;
  }
  broken_ = broken;
  next_avail_ = avail;
  next_used_ = used;
  since_interrupt_ = since;
  avail_wrap_ = avail_wrap;
  used_wrap_ = used_wrap;
}

void Queue::save_chain(state::Writer& out, const Chain& chain) const {
  out.put(chain.id);
  out.put(chain.slots);
  out.put(static_cast<u16>(chain.readable.size()));
  out.put(static_cast<u16>(chain.writable.size()));
  for (const auto* list : {&chain.readable, &chain.writable}) {
    for (const Segment& segment : *list) {
      out.put(segment.gpa.value);
      out.put(segment.length);
    }
  }
}

bool Queue::restore_chain(state::Reader& in, Chain& chain) {
  chain.clear();
  in.get(chain.id);
  in.get(chain.slots);
  const u16 readable = in.get<u16>(), writable = in.get<u16>();
  bool good = enabled_ && chain.id < taken_.size() && !taken_[chain.id] && readable + writable > 0 &&
              readable + writable <= static_cast<int>(most_segments) && chain.slots <= size_ - slots_in_flight_ &&
              (chain.slots != 0) == features_.packed && in_flight_ < size_;
  for (unsigned i = 0; good && i < readable + 0u + writable; ++i) {
    const u64 address = in.get<u64>();
    const u32 length = in.get<u32>();
    const u16 flags = i < readable ? u16{0} : flag_write;
    good = add_segment(chain, {address, length, flags, 0}).has_value();
  }
  if (!good) {
    in.reject("a request in flight that cannot be");
    return false;
  }
  taken_[chain.id] = true;
  ++in_flight_;
  slots_in_flight_ += chain.slots;
  return true;
}

}  // namespace nagaya::virtio
