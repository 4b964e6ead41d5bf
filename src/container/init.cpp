#include "container/init.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "container/channel.hpp"
#include "container/hooks.hpp"
#include "container/id_map.hpp"
#include "container/keyring.hpp"
#include "container/seccomp_agent.hpp"

namespace nagaya::container {
namespace {

/// Dies with the command as long as the container is not made. The death signal is lost when rights change, hence more than one call.
Result<> die_with_command(int channel) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return fail_errno("cannot tie the container to its creation");
  pollfd item{channel, 0, 0};
  if (::poll(&item, 1, 0) > 0 && (item.revents & POLLHUP) != 0) return fail("the command has ended");
  return {};
}

Result<> set_names(const InitPlan& plan) {
  const Spec& spec = *plan.spec;
  if (!spec.hostname.empty() && ::sethostname(spec.hostname.data(), spec.hostname.size()) != 0)
    return fail_errno("cannot set the host name");
  if (!spec.domainname.empty() && ::setdomainname(spec.domainname.data(), spec.domainname.size()) != 0) {
    return fail_errno("cannot set the domain name");
  }
  return {};
}

/// Namespaces other than those it was born in. Making them here and not at birth lets the command make the cgroup
/// meanwhile.
Result<> enter_namespaces(InitPlan& plan) {
  constexpr unsigned here = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  TRY(plan.namespaces.join(~static_cast<unsigned>(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER), false));
  if (const unsigned flags = plan.namespaces.fresh() & here; flags != 0 && ::unshare(static_cast<int>(flags)) != 0) {
    return fail_errno("cannot make namespaces");
  }
  return {};
}

/// What a mount of type "cgroup" shows.
void describe_cgroups(const cgroup::Layout& layout, const cgroup::Group& group, RootRequest& root) {
  for (const cgroup::Hierarchy& hierarchy : layout.hierarchies) {
    std::string names;
    for (const std::string& name : hierarchy.controllers) names += (names.empty() ? "" : ",") + name;
    std::string folder = group.folder(hierarchy.controllers.empty() ? "" : hierarchy.controllers[0]);
    // Where no limit asks for it no group is made: what the mount would show there is the host's own.
    if (!folder.empty() && ::access(folder.c_str(), F_OK) == 0)
      root.cgroups.push_back({std::move(names), std::move(folder), hierarchy.v2});
  }
}

Result<> enter_cgroup(InitPlan& plan, const std::string& saved) {
  if (!saved.empty()) {
    TRY_ASSIGN(const cgroup::Group group, cgroup::Group::open(*plan.layout, saved));
    // With another user namespace the command has moved us: we may not.
    if (!plan.namespaces.is_fresh(NamespaceKind::user) && !plan.namespaces.joins(NamespaceKind::user))
      TRY(group.add(0));
    describe_cgroups(*plan.layout, group, plan.root);
  }
  if (plan.namespaces.is_fresh(NamespaceKind::cgroup) && ::unshare(CLONE_NEWCGROUP) != 0)
    return fail_errno("cannot make a cgroup namespace");
  return {};
}

/// From birth to the moment when only `start` is missing.
Result<> set_up(InitPlan& plan) {
  const Spec& spec = *plan.spec;
  const int channel = plan.channel.get();
  TRY(die_with_command(channel));
  ::setsid();
  if (!plan.options->no_new_keyring) new_keyring(plan.record->id);
  TRY(enter_namespaces(plan));
  TRY_ASSIGN(const std::string go, expect(channel, Word::go, "the command"));
  const std::size_t space = go.find(' ');
  const pid_t outer_pid = std::atoi(go.c_str());
  TRY(enter_cgroup(plan, go.substr(space + 1)));
  if (plan.namespaces.is_fresh(NamespaceKind::time)) TRY(enter_new_time_namespace(spec.linux));
  TRY(plan.namespaces.join(CLONE_NEWNS, false));
  if (plan.namespaces.is_fresh(NamespaceKind::user) || plan.namespaces.joins(NamespaceKind::user))
    TRY(become_namespace_root());
  // Nobody inside looks into this process while it has descriptors and rights of the outside.
  ::prctl(PR_SET_DUMPABLE, 0);
  TRY(die_with_command(channel));
  TRY(set_names(plan));
  if (!spec.linux.sysctl.empty()) TRY(set_sysctls(spec.linux.sysctl, spec.linux.namespaces));
  TRY_ASSIGN(host::Fd root, build_root(plan.root, plan.mounts));
  if (!spec.hooks.prestart.empty() || !spec.hooks.create_runtime.empty()) {
    TRY(send(channel, Word::hooks));
    TRY(expect(channel, Word::go, "the command"));
  }
  if (!spec.hooks.create_container.empty()) {
    TRY(run_hooks(spec.hooks.create_container, "createContainer",
                  state_json(*plan.record, Status::creating, outer_pid)));
  }
  TRY(enter_root(plan.root, root));
  root.reset();
  plan.mounts.clear();
  if (spec.linux.personality) TRY(set_personality(*spec.linux.personality));
  if (spec.linux.memory_policy) TRY(set_memory_policy(*spec.linux.memory_policy));
  if (plan.launch.process != nullptr) {
    plan.launch.seccomp_agent = plan.seccomp_agent.get();
    plan.launch.keep = {channel, plan.gate.get()};
    TRY(prepare_process(plan.launch, plan.console.get()));
    if (spec.linux.seccomp) {
      plan.launch.seccomp_state =
          process_state_json(*plan.record, Status::creating, outer_pid, spec.linux.seccomp->listener_metadata);
    }
  }
  plan.console.reset();
  plan.record->process.pid = outer_pid;
  TRY(send(channel, Word::ready));
  // The command's last word: what it has left to do (state, pid file) is done.
  TRY(expect(channel, Word::go, "the command"));
  if (::prctl(PR_SET_PDEATHSIG, 0) != 0) return fail_errno("cannot leave the command");
  return send(channel, Word::ready);
}

/// Waits for a caller that says `go`; callers that only look hang up.
host::Fd wait_at(const host::Fd& gate) {
  for (;;) {
    host::Fd caller(::accept4(gate.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!caller) continue;
    const auto word = receive(caller.get());
    if (word && *word && (*word)->word == Word::go) return caller;
  }
}

}  // namespace

std::string write_go(pid_t pid, const std::string& cgroup_saved) { return std::to_string(pid) + " " + cgroup_saved; }

void run_init(InitPlan& plan) {
  for (const int fd : plan.options->private_fds) ::close(fd);
  plan.command.reset();
  plan.folder->forget();
  if (auto done = set_up(plan); !done) {
    send_error(plan.channel.get(), done.error());
    ::_exit(1);
  }
  plan.channel.reset();
  const host::Fd starter = wait_at(plan.gate);
  const auto refuse = [&starter](const Error& error) {
    send_error(starter.get(), error);
    ::_exit(1);
  };
  const auto& hooks = plan.spec->hooks.start_container;
  if (!hooks.empty()) {
    const std::string state = state_json(*plan.record, Status::created, plan.record->process.pid);
    if (auto done = run_hooks(hooks, "startContainer", state); !done) refuse(done.error());
  }
  if (plan.launch.process == nullptr) refuse(Error{"the configuration has no process"});
  refuse(become_process(plan.launch));
  ::_exit(1);
}

}  // namespace nagaya::container
