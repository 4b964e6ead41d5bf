// The requests to KVM that a machine makes once it is built: those for which a filter of system calls has to leave room.
#pragma once
#include <span>

#include "base/types.hpp"

namespace nagaya::engine::kvm {

/// Numbers of ioctl(2), the most frequent first.
[[nodiscard]] std::span<const u32> running_requests();

}  // namespace nagaya::engine::kvm
