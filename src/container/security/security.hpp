// What a process gives up or gets before it becomes the container's: each step alone, in the order the caller needs. All of these
// act on the calling thread and are called between fork and exec.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// Raises and lowers limits; hard limits above ours need CAP_SYS_RESOURCE, and the error says so.
Result<> set_rlimits(const std::vector<Rlimit>& limits);
Result<> set_scheduler(const Scheduler& scheduler);
Result<> set_io_priority(const IoPriority& priority);
Result<> set_personality(const Personality& personality);
Result<> set_memory_policy(const MemoryPolicy& policy);
Result<> set_oom_score(int adjustment);
/// Checks that every sysctl belongs to a namespace the container has for itself, then writes them.
Result<> set_sysctls(const Map& values, const std::vector<Namespace>& namespaces);

/// Drops the bounding set; call before the user changes.
Result<> drop_bounding_set(const Capabilities& capabilities);
/// Changes groups and user, keeping capabilities; then sets the four sets. A capability that this host's own bounding set lacks is
/// left out; its name is appended to `missing`.
Result<> become_user(const User& user, const Capabilities& capabilities, std::vector<std::string>* missing);
/// Of all sets, the names that the caller cannot give: unknown ones, and those it lacks itself.
std::vector<std::string> missing_capabilities(const Capabilities& capabilities);
/// Names this kernel knows, from /proc/sys/kernel/cap_last_cap.
std::vector<std::string> known_capabilities();

/// A profile made into a program ahead of time (outside, where libseccomp may allocate), so that loading it is one system call.
class SeccompProgram {
 public:
  static Result<SeccompProgram> compile(const Seccomp& seccomp);
  /// Loads it; the descriptor is the notify listener when the profile has SCMP_ACT_NOTIFY rules, else empty.
  Result<host::Fd> load() const;
  [[nodiscard]] bool wants_listener() const { return listener_; }
  /// The BPF program, in the form the kernel takes.
  [[nodiscard]] std::span<const u8> instructions() const { return program_; }

 private:
  std::vector<u8> program_;  ///< BPF instructions
  unsigned flags_ = 0;
  bool listener_ = false;
};
/// Names for `features`: actions, operators, architectures, flags this build and kernel know.
struct SeccompFeatures {
  std::vector<std::string> actions, operators, architectures, known_flags, supported_flags;
};
SeccompFeatures seccomp_features();

/// Sets the label the next exec takes. An error when the profile is named and the host has no such LSM.
Result<> set_apparmor_profile(const std::string& profile);
Result<> set_selinux_label(const std::string& label);
bool apparmor_enabled();
bool selinux_enabled();

}  // namespace nagaya::container
