// The VM's memory slots and which of their pages were dirtied. Every way in which a page becomes known as dirty (ring,
// kernel bitmap, a device's own write) ends in one bitmap per slot, so that what we keep is bounded by the guest's
// size.
#pragma once
#include <deque>
#include <mutex>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "engine/kvm/dirty_ring.hpp"

namespace nagaya::engine::kvm {

/// Thread-safe.
class MemorySlots {
 public:
  /// `reserved`: 16 KiB at this address belong to the host CPU.
  MemorySlots(int vm_fd, Gpa reserved, u64 max_slots) : vm_(vm_fd), reserved_(reserved), max_slots_(max_slots) {}

  /// Keeps what is unchanged (and its dirty bits), removes and adds the rest. vCPUs must be out of KVM_RUN.
  Result<> set(std::span<const MemoryRegion> regions);
  Result<> set_log(bool on);
  /// Collects everything known so far and forgets it.
  Result<std::vector<Gpa>> take();
  /// A device wrote [at, at+size).
  void wrote(Gpa at, u64 size);
  /// From now on dirtied pages come by rings; one per vCPU, before it runs.
  void add_ring(DirtyRing ring);
  /// Empties the rings, because a vCPU's own is full. Error when that does not help.
  Result<> drain_full_ring();
  /// Host address of guest-physical memory, null where there is none.
  [[nodiscard]] Hva host(Gpa at, u64 size) const;

 private:
  struct Slot {
    u32 id;
    MemoryRegion region;
    std::vector<u64> dirty;
  };
  Result<> apply(const Slot& slot, u64 size) const;
  Result<> collect();
  Result<u32> collect_rings();
  void mark(u32 id, u64 page);
  [[nodiscard]] u32 free_id() const;
  Result<> check(std::span<const MemoryRegion> regions) const;

  const int vm_;
  const Gpa reserved_;
  const u64 max_slots_;
  mutable std::mutex mutex_;
  std::vector<Slot> slots_;      // guarded by mutex_
  std::deque<DirtyRing> rings_;  // guarded by mutex_
  bool logging_ = false;         // guarded by mutex_
  u32 empty_drains_ = 0;         // in a row; guarded by mutex_
};

}  // namespace nagaya::engine::kvm
