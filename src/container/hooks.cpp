#include "container/hooks.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "container/process_id.hpp"
#include "container/warning.hpp"
#include "host/fd.hpp"

namespace nagaya::container {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

/// Starts the program with `input` as standard input, no other descriptor but 1 and 2, default signals, and a process
/// group of its own, so that a hook that takes too long goes with its children.
Result<pid_t> spawn(const Hook& hook, int input) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, input, 0);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const std::vector<std::string> only_path{hook.path};
  const auto args = pointers(hook.args.empty() ? only_path : hook.args);
  const auto env = pointers(hook.env);
  pid_t pid = -1;
  const int code = ::posix_spawn(&pid, hook.path.c_str(), &actions, &attributes, args.data(), env.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (code != 0) return fail_errno("cannot run '" + hook.path + "'", code);
  return pid;
}

Result<> run(const Hook& hook, const std::string& state) {
  // A file in memory and not a pipe: the hook need not read it, and it may be longer than a pipe holds.
  TRY_ASSIGN(const host::Fd input, host::Fd::memfd("state", 0));
  TRY(host::write_all(input.get(), state));
  if (::lseek(input.get(), 0, SEEK_SET) != 0) return fail_errno("cannot rewind the state");
  TRY_ASSIGN(const pid_t pid, spawn(hook, input.get()));
  if (hook.timeout) {
    const host::Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (pidfd && !wait_for_end(pidfd.get(), *hook.timeout * 1000)) {
      ::kill(-pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
      return fail("'" + hook.path + "' took longer than its " + std::to_string(*hook.timeout) + " s");
    }
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("cannot wait for '" + hook.path + "'");
  }
  if (WIFSIGNALED(status)) return fail("'" + hook.path + "' ended by signal " + std::to_string(WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0)
    return fail("'" + hook.path + "' failed", "exit status " + std::to_string(WEXITSTATUS(status)));
  return {};
}

}  // namespace

Result<> run_hooks(const std::vector<Hook>& hooks, const char* kind, const std::string& state) {
  for (const Hook& hook : hooks) {
    if (auto done = run(hook, state); !done)
      return std::unexpected(std::move(done.error()).within(std::string(kind) + " hook"));
  }
  return {};
}

void run_late_hooks(const std::vector<Hook>& hooks, const char* kind, const std::string& state) {
  for (const Hook& hook : hooks) {
    if (auto done = run(hook, state); !done)
      warn(std::move(done.error()).within(std::string(kind) + " hook").message());
  }
}

}  // namespace nagaya::container
