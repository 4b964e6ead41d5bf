// For tests: a step that changes its process for good (namespaces, users, filters) runs in a child, which tells what
// went wrong.
#pragma once
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <functional>
#include <string>

#include "host/fd.hpp"

namespace nagaya::host {

/// Runs `step` in a child; returns what it returned (empty: well), or how the child ended otherwise.
inline std::string in_child(const std::function<std::string()>& step) {
  auto pipe = Fd::pipe();
  if (!pipe) return pipe.error().message();
  const pid_t child = ::fork();
  if (child < 0) return "cannot fork";
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::string said;
    try {
      said = step();
    } catch (const std::exception& problem) {
      said = problem.what();
    }
    (void)write_all(pipe->second.get(), said);
    ::_exit(0);
  }
  pipe->second.reset();
  auto said = read_all(pipe->first.get(), 1 << 20, "child");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return "ended by signal " + std::to_string(WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) return "ended with " + std::to_string(WEXITSTATUS(status));
  return said ? std::string(said->begin(), said->end()) : said.error().message();
}

/// Whether this host lets us make such namespaces (CLONE_NEW*).
inline bool can_unshare(int flags) {
  return in_child([flags] { return ::unshare(flags) == 0 ? std::string() : std::strerror(errno); }).empty();
}

}  // namespace nagaya::host
