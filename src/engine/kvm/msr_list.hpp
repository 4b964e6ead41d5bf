// KVM_GET_MSRS and KVM_SET_MSRS over a plain array.
#pragma once
#include <linux/kvm.h>

#include <span>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::engine::kvm {

/// Both return how many entries KVM processed: it stops at the first that it refuses. `fd`: a vCPU, or (get only) the
/// device, which then tells its feature MSRs.
[[nodiscard]] Result<std::size_t> get_msrs(int fd, std::span<kvm_msr_entry> entries);
[[nodiscard]] Result<std::size_t> set_msrs(int fd, std::span<const kvm_msr_entry> entries);

}  // namespace nagaya::engine::kvm
