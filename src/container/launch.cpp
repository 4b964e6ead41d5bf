#include "container/launch.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "container/channel.hpp"
#include "container/console.hpp"
#include "container/environment.hpp"
#include "container/root/root.hpp"
#include "container/seccomp_agent.hpp"

namespace nagaya::container {
namespace {

/// The working directory lies beneath the root. One reached through a leaked descriptor does not (CVE-2024-21626): the
/// kernel then calls it "(unreachable)".
Result<> check_inside(const std::string& path) {
  char buffer[4096];
  const long length = ::syscall(SYS_getcwd, buffer, sizeof buffer);
  if (length < 0) return fail_errno("cannot tell where '" + path + "' is");
  if (buffer[0] != '/') return fail("working directory '" + path + "' is outside of the container");
  return {};
}

Result<> make_folders(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at);
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0755) != 0 && errno != EEXIST)
      return fail_errno("cannot make working directory '" + path + "'");
    if (at != std::string::npos) ++at;
  }
  return {};
}

/// `must`: also for want of rights; else the user gets another try once it is itself (a folder only the user may
/// enter).
Result<> go_to(const std::string& path, bool must) {
  if (path.empty() || path[0] != '/') return fail("working directory '" + path + "' is not absolute");
  if (::chdir(path.c_str()) != 0 && !(errno == EACCES && !must))
    return fail_errno("cannot enter working directory '" + path + "'");
  return check_inside(path);
}

void default_signals() {
  // The C library keeps two signals to itself and would not reset them; the kernel's own call does.
  const struct {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)();
    u64 mask;
  } by_default{SIG_DFL, 0, nullptr, 0};
  for (int number = 1; number < 65; ++number) ::syscall(SYS_rt_sigaction, number, &by_default, nullptr, sizeof by_default.mask);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

Result<> load(const Launch& launch) {
  if (launch.seccomp == nullptr) return {};
  return load_seccomp(*launch.seccomp, launch.seccomp_agent, launch.seccomp_state);
}

Result<> drop_rights(const Launch& launch) {
  const Process& process = *launch.process;
  if (!process.apparmor_profile.empty()) TRY(set_apparmor_profile(process.apparmor_profile));
  if (!process.selinux_label.empty()) TRY(set_selinux_label(process.selinux_label));
  const Capabilities capabilities = process.capabilities.value_or(Capabilities{});
  TRY(drop_bounding_set(capabilities));
  // A filter needs CAP_SYS_ADMIN or no_new_privs: with the first it is loaded while we have that, with the second at
  // the very end.
  if (!process.no_new_privileges) TRY(load(launch));
  std::vector<std::string> missing;
  TRY(become_user(process.user, capabilities, &missing));
  TRY(go_to(process.cwd, true));
  if (process.no_new_privileges) {
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("cannot set no_new_privs");
    TRY(load(launch));
  }
  return {};
}

}  // namespace

int inherited_listen_fds() {
  const char* text = ::getenv("LISTEN_FDS");
  const char* pid = ::getenv("LISTEN_PID");
  if (text == nullptr || (pid != nullptr && std::atoi(pid) != ::getpid())) return 0;
  const int count = std::atoi(text);
  return count > 0 && count < 10'000 ? count : 0;
}

Result<> prepare_process(Launch& launch, int console) {
  const Process& process = *launch.process;
  const unsigned first = 3 + static_cast<unsigned>(launch.preserve_fds + launch.listen_fds);
  std::vector<int> keep = launch.keep;
  keep.insert(keep.end(), {console, launch.seccomp_agent});
  // An image's links, its program and its working directory can name our descriptors (/proc/self/fd/7/../..): none may be left that leads out of
  // the container, not even one that execve would close, for the kernel looks the program up before (CVE-2024-21626).
  TRY(host::close_all_but(std::move(keep), first));
  if (process.terminal) {
    TRY_ASSIGN(const Terminal terminal, open_terminal(process));
    if (console >= 0) {
      if (auto sent = send_fd(console, terminal.master.get(), terminal.name); !sent) {
        return std::unexpected(std::move(sent.error()).within("console socket"));
      }
    }
    // A root without a place for it does without.
    if (launch.first) (void)bind_console(terminal.slave.get());
    TRY(take_terminal(terminal.slave));
  }
  TRY(set_rlimits(process.rlimits));
  if (process.oom_score_adj && launch.adjust_oom) TRY(set_oom_score(*process.oom_score_adj));
  if (process.scheduler) TRY(set_scheduler(*process.scheduler));
  if (process.io_priority) TRY(set_io_priority(*process.io_priority));
  ::umask(process.user.umask.value_or(0022));
  if (::chdir(process.cwd.c_str()) != 0 && errno == ENOENT) TRY(make_folders(process.cwd));
  TRY(go_to(process.cwd, false));
  launch.env = environment_of(process, launch.listen_fds);
  if (process.args.empty()) return fail("process.args is empty");
  TRY_ASSIGN(launch.program, find_program(process.args[0], launch.env));
  // What is ours among the others was made close-on-exec.
  for (unsigned number = 3; number < first; ++number) ::fcntl(static_cast<int>(number), F_SETFD, 0);
  return {};
}

Error become_process(const Launch& launch) {
  default_signals();
  if (auto done = drop_rights(launch); !done) return std::move(done.error());
  std::vector<char*> args, env;
  for (const std::string& item : launch.process->args) args.push_back(const_cast<char*>(item.c_str()));
  for (const std::string& item : launch.env) env.push_back(const_cast<char*>(item.c_str()));
  args.push_back(nullptr);
  env.push_back(nullptr);
  ::execve(launch.program.c_str(), args.data(), env.data());
  return exec_error(launch.program, errno);
}

}  // namespace nagaya::container
