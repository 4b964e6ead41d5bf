// One cgroup per domain, over whatever mixture of cgroup v1 hierarchies and cgroup v2 the host has mounted. A virtual
// machine's process and a container use the same. Sources: Linux Documentation/admin-guide/cgroup-v1, cgroup-v2.rst;
// how values are converted: OCI Runtime Specification 1.1 config-linux.md.
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "container/spec/spec.hpp"
#include "host/fd.hpp"

namespace nagaya::cgroup {

using container::Resources;

/// Lines about values that mean nothing on this kernel and were left out.
using Notices = std::vector<std::string>;

/// One mounted hierarchy.
struct Hierarchy {
  std::string mount_point;               ///< "/sys/fs/cgroup/memory"
  std::vector<std::string> controllers;  ///< of v1: {"memory"}; {"name=systemd"}; of v2: what its root offers
  bool v2 = false;
  bool writable = false;  ///< not mounted read-only
  std::string own;        ///< path of this process's group below the mount point ("/")
};

/// What the host has, v1 first, read once from /proc/self/mountinfo and /proc/self/cgroup.
struct Layout {
  std::vector<Hierarchy> hierarchies;
  /// Which hierarchy has `controller` ("memory", "cpu", "io" or "blkio" …), or nullptr.
  [[nodiscard]] const Hierarchy* find(std::string_view controller) const;
  [[nodiscard]] bool v2_only() const;
};
Result<Layout> read_layout();

enum class Manager { files, systemd };

struct Place {
  /// files: below each mount point when it begins with '/', else below this process's own group (v2: beside it, because
  /// a group with processes has no limited groups below it). systemd: "slice:prefix:name", below the user's manager
  /// unless root's.
  std::string path;
  Manager manager = Manager::files;
  bool optional = false;  ///< rootless: go on without a cgroup where none may be made
  /// A whole system inside arranges its services in groups of its own (systemd: name=systemd, or v2 beside v1): join
  /// every hierarchy that exists, not only those that limits and commands need.
  bool all = false;
};

/// Bytes, nanoseconds, counts; a limit of ~0 is none.
struct Stats {
  u64 cpu_ns = 0, cpu_user_ns = 0, cpu_system_ns = 0;
  u64 throttled_periods = 0, throttled_ns = 0, periods = 0;
  u64 memory = 0, memory_limit = 0, memory_peak = 0, swap = 0, memory_file = 0, memory_anon = 0, memory_slab = 0;
  u64 swap_limit = 0, memory_shmem = 0, memory_mapped = 0, memory_dirty = 0, memory_writeback = 0,
      memory_unevictable = 0;
  u64 memory_active_file = 0, memory_inactive_file = 0, memory_active_anon = 0, memory_inactive_anon = 0;
  u64 major_faults = 0;
  u64 oom_kills = 0;
  u64 pids = 0, pids_limit = 0;
  struct Disk {
    u64 major = 0, minor = 0, read_bytes = 0, write_bytes = 0, reads = 0, writes = 0;
  };
  std::vector<Disk> disks;
};

class Group {
 public:
  /// What `create` would make at `place`, without making anything: its `saved` text, written down first, lets a later
  /// command find and remove what a killed one left. An error when a group is there already and has processes: they are
  /// not ours to kill.
  static Result<Group> plan(const Layout& layout, const Place& place);
  /// The group at `place`, made or not, whoever's it is: to look at it.
  static Result<Group> at(const Layout& layout, const Place& place);
  /// Makes the group and sets `resources`; what was made is removed on failure. A hierarchy that nothing of `resources`
  /// needs is joined for memory, pids, freezer and cpuacct only (what ps, kill, pause and stats read); `set` joins
  /// further ones. A limit whose controller is missing is an error that names it. `first` is moved in; Manager::systemd
  /// must have it, as a scope without a process does not live. `notices` gets a line for each value that means nothing
  /// on this kernel and is left out.
  static Result<Group> create(const Layout& layout, const Place& place, const Resources& resources, pid_t first = 0,
                              Notices* notices = nullptr);
  /// An existing one, from what `saved` wrote.
  static Result<Group> open(const Layout& layout, const std::string& saved);
  /// A short text to keep in a state file.
  [[nodiscard]] std::string saved() const;

  /// Moves a process (all threads) in. 0: the caller, which must have one thread: on v1 by the file `tasks`, because a
  /// thread that moves itself needs no lock over all forks (kernel/cgroup: cgroup_procs_write_start), which costs a
  /// grace period of RCU each.
  Result<> add(pid_t pid) const;
  /// The cgroup v2 folder, for clone3's CLONE_INTO_CGROUP, when v2 is the only hierarchy; empty otherwise. Joining
  /// afterwards costs a grace period of RCU on v2.
  [[nodiscard]] host::Fd v2_fd() const;
  Result<> set(const Resources& resources, Notices* notices = nullptr) const;
  Result<Stats> stats() const;
  /// All processes in it and below it; none when its folders are gone.
  Result<std::vector<pid_t>> processes() const;
  Result<> freeze() const;  ///< returns when all are frozen
  Result<> thaw() const;
  [[nodiscard]] bool frozen() const;
  /// A signal to all; SIGKILL through cgroup.kill where there is one, else frozen, signalled, thawed, until none is
  /// left.
  Result<> kill_all(int signal) const;
  /// Removes it and what is below it; waits a short while for ends that the kernel has not finished. No error when it
  /// is gone.
  Result<> remove() const;
  /// Readable when memory ran out in it (v1 eventfd, v2 memory.events inotify): for `events`; how often is
  /// `Stats::oom_kills`. Empty when the host cannot tell.
  Result<host::Fd> oom_watch() const;
  /// Absolute folder in the hierarchy of `controller`, or empty.
  [[nodiscard]] std::string folder(std::string_view controller) const;

  /// One folder, there or not: which hierarchies are joined is seen from the file system alone, so that `saved` stays
  /// true.
  struct Part {
    std::string folder;
    std::vector<std::string> controllers;
    bool v2 = false;
    std::size_t mount_point = 0;  ///< how much of `folder` is the mount point
  };

 private:
  [[nodiscard]] const Part* part(std::string_view controller) const;
  [[nodiscard]] const Part* v2_part() const;

  std::vector<Part> parts_;
  Place place_;
};

}  // namespace nagaya::cgroup
