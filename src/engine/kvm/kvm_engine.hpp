// The hardware engine: Linux KVM with in-kernel interrupt controllers. Source for every request: Linux
// Documentation/virt/kvm/api.rst.
#pragma once
#include <memory>

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "engine/probe.hpp"

namespace nagaya::engine::kvm {

/// Where the dirty log is kept: in rings shared with the kernel, or in bitmaps it fills in.
enum class DirtyRings : u8 {
  automatic,  ///< rings where the host offers them and keeps to their rules
  always,     ///< wherever offered (for tests)
  never,
};

struct KvmOptions {
  std::string device = "/dev/kvm";
  /// 16 KiB of guest-physical space below 4 GiB that the host CPU may need for itself (Intel real mode); neither RAM
  /// nor a device may lie there.
  Gpa reserved{0xfeffc000};
  DirtyRings dirty_rings = DirtyRings::automatic;
  /// Entries per vCPU ring: a power of two, 1024 or more.
  u32 dirty_ring_entries = 4096;
};

/// A new, empty virtual machine. Errors say what the host refuses and point to the software engine.
///
/// Order for restoring: set_memory; for each vCPU set_state, then set_lapic_state; then the IrqChip; then set_clock_ns.
[[nodiscard]] Result<std::unique_ptr<Engine>> create_kvm_engine(const KvmOptions& options = {});

}  // namespace nagaya::engine::kvm
