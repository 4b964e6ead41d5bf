// The specification's names of seccomp's actions, operators, architectures, flags and of system calls newer than
// libseccomp.
#pragma once
#include <optional>
#include <string_view>

#include "base/types.hpp"
#include "container/security/security.hpp"

namespace nagaya::container {

/// libseccomp's numbers (SCMP_ACT_*, enum scmp_compare, SCMP_ARCH_*); actions that carry an errno carry 0.
std::optional<u32> seccomp_action(std::string_view name);
std::optional<u32> seccomp_operator(std::string_view name);
std::optional<u32> seccomp_architecture(std::string_view name);
/// SECCOMP_FILTER_FLAG_*.
std::optional<u32> seccomp_flag(std::string_view name);
/// The number of a system call that libseccomp does not know. New calls have the same number on all architectures.
std::optional<u32> newer_call(std::string_view name);
/// The highest number that libseccomp knows for an architecture, without x32's bit.
u32 newest_known_call(u32 architecture);
void list_seccomp_names(SeccompFeatures& out);

}  // namespace nagaya::container
