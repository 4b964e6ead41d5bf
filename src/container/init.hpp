// The container's first process, from its birth to its execve. It is a copy of the command that made it: nothing is
// executed twice.
#pragma once
#include <vector>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "container/container.hpp"
#include "container/folder.hpp"
#include "container/launch.hpp"
#include "container/namespaces.hpp"
#include "container/record.hpp"
#include "container/root/root.hpp"

namespace nagaya::container {

/// All that the first process needs, made by the command before it. It stays untouched in the command.
struct InitPlan {
  const Spec* spec = nullptr;
  const CreateOptions* options = nullptr;
  const cgroup::Layout* layout = nullptr;
  Record* record = nullptr;
  Folder* folder = nullptr;
  RootRequest root;
  std::vector<PreparedMount> mounts;
  NamespacePlan namespaces;
  Launch launch;
  host::Fd command;  ///< the command's end of the channel, closed here
  host::Fd channel;  ///< ours
  host::Fd gate;     ///< listening: who connects and says `go` starts the container
  host::Fd console;
  host::Fd seccomp_agent;
};

/// What the command says in its `go`: how the process is called outside, and its cgroup.
std::string write_go(pid_t pid, const std::string& cgroup_saved);

/// Never returns: errors go to the command, later to whoever starts the container.
[[noreturn]] void run_init(InitPlan& plan);

}  // namespace nagaya::container
