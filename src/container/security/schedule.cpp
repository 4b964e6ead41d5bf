// How the kernel shares processors, disks and memory nodes out to the process. Source: sched_setattr(2), ioprio_set(2),
// personality(2), set_mempolicy(2).
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>

#include "container/security/security.hpp"

namespace nagaya::container {
namespace {

struct Named {
  std::string_view name;
  u32 value;
};

template <std::size_t size>
Result<u32> value_of(const std::array<Named, size>& names, const std::string& name, const char* what) {
  for (const Named& one : names)
    if (one.name == name) return one.value;
  return fail("'" + name + "' is no " + what);
}

template <std::size_t size>
Result<u32> all_of(const std::array<Named, size>& names, const std::vector<std::string>& wanted, const char* what) {
  u32 out = 0;
  for (const std::string& name : wanted) {
    TRY_ASSIGN(const u32 bit, value_of(names, name, what));
    out |= bit;
  }
  return out;
}

constexpr std::array policies = {
    Named{"SCHED_OTHER", SCHED_NORMAL},      Named{"SCHED_FIFO", SCHED_FIFO}, Named{"SCHED_RR", SCHED_RR},
    Named{"SCHED_BATCH", SCHED_BATCH},       Named{"SCHED_ISO", 4},           Named{"SCHED_IDLE", SCHED_IDLE},
    Named{"SCHED_DEADLINE", SCHED_DEADLINE},
};
constexpr std::array scheduler_flags = {
    Named{"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK},
    Named{"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
    Named{"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},
    Named{"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
    Named{"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS},
    Named{"SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN},
    Named{"SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX},
};
// ioprio_set(2). Not by <linux/ioprio.h>: in Debian 12's later headers it is no C++ (a parameter is called `class`).
constexpr int io_class_shift = 13, io_priority_of_process = 1;
constexpr std::array io_classes = {
    Named{"IOPRIO_CLASS_NONE", 0},
    Named{"IOPRIO_CLASS_RT", 1},
    Named{"IOPRIO_CLASS_BE", 2},
    Named{"IOPRIO_CLASS_IDLE", 3},
};
constexpr std::array memory_modes = {
    Named{"MPOL_DEFAULT", MPOL_DEFAULT},       Named{"MPOL_PREFERRED", MPOL_PREFERRED}, Named{"MPOL_BIND", MPOL_BIND},
    Named{"MPOL_INTERLEAVE", MPOL_INTERLEAVE}, Named{"MPOL_LOCAL", MPOL_LOCAL},         Named{"MPOL_PREFERRED_MANY", 5},
    Named{"MPOL_WEIGHTED_INTERLEAVE", 6},
};
constexpr std::array memory_flags = {
    Named{"MPOL_F_STATIC_NODES", 1 << 15},
    Named{"MPOL_F_RELATIVE_NODES", 1 << 14},
    Named{"MPOL_F_NUMA_BALANCING", 1 << 13},
};

constexpr unsigned most_nodes = 1024;
using NodeMask = std::array<unsigned long, most_nodes / (8 * sizeof(unsigned long))>;

/// "0-3,7" as bits.
Result<NodeMask> parse_nodes(const std::string& text) {
  NodeMask mask{};
  const auto bad = [&text] {
    return fail("memoryPolicy.nodes is '" + text + "'", "not a list like 0-3,7 of numbers below 1024");
  };
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    unsigned first = 0, last = 0;
    auto got = std::from_chars(at, end, first);
    if (got.ec != std::errc{}) return bad();
    last = first;
    if (got.ptr < end && *got.ptr == '-') {
      got = std::from_chars(got.ptr + 1, end, last);
      if (got.ec != std::errc{}) return bad();
    }
    if (last < first || last >= most_nodes) return bad();
    for (unsigned node = first; node <= last; ++node)
      mask[node / (8 * sizeof mask[0])] |= 1ul << (node % (8 * sizeof mask[0]));
    if (got.ptr < end && *got.ptr != ',') return bad();
    at = got.ptr + 1;
  }
  return mask;
}

}  // namespace

Result<> set_scheduler(const Scheduler& scheduler) {
  sched_attr attr{};
  attr.size = sizeof attr;
  TRY_ASSIGN(attr.sched_policy, value_of(policies, scheduler.policy, "scheduler policy"));
  TRY_ASSIGN(attr.sched_flags, all_of(scheduler_flags, scheduler.flags, "scheduler flag"));
  attr.sched_nice = scheduler.nice;
  attr.sched_priority = static_cast<u32>(scheduler.priority);
  attr.sched_runtime = scheduler.runtime;
  attr.sched_deadline = scheduler.deadline;
  attr.sched_period = scheduler.period;
  if (::syscall(SYS_sched_setattr, 0, &attr, 0) != 0) {
    const int code = errno;
    return fail_errno("cannot set the scheduler " + scheduler.policy, code,
                      code == EPERM ? "it needs CAP_SYS_NICE, or a limit RLIMIT_RTPRIO or RLIMIT_NICE" : "");
  }
  return {};
}

Result<> set_io_priority(const IoPriority& priority) {
  TRY_ASSIGN(const u32 io_class, value_of(io_classes, priority.io_class, "I/O class"));
  if (priority.priority < 0 || priority.priority > 7)
    return fail("the I/O priority is " + std::to_string(priority.priority), "it is 0 to 7");
  const int value = static_cast<int>(io_class) << io_class_shift | priority.priority;
  if (::syscall(SYS_ioprio_set, io_priority_of_process, 0, value) != 0)
    return fail_errno("cannot set the I/O priority " + priority.io_class);
  return {};
}

Result<> set_personality(const Personality& personality) {
  if (!personality.flags.empty()) return fail("personality.flags are not empty", "the specification defines none");
  unsigned long domain = 0;
  if (personality.domain == "LINUX32") {
    domain = PER_LINUX32;
  } else if (personality.domain != "LINUX") {
    return fail("personality.domain is '" + personality.domain + "'", "it is LINUX or LINUX32");
  }
  if (::personality(domain) < 0) return fail_errno("cannot set the personality");
  return {};
}

Result<> set_memory_policy(const MemoryPolicy& policy) {
  TRY_ASSIGN(const u32 mode, value_of(memory_modes, policy.mode, "memory policy"));
  TRY_ASSIGN(const u32 flags, all_of(memory_flags, policy.flags, "flag of memory policies"));
  TRY_ASSIGN(const NodeMask mask, parse_nodes(policy.nodes));
  // The kernel takes one bit less than it is told.
  const bool none = policy.nodes.empty();
  if (::syscall(SYS_set_mempolicy, mode | flags, none ? nullptr : mask.data(), none ? 0ul : most_nodes + 1ul) != 0) {
    return fail_errno("cannot set the memory policy " + policy.mode);
  }
  return {};
}

}  // namespace nagaya::container
