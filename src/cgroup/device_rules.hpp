// Rules about device nodes: an ordered list in which the last rule that speaks of an access decides (as runtimes have
// read it since cgroup v1), made into what v1's files can hold, and into v2's program.
#pragma once
#include <map>
#include <tuple>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "cgroup/settings.hpp"

namespace nagaya::cgroup {

using container::DeviceRule;

enum Access : u8 {
  access_mknod = 1,
  access_read = 2,
  access_write = 4,
  access_all = 7
};  // linux/bpf.h BPF_DEVCG_ACC_…
std::string letters(u8 access);  ///< "rwm"
inline constexpr i64 any_number = -1;

/// One rule, checked. `type` b or c, or a: both.
struct PlainRule {
  bool allow = false;
  char type = 'a';
  i64 major = any_number, minor = any_number;
  u8 access = access_all;
  bool ours = false;  ///< one of the devices that every container has (below)
  [[nodiscard]] bool everything() const {
    return type == 'a' && major == any_number && minor == any_number && access == access_all;
  }
};

/// The rules of a container, checked, and after them those of the devices that the specification promises each
/// container (config-linux.md, "Default Devices"), terminals, and the making of nodes, which gives no access. None when
/// there are no rules: nothing is limited then.
Result<std::vector<PlainRule>> plain_rules(const std::vector<DeviceRule>& rules);
/// What the rules say; all is forbidden that none speaks of. The model that the kernel's two forms are tested against.
bool allowed(const std::vector<PlainRule>& rules, char type, i64 major, i64 minor, u8 access);

/// v1's form: a default and its exceptions.
struct DeviceList {
  struct Exception {
    u8 access = 0;
    bool ours = true;  ///< only rules of our own speak of it
  };
  bool allow = false;
  std::map<std::tuple<char, i64, i64>, Exception> exceptions;  ///< type b or c, major, minor
};
/// An error when a rule makes a hole that v1's form cannot express.
Result<DeviceList> device_list(const std::vector<DeviceRule>& rules);
Writes device_writes(const DeviceList& list);

/// v2's form: a program of type BPF_PROG_TYPE_CGROUP_DEVICE, as 64-bit instructions.
std::vector<u64> device_program(const std::vector<PlainRule>& rules);
/// Loads it and attaches it to a folder of cgroup v2; a program of ours there is replaced in one step.
Result<> attach_device_program(const std::string& folder, const std::vector<PlainRule>& rules);

}  // namespace nagaya::cgroup
