// start, kill, pause, resume, update, delete: what happens to a container that is there.
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "container/channel.hpp"
#include "container/container.hpp"
#include "container/folder.hpp"
#include "container/gate.hpp"
#include "container/hooks.hpp"
#include "container/spec/parse.hpp"
#include "container/status.hpp"
#include "container/teardown.hpp"
#include "container/warning.hpp"

namespace nagaya::container {
namespace {

struct Opened {
  Folder folder;
  Record record;
  Status status{};
};

Result<Opened> open_locked(const std::string& state_root, const std::string& id, bool rough = false) {
  TRY_ASSIGN(Folder folder, Folder::open(state_root, id, true));
  auto record = folder.load();
  if (!record && record.error().code == ENOENT) {
    return std::unexpected(Error{"container '" + id + "' " + no_such_container, "", "", ENOENT});
  }
  if (!record) return std::unexpected(std::move(record.error()));
  const Status status = rough ? rough_status_of(folder, *record, true) : status_of(folder, *record, true);
  return Opened{std::move(folder), std::move(*record), status};
}

std::string called(const std::string& id, Status status) {
  return "container '" + id + "' is " + std::string(status_name(status));
}

Result<Hooks> hooks_of(const Folder& folder) {
  TRY_ASSIGN(const std::string text, folder.read("config.json"));
  // Most have none: then there is no need to read the whole again.
  if (text.find("\"hooks\"") == text.npos) return Hooks{};
  TRY_ASSIGN(Spec spec, parse_spec(text));
  return std::move(spec.hooks);
}

Result<cgroup::Group> group_of(const Record& record) {
  State state;
  state.id = record.id;
  state.cgroup_saved = record.cgroup_saved;
  return container::group_of(state);
}

}  // namespace

Result<> start(const std::string& state_root, const std::string& id) {
  TRY_ASSIGN(const Opened it, open_locked(state_root, id, true));
  // Who waits at the gate is created; a frozen one would not answer.
  Result<host::Fd> gate = fail("nobody is asked");
  if (it.status == Status::running) gate = knock(it.folder);
  if (!gate) return fail("cannot start container '" + id + "'", called(id, it.status) + ", not created");
  TRY(send(gate->get(), Word::go));
  TRY_ASSIGN(const auto answer, receive(gate->get()));
  if (answer) return fail("the container's first process answered out of turn");
  TRY_ASSIGN(const Hooks hooks, hooks_of(it.folder));
  if (!hooks.poststart.empty())
    run_late_hooks(hooks.poststart, "poststart", state_json(it.record, Status::running, it.record.process.pid));
  return {};
}

Result<> kill(const std::string& state_root, const std::string& id, int signal, bool all) {
  TRY_ASSIGN(const Opened it, open_locked(state_root, id));
  if (all && !it.record.cgroup_saved.empty()) {
    TRY_ASSIGN(const cgroup::Group group, group_of(it.record));
    return group.kill_all(signal);
  }
  if (it.status == Status::stopped)
    return std::unexpected(Error{"container '" + id + "' is not running", "", "", ESRCH});
  TRY_ASSIGN(const host::Fd process, open_process(it.record.process));
  if (::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) != 0)
    return fail_errno("cannot signal container '" + id + "'");
  // A frozen process would get it only when it is thawed.
  if (it.status == Status::paused && signal == SIGKILL) {
    TRY_ASSIGN(const cgroup::Group group, group_of(it.record));
    return group.thaw();
  }
  return {};
}

Result<> pause(const std::string& state_root, const std::string& id) {
  TRY_ASSIGN(const Opened it, open_locked(state_root, id));
  if (it.status != Status::running && it.status != Status::created)
    return fail("cannot pause", called(id, it.status) + ", not running");
  TRY_ASSIGN(const cgroup::Group group, group_of(it.record));
  return group.freeze();
}

Result<> resume(const std::string& state_root, const std::string& id) {
  TRY_ASSIGN(const Opened it, open_locked(state_root, id));
  if (it.status != Status::paused) return fail("cannot resume", called(id, it.status) + ", not paused");
  TRY_ASSIGN(const cgroup::Group group, group_of(it.record));
  return group.thaw();
}

Result<> update(const std::string& state_root, const std::string& id, const Resources& resources) {
  TRY_ASSIGN(const Opened it, open_locked(state_root, id));
  if (it.status == Status::stopped) return fail("cannot update", called(id, it.status));
  TRY_ASSIGN(const cgroup::Group group, group_of(it.record));
  std::vector<std::string> notices;
  const auto done = group.set(resources, &notices);
  for (const std::string& notice : notices) warn(notice);
  return done;
}

Result<> remove(const std::string& state_root, const std::string& id, bool force) {
  auto folder = Folder::open(state_root, id, true);
  if (!folder) {
    if (force && folder.error().code == ENOENT) return {};
    return std::unexpected(std::move(folder.error()));
  }
  const auto record = folder->load();
  if (!record && record.error().code != ENOENT && !force) return std::unexpected(record.error());
  if (record) {
    if (!force && rough_status_of(*folder, *record, true) != Status::stopped) {
      const Status status = status_of(*folder, *record, true);
      return fail("cannot delete container '" + id + "'", called(id, status) + ", not stopped",
                  "delete -f kills it first");
    }
    TRY(tear_down(*record));
    const auto hooks = hooks_of(*folder);
    if (hooks) run_late_hooks(hooks->poststop, "poststop", state_json(*record, Status::stopped, 0));
  }
  // The folder goes last: a kill before this leaves a container that is stopped and can be deleted again.
  return folder->remove();
}

}  // namespace nagaya::container
