// create: everything up to the point where only `start` is missing.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/scope.hpp"
#include "container/bundle.hpp"
#include "container/channel.hpp"
#include "container/console.hpp"
#include "container/gate.hpp"
#include "container/hooks.hpp"
#include "container/id_map.hpp"
#include "container/init.hpp"
#include "container/pid_file.hpp"
#include "container/spec/parse.hpp"
#include "container/status.hpp"
#include "container/teardown.hpp"
#include "container/warning.hpp"

namespace nagaya::container {
namespace {

Result<> check(const CreateOptions& options, const Spec& spec, const NamespacePlan& namespaces) {
  const bool terminal = spec.process && spec.process->terminal;
  if (terminal && options.console_socket.empty() && options.console_connection < 0) {
    return fail("the process has a terminal and nobody takes its other end", "", "give --console-socket");
  }
  if (!terminal && !options.console_socket.empty())
    return fail("a console socket is of no use: process.terminal is false");
  const bool own_user = namespaces.is_fresh(NamespaceKind::user);
  if (own_user && (spec.linux.uid_mappings.empty() || spec.linux.gid_mappings.empty())) {
    return fail("a new user namespace needs linux.uidMappings and linux.gidMappings");
  }
  if (!own_user && !namespaces.joins(NamespaceKind::user)) {
    if (!spec.linux.uid_mappings.empty() || !spec.linux.gid_mappings.empty()) {
      return fail("id mappings are given without a user namespace");
    }
    if (::geteuid() != 0) return fail("a container without root needs a user namespace in its configuration");
  }
  if (!namespaces.is_fresh(NamespaceKind::time) && (spec.linux.monotonic_offset || spec.linux.boottime_offset)) {
    return fail("time offsets are given without a new time namespace");
  }
  const auto own = [&](NamespaceKind kind) { return namespaces.is_fresh(kind) || namespaces.joins(kind); };
  if (!spec.hostname.empty() && !own(NamespaceKind::uts)) return fail("a host name is given without a UTS namespace");
  if (!spec.domainname.empty() && !own(NamespaceKind::uts))
    return fail("a domain name is given without a UTS namespace");
  return {};
}

void describe_root(const std::string& bundle, const Spec& spec, const NamespacePlan& namespaces,
                   const CreateOptions& options, RootRequest* root) {
  root->spec = &spec;
  root->bundle = bundle;
  root->new_mount_namespace = namespaces.is_fresh(NamespaceKind::mount);
  root->new_user_namespace = namespaces.is_fresh(NamespaceKind::user);
  root->new_cgroup_namespace = namespaces.is_fresh(NamespaceKind::cgroup);
  root->no_pivot = options.no_pivot;
}

/// The first process, made by a helper that joins other namespaces before; its number outside.
Result<pid_t> make_through_helper(InitPlan& plan, u64 flags) {
  TRY_ASSIGN(const pid_t helper, clone_process(0));
  if (helper == 0) {
    plan.command.reset();
    plan.folder->forget();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const auto work = [&plan, flags]() -> Result<> {
      constexpr unsigned late = CLONE_NEWUSER | CLONE_NEWNS;
      const bool other_user =
          plan.namespaces.joins(NamespaceKind::user) || plan.namespaces.is_fresh(NamespaceKind::user);
      TRY(plan.namespaces.join(~late, other_user));
      TRY(plan.namespaces.join(CLONE_NEWUSER, false));
      // Others may be in that PID namespace already: they do not look into what we make there. A new user namespace's maps are written
      // through files that only a dumpable process has to itself.
      if (!plan.namespaces.is_fresh(NamespaceKind::user)) ::prctl(PR_SET_DUMPABLE, 0);
      TRY(plan.namespaces.join(CLONE_NEWPID, false));
      TRY_ASSIGN(const pid_t pid, clone_process(flags | CLONE_PARENT));
      if (pid == 0) run_init(plan);
      return send(plan.channel.get(), Word::pid, std::to_string(pid));
    };
    if (auto done = work(); !done) send_error(plan.channel.get(), done.error());
    ::_exit(0);
  }
  // Its word is in the socket once it has ended; waiting for the word alone would never end if it was killed.
  while (::waitpid(helper, nullptr, 0) < 0 && errno == EINTR) {
  }
  plan.channel.reset();
  TRY_ASSIGN(const std::string pid, expect(plan.command.get(), Word::pid, "the helper"));
  return std::atoi(pid.c_str());
}

Result<pid_t> make_first_process(InitPlan& plan) {
  const u64 flags = plan.namespaces.fresh() & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS);
  if (plan.namespaces.needs_helper()) return make_through_helper(plan, flags);
  TRY_ASSIGN(const pid_t pid, clone_process(flags));
  if (pid == 0) run_init(plan);
  plan.channel.reset();
  return pid;
}

/// The command's side of the creation, after the first process is there.
Result<> bring_up(InitPlan& plan, const cgroup::Place& place, pid_t pid) {
  const Spec& spec = *plan.spec;
  Record& record = *plan.record;
  const bool own_user = plan.namespaces.is_fresh(NamespaceKind::user);
  const bool other_user = own_user || plan.namespaces.joins(NamespaceKind::user);
  if (!record.cgroup_saved.empty()) {
    std::vector<std::string> notices;
    // A process in another user namespace may not write the outside's cgroup files; systemd's scopes begin with a
    // process.
    const pid_t first = other_user || place.manager == cgroup::Manager::systemd ? pid : 0;
    TRY_ASSIGN(const cgroup::Group group,
               cgroup::Group::create(*plan.layout, place, spec.linux.resources.value_or(Resources{}), first, &notices));
    record.cgroup_saved = group.saved();
    for (const std::string& notice : notices) warn(notice);
  }
  if (own_user) TRY(write_id_maps(pid, spec.linux.uid_mappings, spec.linux.gid_mappings));
  if (other_user && spec.process && spec.process->oom_score_adj) {
    TRY_ASSIGN(const host::Fd file, host::Fd::open("/proc/" + std::to_string(pid) + "/oom_score_adj", O_WRONLY));
    const std::string text = std::to_string(*spec.process->oom_score_adj);
    if (::write(file.get(), text.data(), text.size()) < 0) warn("the OOM score adjustment " + text + " was refused");
  }
  const auto identity = identify(pid);
  if (!identity) return fail("the container's first process ended before it was ready");
  record.process = *identity;
  TRY(send(plan.command.get(), Word::go, write_go(pid, record.cgroup_saved)));
  TRY_ASSIGN(auto answer, receive(plan.command.get()));
  if (answer && answer->word == Word::hooks) {
    const std::string state = state_json(record, Status::creating, pid);
    TRY(run_hooks(spec.hooks.prestart, "prestart", state));
    TRY(run_hooks(spec.hooks.create_runtime, "createRuntime", state));
    TRY(send(plan.command.get(), Word::go));
    TRY_ASSIGN(answer, receive(plan.command.get()));
  }
  if (!answer || answer->word != Word::ready) return fail("the container's first process ended before it was ready");
  return {};
}

}  // namespace

Result<State> create(const CreateOptions& options) {
  TRY_ASSIGN(const std::string bundle, bundle_path(options.bundle));
  TRY_ASSIGN(Configuration configuration, read_configuration(options, bundle));
  if (auto& process = configuration.spec.process; process && process->terminal && !process->console_size) process->console_size = options.console_size;
  const Spec& spec = configuration.spec;
  InitPlan plan;
  TRY_ASSIGN(plan.namespaces, NamespacePlan::make(spec.linux.namespaces));
  TRY(check(options, spec, plan.namespaces));

  bool leftover = false;
  TRY_ASSIGN(Folder folder, Folder::claim(options.state_root, options.id, &leftover));
  if (leftover) {
    if (const auto old = folder.load()) TRY(tear_down(*old));
  }
  Record record = new_record(options, bundle, spec);

  bool hooks_began = false;
  pid_t pid = 0;
  Undo undo;
  undo.add([&] {
    if (pid > 0) {
      ::kill(pid, SIGKILL);
      while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
    if (auto done = tear_down(record); !done) warn(done.error().message());
    if (hooks_began) run_late_hooks(spec.hooks.poststop, "poststop", state_json(record, Status::stopped, 0));
    if (auto done = folder.remove(); !done) warn(done.error().message());
  });

  // Written down first, made then: a kill from here on leaves nothing that cannot be found.
  std::optional<cgroup::Layout> layout;
  if (!options.no_cgroup) {
    TRY_ASSIGN(layout, cgroup::read_layout());
    TRY_ASSIGN(const cgroup::Group planned, cgroup::Group::plan(*layout, record.cgroup));
    record.cgroup_saved = planned.saved();
  }
  TRY(folder.save(record));
  TRY(folder.write("config.json", configuration.text));

  plan.spec = &spec;
  plan.options = &options;
  plan.layout = layout ? &*layout : nullptr;
  plan.record = &record;
  plan.folder = &folder;
  describe_root(bundle, spec, plan.namespaces, options, &plan.root);
  TRY_ASSIGN(plan.mounts, prepare_mounts(plan.root));
  std::optional<SeccompProgram> seccomp;
  if (spec.process) {
    plan.launch.process = &*spec.process;
    plan.launch.preserve_fds = options.preserve_fds;
    plan.launch.listen_fds = inherited_listen_fds();
    plan.launch.adjust_oom =
        !plan.namespaces.is_fresh(NamespaceKind::user) && !plan.namespaces.joins(NamespaceKind::user);
    // In a user namespace of its own a process has all capabilities that the kernel knows.
    if (plan.launch.adjust_oom && spec.process->capabilities) {
      std::string names;
      for (const std::string& name : missing_capabilities(*spec.process->capabilities)) names += " " + name;
      if (!names.empty()) warn("capabilities that nobody here can give are left out:" + names);
    }
    if (spec.linux.seccomp) {
      TRY_ASSIGN(seccomp, SeccompProgram::compile(*spec.linux.seccomp));
      plan.launch.seccomp = &*seccomp;
      if (seccomp->wants_listener() && !spec.linux.seccomp->listener_path.empty()) {
        TRY_ASSIGN(plan.seccomp_agent, host::Fd::connect_unix(spec.linux.seccomp->listener_path));
      }
    }
  }
  if (options.console_connection >= 0) {
    TRY_ASSIGN(plan.console, host::Fd::duplicate(options.console_connection));
  } else if (!options.console_socket.empty()) {
    TRY_ASSIGN(plan.console, connect_console(options.console_socket));
  }
  TRY_ASSIGN(plan.gate, make_gate(folder));
  TRY_ASSIGN(auto ends, channel());
  plan.command = std::move(ends.first);
  plan.channel = std::move(ends.second);

  hooks_began =
      !spec.hooks.prestart.empty() || !spec.hooks.create_runtime.empty() || !spec.hooks.create_container.empty();
  TRY_ASSIGN(pid, make_first_process(plan));
  TRY(bring_up(plan, record.cgroup, pid));
  // Named before it is let go: a kill from here on leaves a creation that is incomplete, but whose process is known.
  TRY(folder.save(record));
  TRY(send(plan.command.get(), Word::go));
  TRY(expect(plan.command.get(), Word::ready, "the container's first process"));
  record.phase = Record::Phase::created;
  TRY(folder.save(record));
  TRY(write_pid_file(options.pid_file, pid));
  undo.commit();

  State state = describe(record);
  state.status = Status::created;
  state.pid = pid;
  return state;
}

}  // namespace nagaya::container
