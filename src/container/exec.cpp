// exec: one more process inside.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "container/channel.hpp"
#include "container/console.hpp"
#include "container/container.hpp"
#include "container/environment.hpp"
#include "container/folder.hpp"
#include "container/id_map.hpp"
#include "container/keyring.hpp"
#include "container/launch.hpp"
#include "container/namespaces.hpp"
#include "container/pid_file.hpp"
#include "container/seccomp_agent.hpp"
#include "container/spec/parse.hpp"
#include "container/status.hpp"
#include "container/wait.hpp"

namespace nagaya::container {
namespace {

struct ExecPlan {
  const ExecOptions* options = nullptr;
  Launch launch;
  host::Fd target;     ///< pidfd of the container's first process
  unsigned flags = 0;  ///< namespaces to join
  bool other_user = false;
  std::optional<cgroup::Group> group;
  Record record;
  std::optional<SeccompProgram> seccomp;
  std::string seccomp_metadata;
  host::Fd seccomp_agent;
  host::Fd console, command, channel;
  /// Of the container's first process. Its mount namespace's own root is another place if the container was made in a chroot, or if it has no
  /// mount namespace of its own.
  host::Fd root;

  Result<> enter_root() const {
    if (!root) return {};
    if (::fchdir(root.get()) != 0 || ::chroot(".") != 0 || ::chdir("/") != 0) return fail_errno("cannot enter the container's root");
    return {};
  }
};

/// Both processes are in one user namespace: to join it again would be refused.
bool same_user_namespace(pid_t pid) {
  struct stat ours{}, theirs{};
  return ::stat("/proc/self/ns/user", &ours) == 0 &&
         ::stat(("/proc/" + std::to_string(pid) + "/ns/user").c_str(), &theirs) == 0 && ours.st_ino == theirs.st_ino;
}

[[noreturn]] void run_inside(ExecPlan& plan) {
  plan.command.reset();
  const auto work = [&plan]() -> Result<> {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    TRY_ASSIGN(const std::string pid, expect(plan.channel.get(), Word::go, "the command"));
    ::setsid();
    if (plan.other_user) TRY(become_namespace_root());
    ::prctl(PR_SET_DUMPABLE, 0);
    TRY(plan.enter_root());
    new_keyring(plan.record.id);
    plan.launch.seccomp_agent = plan.seccomp_agent.get();
    plan.launch.keep = {plan.channel.get()};
    if (plan.seccomp && plan.seccomp->wants_listener()) {
      plan.launch.seccomp_state =
          process_state_json(plan.record, Status::running, std::atoi(pid.c_str()), plan.seccomp_metadata);
    }
    TRY(prepare_process(plan.launch, plan.console.get()));
    plan.console.reset();
    TRY(send(plan.channel.get(), Word::ready));
    TRY(expect(plan.channel.get(), Word::go, "the command"));
    ::prctl(PR_SET_PDEATHSIG, 0);
    return {};
  };
  if (auto done = work(); !done) {
    send_error(plan.channel.get(), done.error());
  } else {
    send_error(plan.channel.get(), become_process(plan.launch));
  }
  ::_exit(125);
}

/// The helper joins everything and makes the process, which is our child and not the helper's.
[[noreturn]] void run_helper(ExecPlan& plan) {
  plan.command.reset();
  const auto work = [&plan]() -> Result<> {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    // From here on nobody inside looks into this process or the one it makes, at no instant (CVE-2016-9962).
    ::prctl(PR_SET_DUMPABLE, 0);
    if (plan.group) TRY(plan.group->add(0));
    if (::setns(plan.target.get(), static_cast<int>(plan.flags)) != 0)
      return fail_errno("cannot join the container's namespaces");
    TRY_ASSIGN(const pid_t pid, clone_process(CLONE_PARENT));
    if (pid == 0) run_inside(plan);
    return send(plan.channel.get(), Word::pid, std::to_string(pid));
  };
  if (auto done = work(); !done) send_error(plan.channel.get(), done.error());
  ::_exit(0);
}

/// The saved text of a group below the container's own (`exec --cgroup`), which must be there: each line but the first
/// ends with a folder.
Result<std::string> group_below(const std::string& saved, std::string sub) {
  while (sub.starts_with('/')) sub.erase(0, 1);
  if (sub.empty()) return saved;
  if (("/" + sub + "/").find("/../") != std::string::npos || sub.find('\n') != std::string::npos) {
    return fail("'" + sub + "' is no cgroup below the container's");
  }
  std::string out;
  bool first = true, there = false;
  for (std::size_t at = 0; at < saved.size();) {
    const std::size_t end = std::min(saved.find('\n', at), saved.size());
    std::string line = saved.substr(at, end - at);
    if (!first) {
      line += "/" + sub;
      const std::size_t folder = line.find(" /");
      there = there || (folder != line.npos && ::access(line.c_str() + folder + 1, F_OK) == 0);
    }
    out += (first ? "" : "\n") + line;
    first = false;
    at = end + 1;
  }
  if (!there) return fail_errno("the container has no cgroup '" + sub + "'", ENOENT);
  return out;
}

Result<> fill(ExecPlan& plan, const ExecOptions& options) {
  TRY_ASSIGN(const Folder folder, Folder::open(options.state_root, options.id, false));
  auto record = folder.load();
  if (!record) return std::unexpected(Error{"container '" + options.id + "' " + no_such_container, "", "", ENOENT});
  plan.record = std::move(*record);
  const Status status = status_of(folder, plan.record, false);
  if (status == Status::paused && !options.ignore_paused)
    return fail("cannot exec in container '" + options.id + "'", "it is paused");
  if (status != Status::running && status != Status::created && status != Status::paused) {
    return fail("cannot exec in container '" + options.id + "'",
                "it is " + std::string(status_name(status)) + ", not running");
  }
  TRY_ASSIGN(plan.target, open_process(plan.record.process));
  plan.other_user = !same_user_namespace(plan.record.process.pid);
  for (const NamespaceKind kind : plan.record.namespaces) {
    if (kind != NamespaceKind::user || plan.other_user) plan.flags |= clone_flag(kind);
  }
  if (plan.other_user) plan.flags |= CLONE_NEWUSER;
  const auto& kinds = plan.record.namespaces;
  if (std::ranges::find(kinds, NamespaceKind::mount) == kinds.end()) {
    TRY_ASSIGN(plan.root, host::Fd::open(plan.record.rootfs, O_PATH | O_DIRECTORY));
  } else if (auto root = host::Fd::open("/proc/" + std::to_string(plan.record.process.pid) + "/root", O_PATH | O_DIRECTORY)) {
    plan.root = std::move(*root);
    // The number may have been given to another process meanwhile: the descriptor tells.
    if (::syscall(SYS_pidfd_send_signal, plan.target.get(), 0, nullptr, 0) != 0) return fail_errno("the container has just ended");
  }  // Without a right to look into the process, the namespace's root has to do.
  if (!plan.record.cgroup_saved.empty()) {
    TRY_ASSIGN(const std::string saved, group_below(plan.record.cgroup_saved, options.sub_cgroup));
    TRY_ASSIGN(plan.group, cgroup::Group::open({}, saved));
  }
  TRY_ASSIGN(const std::string text, folder.read("config.json"));
  if (text.find("\"seccomp\"") != text.npos) {
    TRY_ASSIGN(const Spec spec, parse_spec(text));
    if (spec.linux.seccomp) {
      TRY_ASSIGN(plan.seccomp, SeccompProgram::compile(*spec.linux.seccomp));
      plan.seccomp_metadata = spec.linux.seccomp->listener_metadata;
      if (plan.seccomp->wants_listener() && !spec.linux.seccomp->listener_path.empty()) {
        TRY_ASSIGN(plan.seccomp_agent, host::Fd::connect_unix(spec.linux.seccomp->listener_path));
      }
    }
  }
  plan.options = &options;
  plan.launch.process = &options.process;
  plan.launch.seccomp = plan.seccomp ? &*plan.seccomp : nullptr;
  plan.launch.preserve_fds = options.preserve_fds;
  plan.launch.adjust_oom = !plan.other_user;
  plan.launch.first = false;
  return {};
}

}  // namespace

Result<int> exec(const ExecOptions& options) {
  ExecPlan plan;
  TRY(fill(plan, options));
  std::optional<host::Fd> relay_end;
  if (options.process.terminal && !options.console_socket.empty()) {
    TRY_ASSIGN(plan.console, connect_console(options.console_socket));
  } else if (options.process.terminal) {
    if (options.detach)
      return fail("the process has a terminal and nobody takes its other end", "", "give --console-socket");
    TRY_ASSIGN(auto ends, channel());
    plan.console = std::move(ends.first);
    relay_end = std::move(ends.second);
  }
  TRY_ASSIGN(auto ends, channel());
  plan.command = std::move(ends.first);
  plan.channel = std::move(ends.second);

  TRY_ASSIGN(const pid_t helper, clone_process(0));
  if (helper == 0) run_helper(plan);
  while (::waitpid(helper, nullptr, 0) < 0 && errno == EINTR) {
  }
  plan.channel.reset();
  plan.console.reset();
  TRY_ASSIGN(const std::string number, expect(plan.command.get(), Word::pid, "the helper"));
  const pid_t pid = std::atoi(number.c_str());
  const auto enter = [&]() -> Result<> {
    TRY(send(plan.command.get(), Word::go, number));
    TRY(expect(plan.command.get(), Word::ready, "the process"));
    TRY(write_pid_file(options.pid_file, pid));
    TRY(send(plan.command.get(), Word::go));
    TRY_ASSIGN(const auto last, receive(plan.command.get()));
    if (last) return fail("the process answered out of turn");
    return {};
  };
  if (auto done = enter(); !done) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return std::unexpected(std::move(done.error()));
  }
  if (options.detach) return 0;
  if (relay_end) return wait_with_terminal(pid, *relay_end);
  return wait_for(pid);
}

}  // namespace nagaya::container
