// For tests: a driver's end of a virtqueue, split or packed, written from the specification and apart from queue.cpp.
#pragma once
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "memory/guest_memory.hpp"
#include "virtio/queue.hpp"

namespace nagaya::virtio::testing {

struct GuestBuffer {
  u64 gpa;
  u32 length;
  bool write = false;
};

struct Used {
  u16 id;
  u32 length;
};

class ModelDriver {
 public:
  /// Rings from `base` up; indirect tables behind them.
  ModelDriver(memory::GuestMemory& memory, u64 base, u16 size, RingFeatures features)
      : descriptors(base), driver(base + 0x10000), device(base + 0x20000), memory_(memory), size_(size),
        features_(features), tables_(base + 0x30000) {
    restart();
  }
  const u64 descriptors, driver, device;

  void restart() {
    (void)memory_.fill(Gpa(descriptors), 0x30000, 0);
    free_.clear();
    for (u16 i = 0; i < size_; ++i) free_.push_back(i);
    held_.clear();
    slots_.clear();
    avail_ = used_ = slot_ = used_slot_ = 0;
    wrap_ = used_wrap_ = true;
    room_ = size_;
  }
  void set_up(Queue& queue) const {
    queue.set_size(size_);
    queue.set_descriptors(Gpa(descriptors));
    queue.set_driver_area(Gpa(driver));
    queue.set_device_area(Gpa(device));
  }

  /// Offers a request; its id, or nothing when the ring is full.
  std::optional<u16> add(const std::vector<GuestBuffer>& buffers, bool indirect = false) {
    return features_.packed ? add_packed(buffers, indirect) : add_split(buffers, indirect);
  }
  std::optional<Used> take() { return features_.packed ? take_packed() : take_split(); }
  /// Whether the device wants to hear of what was added since `before` requests (split) or at all (packed).
  [[nodiscard]] bool must_kick(u16 added) const {
    if (features_.packed) {
      const u16 off = get<u16>(device), mode = get<u16>(device + 2);
      if (mode != 2) return mode == 0;
      u16 event = off & 0x7fff;
      if (bool(off & 0x8000) != wrap_) event = static_cast<u16>(event - size_);
      return static_cast<u16>(slot_ - event - 1) < last_slots_;
    }
    if (!features_.event_index) return !(get<u16>(device) & 1);
    return static_cast<u16>(avail_ - get<u16>(device + 4 + 8 * size_) - 1) < added;
  }
  /// Asks for an interrupt at the next use, or for none.
  void want_interrupt(bool on) {
    if (features_.packed) {
      put<u16>(driver, static_cast<u16>(used_slot_ | (used_wrap_ ? 0x8000 : 0)));
      put<u16>(driver + 2, on ? (features_.event_index ? 2 : 0) : 1);
    } else if (features_.event_index) {
      put<u16>(driver + 4 + 2 * size_, on ? used_ : static_cast<u16>(used_ - 1));
    } else {
      put<u16>(driver, on ? 0 : 1);
    }
  }
  template <class T>
  [[nodiscard]] T get(u64 gpa) const {
    return memory_.read_value<T>(Gpa(gpa)).value_or(T{});
  }
  template <class T>
  void put(u64 gpa, T value) {
    (void)memory_.write_value<T>(Gpa(gpa), value);
  }
  void put_descriptor(u64 table, unsigned index, u64 address, u32 length, u16 first, u16 second) {
    const u64 at = table + 16 * index;
    put(at, address);
    put(at + 8, length);
    put(at + 12, first);
    put(at + 14, second);
  }
  [[nodiscard]] u16 available() const { return avail_; }
  /// Split: shows `head` to the device, whatever it is.
  void offer(u16 head) {
    put<u16>(driver + 4 + 2 * (avail_ % size_), head);
    put<u16>(driver + 2, ++avail_);
  }

 private:
  [[nodiscard]] u64 table_of(u16 id) const { return tables_ + u64{id} * 0x1000; }

  std::optional<u16> add_split(const std::vector<GuestBuffer>& buffers, bool indirect) {
    const std::size_t need = indirect ? 1 : buffers.size();
    if (free_.size() < need) return {};
    std::vector<u16> taken;
    for (std::size_t i = 0; i < need; ++i) {
      taken.push_back(free_.front());
      free_.pop_front();
    }
    const u16 head = taken.front();
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      const bool last = i + 1 == buffers.size();
      const u16 flags = static_cast<u16>((last ? 0 : 1) | (buffers[i].write ? 2 : 0));
      const u16 next = last ? 0 : indirect ? static_cast<u16>(i + 1) : taken[i + 1];
      put_descriptor(indirect ? table_of(head) : descriptors, indirect ? static_cast<unsigned>(i) : taken[i],
                     buffers[i].gpa, buffers[i].length, flags, next);
    }
    if (indirect) put_descriptor(descriptors, head, table_of(head), static_cast<u32>(16 * buffers.size()), 4, 0);
    held_[head] = taken;
    offer(head);
    return head;
  }

  std::optional<Used> take_split() {
    if (get<u16>(device + 2) == used_) return {};
    const u64 at = device + 4 + 8 * (used_ % size_);
    ++used_;
    const u32 id = get<u32>(at);
    EXPECT_TRUE(held_.contains(static_cast<u16>(id))) << id << " was not offered";
    for (u16 index : held_[static_cast<u16>(id)]) free_.push_back(index);
    held_.erase(static_cast<u16>(id));
    return Used{static_cast<u16>(id), get<u32>(at + 4)};
  }

  std::optional<u16> add_packed(const std::vector<GuestBuffer>& buffers, bool indirect) {
    const u16 need = indirect ? 1 : static_cast<u16>(buffers.size());
    if (room_ < need || free_.empty()) return {};
    const u16 id = free_.front();
    free_.pop_front();
    const u16 first = slot_;
    u16 first_flags = 0;
    if (indirect) {
      for (unsigned i = 0; i < buffers.size(); ++i)
        put_descriptor(table_of(id), i, buffers[i].gpa, buffers[i].length, 0, buffers[i].write ? 2 : 0);
    }
    for (u16 i = 0; i < need; ++i) {
      u16 flags = static_cast<u16>(wrap_ ? 0x0080 : 0x8000);
      if (indirect) {
        flags |= 4;
        put_descriptor(descriptors, slot_, table_of(id), static_cast<u32>(16 * buffers.size()), id, slot_flags(slot_));
      } else {
        flags |= static_cast<u16>((i + 1 < need ? 1 : 0) | (buffers[i].write ? 2 : 0));
        put_descriptor(descriptors, slot_, buffers[i].gpa, buffers[i].length, id, slot_flags(slot_));
      }
      if (i == 0) {
        first_flags = flags;
      } else {
        put<u16>(descriptors + 16 * slot_ + 14, flags);
      }
      if (++slot_ == size_) {
        slot_ = 0;
        wrap_ = !wrap_;
      }
    }
    put<u16>(descriptors + 16 * first + 14, first_flags);
    room_ = static_cast<u16>(room_ - need);
    slots_[id] = need;
    last_slots_ = need;
    return id;
  }
  [[nodiscard]] u16 slot_flags(u16 slot) const { return get<u16>(descriptors + 16 * slot + 14); }

  std::optional<Used> take_packed() {
    const u64 at = descriptors + 16 * used_slot_;
    const u16 flags = get<u16>(at + 14);
    if (bool(flags & 0x80) != used_wrap_ || bool(flags & 0x8000) != used_wrap_) return {};
    const u16 id = get<u16>(at + 12);
    EXPECT_TRUE(slots_.contains(id)) << id << " was not offered";
    used_slot_ = static_cast<u16>(used_slot_ + slots_[id]);
    room_ = static_cast<u16>(room_ + slots_[id]);
    if (used_slot_ >= size_) {
      used_slot_ = static_cast<u16>(used_slot_ - size_);
      used_wrap_ = !used_wrap_;
    }
    slots_.erase(id);
    free_.push_back(id);
    return Used{id, get<u32>(at + 8)};
  }

  memory::GuestMemory& memory_;
  const u16 size_;
  const RingFeatures features_;
  const u64 tables_;
  std::deque<u16> free_;
  std::map<u16, std::vector<u16>> held_;  // split: descriptors of a request
  std::map<u16, u16> slots_;              // packed: slots of a request
  u16 avail_ = 0, used_ = 0, slot_ = 0, used_slot_ = 0, room_ = 0, last_slots_ = 0;
  bool wrap_ = true, used_wrap_ = true;
};

}  // namespace nagaya::virtio::testing
