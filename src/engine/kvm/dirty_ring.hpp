// One vCPU's ring of dirtied pages, shared with the kernel. Source: Linux Documentation/virt/kvm/api.rst, 8.29
// KVM_CAP_DIRTY_LOG_RING.
#pragma once
#include <linux/kvm.h>

#include <atomic>

#include "base/result.hpp"
#include "host/mapping.hpp"

namespace nagaya::engine::kvm {

class DirtyRing {
 public:
  /// `entries` as enabled on the VM, a power of two.
  static Result<DirtyRing> map(int vcpu_fd, u32 entries);

  /// Calls f(slot, page in slot) for each entry and hands it back to the kernel, which reuses it after
  /// KVM_RESET_DIRTY_RINGS. Returns how many there were. One caller at a time.
  template <class F>
  u32 drain(F&& f) {
    u32 count = 0;
    for (; count < entries_; ++count) {
      kvm_dirty_gfn& entry = entries()[next_ & (entries_ - 1)];
      std::atomic_ref<u32> flags(entry.flags);
      if (!(flags.load(std::memory_order_acquire) & KVM_DIRTY_GFN_F_DIRTY)) break;
      f(entry.slot & 0xffff, u64{entry.offset});
      flags.store(KVM_DIRTY_GFN_F_RESET, std::memory_order_release);
      ++next_;
    }
    return count;
  }

  [[nodiscard]] u32 entries_count() const { return entries_; }

 private:
  DirtyRing(host::Mapping mapping, u32 entries) : mapping_(std::move(mapping)), entries_(entries) {}
  [[nodiscard]] kvm_dirty_gfn* entries() const { return reinterpret_cast<kvm_dirty_gfn*>(mapping_.data()); }

  host::Mapping mapping_;
  u32 entries_;
  u32 next_ = 0;
};

}  // namespace nagaya::engine::kvm
