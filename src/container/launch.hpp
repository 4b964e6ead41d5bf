// The last part of the way into the container, the same for its first process and for those of exec: first what can be
// done while waiting for the start, then the steps after which only execve is left.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/container.hpp"
#include "container/security/security.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

struct Launch {
  const Process* process = nullptr;
  const SeccompProgram* seccomp = nullptr;
  int seccomp_agent = -1;
  std::string seccomp_state;  ///< what goes to the agent
  int preserve_fds = 0;
  int listen_fds = 0;
  bool adjust_oom = true;  ///< false: somebody with more rights has done it
  bool first = true;       ///< the container's first process: its terminal is /dev/console
  std::vector<int> keep;   ///< descriptors of ours that are needed until the start, besides console and agent; no folders among them

  std::vector<std::string> env;  ///< filled by prepare_process
  std::string program;
};

/// In the container's root, still with all rights: terminal (its master goes to `console`), limits, priorities, working directory,
/// environment, program. All descriptors but those of `launch` are closed, before the first path of the container is opened.
Result<> prepare_process(Launch& launch, int console);
/// Labels, capabilities, user, seccomp, execve. Returns only the error.
Error become_process(const Launch& launch);
/// The number in LISTEN_FDS, when it is meant for this process.
int inherited_listen_fds();

}  // namespace nagaya::container
