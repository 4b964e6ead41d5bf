// What ROOT/ID/state.json holds: enough to find, after any kill, all that belongs to the container.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "container/container.hpp"
#include "container/process_id.hpp"
#include "container/spec/spec.hpp"

namespace nagaya::container {

struct Record {
  /// `creating` is written before anything is made; `created` when only `start` is missing. What has happened since is
  /// asked of the kernel, so that no kill between an act and a note can make the two differ.
  enum class Phase { creating, created };
  Phase phase = Phase::creating;
  std::string id;
  ProcessId process;  ///< the first one; of pid 0 while creating
  std::string bundle, rootfs, created, owner;
  Map annotations;
  cgroup::Place cgroup;
  std::string cgroup_saved;               ///< for cgroup::Group::open; empty: none
  std::vector<NamespaceKind> namespaces;  ///< those the container was given, new or joined
  bool terminal = false;
};

std::string write_record(const Record& record);
Result<Record> parse_record(std::string_view json);

/// The state as hooks, `state` and a seccomp agent read it (runtime.md "State").
std::string state_json(const Record& record, Status status, pid_t pid);

}  // namespace nagaya::container
