// The specification's names of seccomp's actions, operators, architectures, flags and of system calls newer than
// libseccomp.
#pragma once
#include <optional>
#include <string_view>

#include "base/types.hpp"
#include "container/security/filter.hpp"
#include "container/security/security.hpp"

namespace nagaya::container {

/// SECCOMP_RET_*; actions that carry an errno carry 0.
std::optional<u32> seccomp_action(std::string_view name);
std::optional<Comparison> seccomp_operator(std::string_view name);
/// SCMP_ARCH_*.
std::optional<u32> seccomp_architecture(std::string_view name);
/// SECCOMP_FILTER_FLAG_*.
std::optional<u32> seccomp_flag(std::string_view name);
/// The number of a system call that libseccomp does not know. New calls have the same number on all architectures.
std::optional<u32> newer_call(std::string_view name);
/// From this number on libseccomp knows no system call.
u32 first_unknown_call();
/// A call that 32-bit programs can also reach through another one, which has a number for it as its first argument (socketcall(2), ipc(2)).
struct Multiplexed {
  std::string_view name;
  u32 own_number, number, first_argument;
};
const Multiplexed* multiplexed(std::string_view name);
void list_seccomp_names(SeccompFeatures& out);

}  // namespace nagaya::container
