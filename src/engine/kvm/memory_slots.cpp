#include "engine/kvm/memory_slots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "engine/kvm/ioctl.hpp"

namespace nagaya::engine::kvm {
namespace {

constexpr u64 reserved_size = 0x4000;
constexpr u32 max_empty_drains = 1000;
constexpr u64 max_slot_pages = (u64{1} << 31) - 1;

bool same(const MemoryRegion& a, const MemoryRegion& b) {
  return a.gpa == b.gpa && a.size == b.size && a.hva == b.hva && a.readonly == b.readonly;
}

bool overlap(u64 a, u64 a_size, u64 b, u64 b_size) { return a < b + b_size && b < a + a_size; }

}  // namespace

Result<> MemorySlots::check(std::span<const MemoryRegion> regions) const {
  if (regions.size() > max_slots_)
    return fail(fmt::format("KVM holds {} memory regions, not {}", max_slots_, regions.size()));
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const MemoryRegion& r = regions[i];
    const u64 hva = reinterpret_cast<u64>(r.hva);
    if (r.size == 0 || (r.size | r.gpa.value | hva) % page_size != 0 || r.gpa.value + r.size < r.gpa.value)
      return fail(fmt::format("memory region {:#x}+{:#x} is not whole pages", r.gpa.value, r.size));
    if (r.size / page_size > max_slot_pages)
      return fail(fmt::format("memory region {:#x}+{:#x} is too large", r.gpa.value, r.size));
    if (overlap(r.gpa.value, r.size, reserved_.value, reserved_size))
      return fail(fmt::format("memory region {:#x}+{:#x} covers what the host CPU needs at {:#x}", r.gpa.value, r.size,
                              reserved_.value));
    for (std::size_t j = 0; j < i; ++j) {
      if (overlap(r.gpa.value, r.size, regions[j].gpa.value, regions[j].size))
        return fail(fmt::format("memory regions {:#x} and {:#x} overlap", regions[j].gpa.value, r.gpa.value));
    }
  }
  return {};
}

Result<> MemorySlots::apply(const Slot& slot, u64 size) const {
  kvm_userspace_memory_region region{};
  region.slot = slot.id;
  region.guest_phys_addr = slot.region.gpa.value;
  region.memory_size = size;
  region.userspace_addr = reinterpret_cast<u64>(slot.region.hva);
  if (slot.region.readonly) {
    region.flags = KVM_MEM_READONLY;
  } else if (logging_) {
    region.flags = KVM_MEM_LOG_DIRTY_PAGES;
  }
  TRY_KVM(vm_, KVM_SET_USER_MEMORY_REGION, &region);
  return {};
}

u32 MemorySlots::free_id() const {
  u32 id = 0;
  while (std::ranges::any_of(slots_, [&](const Slot& slot) { return slot.id == id; })) ++id;
  return id;
}

Result<> MemorySlots::set(std::span<const MemoryRegion> regions) {
  TRY(check(regions));
  std::lock_guard lock(mutex_);
  TRY(collect());
  for (auto slot = slots_.begin(); slot != slots_.end();) {
    if (std::ranges::any_of(regions, [&](const MemoryRegion& r) { return same(r, slot->region); })) {
      ++slot;
      continue;
    }
    TRY(apply(*slot, 0));
    slot = slots_.erase(slot);
  }
  for (const MemoryRegion& region : regions) {
    if (std::ranges::any_of(slots_, [&](const Slot& slot) { return same(region, slot.region); })) continue;
    Slot slot{free_id(), region, std::vector<u64>((region.size / page_size + 63) / 64)};
    TRY(apply(slot, region.size));
    slots_.push_back(std::move(slot));
  }
  return {};
}

Result<> MemorySlots::set_log(bool on) {
  std::lock_guard lock(mutex_);
  TRY(collect());
  for (Slot& slot : slots_) std::ranges::fill(slot.dirty, u64{0});
  if (logging_ == on) return {};
  logging_ = on;
  for (const Slot& slot : slots_) {
    if (!slot.region.readonly) TRY(apply(slot, slot.region.size));
  }
  return {};
}

void MemorySlots::mark(u32 id, u64 page) {
  for (Slot& slot : slots_) {
    if (slot.id != id) continue;
    if (page / 64 < slot.dirty.size()) slot.dirty[page / 64] |= u64{1} << page % 64;
    return;
  }
}

Result<u32> MemorySlots::collect_rings() {
  u32 count = 0;
  bool overflow = false;
  for (DirtyRing& ring : rings_) {
    const u32 drained = ring.drain([&](u32 id, u64 page) { mark(id, page); });
    overflow |= drained == ring.entries_count();
    count += drained;
  }
  // KVM keeps some entries free; where none was, later pages may have overwritten earlier ones.
  if (overflow) {
    for (Slot& slot : slots_) {
      if (!slot.region.readonly) std::ranges::fill(slot.dirty, ~u64{0});
    }
  }
  if (count > 0) TRY(request(vm_, KVM_RESET_DIRTY_RINGS, u64{0}, "KVM_RESET_DIRTY_RINGS"));
  return count;
}

Result<> MemorySlots::collect() {
  if (!logging_) return {};
  if (!rings_.empty()) {
    TRY(collect_rings());
    return {};
  }
  for (Slot& slot : slots_) {
    if (slot.region.readonly) continue;
    std::vector<u64> bitmap(slot.dirty.size());
    kvm_dirty_log log{};
    log.slot = slot.id;
    log.dirty_bitmap = bitmap.data();
    TRY_KVM(vm_, KVM_GET_DIRTY_LOG, &log);
    for (std::size_t i = 0; i < bitmap.size(); ++i) slot.dirty[i] |= bitmap[i];
  }
  return {};
}

Result<std::vector<Gpa>> MemorySlots::take() {
  std::lock_guard lock(mutex_);
  TRY(collect());
  std::vector<Gpa> pages;
  for (Slot& slot : slots_) {
    const u64 slot_pages = slot.region.size / page_size;
    for (std::size_t i = 0; i < slot.dirty.size(); ++i) {
      for (u64 bits = std::exchange(slot.dirty[i], 0); bits != 0; bits &= bits - 1) {
        const u64 page = i * 64 + static_cast<u64>(std::countr_zero(bits));
        if (page < slot_pages) pages.push_back(slot.region.gpa + page * page_size);
      }
    }
  }
  std::ranges::sort(pages);
  return pages;
}

void MemorySlots::wrote(Gpa at, u64 size) {
  std::lock_guard lock(mutex_);
  if (!logging_ || size == 0) return;
  const u64 first = at.value / page_size, last = (at.value + (size - 1)) / page_size;
  for (Slot& slot : slots_) {
    const u64 start = slot.region.gpa.value / page_size, end = start + slot.region.size / page_size;
    for (u64 page = std::max(first, start); page < end && page <= last; ++page) mark(slot.id, page - start);
  }
}

void MemorySlots::add_ring(DirtyRing ring) {
  std::lock_guard lock(mutex_);
  rings_.push_back(std::move(ring));
}

Result<> MemorySlots::drain_full_ring() {
  std::lock_guard lock(mutex_);
  TRY_ASSIGN(const u32 count, collect_rings());
  if (count == 0) {
    // Another vCPU may have emptied it meanwhile, but not again and again.
    if (++empty_drains_ > max_empty_drains) return fail("KVM says that a dirty ring is full, but nothing is in it");
  } else {
    empty_drains_ = 0;
  }
  return {};
}

Hva MemorySlots::host(Gpa at, u64 size) const {
  std::lock_guard lock(mutex_);
  for (const Slot& slot : slots_) {
    const u64 offset = at.value - slot.region.gpa.value;
    if (offset < slot.region.size && size <= slot.region.size - offset) return slot.region.hva + offset;
  }
  return nullptr;
}

}  // namespace nagaya::engine::kvm
