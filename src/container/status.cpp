#include "container/status.hpp"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "container/gate.hpp"
#include "container/id_map.hpp"

namespace nagaya::container {
namespace {

bool frozen(const Record& record) {
  if (record.cgroup_saved.empty()) return false;
  const auto group = cgroup::Group::open({}, record.cgroup_saved);
  return group && group->frozen();
}

}  // namespace

std::string_view status_name(Status status) {
  constexpr std::string_view names[] = {"creating", "created", "running", "paused", "stopped"};
  return names[static_cast<int>(status)];
}

Status rough_status_of(const Folder& folder, const Record& record, bool locked) {
  if (record.phase == Record::Phase::creating) return !locked && folder.busy() ? Status::creating : Status::stopped;
  if (!alive(record.process)) return Status::stopped;
  return frozen(record) ? Status::paused : Status::running;
}

Status status_of(const Folder& folder, const Record& record, bool locked) {
  const Status rough = rough_status_of(folder, record, locked);
  if (rough != Status::running) return rough;
  const auto waiting = knock(folder);
  if (waiting || waiting.error().code == EAGAIN) return Status::created;
  return Status::running;
}

State describe(const Record& record) {
  State state;
  state.id = record.id;
  state.bundle = record.bundle;
  state.rootfs = record.rootfs;
  state.created = record.created;
  state.owner = record.owner;
  state.annotations = record.annotations;
  state.cgroup = record.cgroup;
  state.cgroup_saved = record.cgroup_saved;
  state.terminal = record.terminal;
  return state;
}

State state_of(const Folder& folder, const Record& record, bool locked) {
  State state = describe(record);
  state.status = status_of(folder, record, locked);
  state.pid = state.status == Status::stopped ? 0 : record.process.pid;
  return state;
}

Result<State> state(const std::string& state_root, const std::string& id) {
  TRY_ASSIGN(const Folder folder, Folder::open(state_root, id, false));
  auto record = folder.load();
  if (!record && record.error().code == ENOENT) {
    return std::unexpected(Error{"container '" + id + "' " + no_such_container, "", "", ENOENT});
  }
  if (!record) return std::unexpected(std::move(record.error()));
  return state_of(folder, *record, false);
}

Result<std::vector<State>> list(const std::string& state_root) {
  std::vector<State> out;
  DIR* folder = ::opendir(state_root.c_str());
  if (folder == nullptr) {
    if (errno == ENOENT) return out;
    return fail_errno("cannot list '" + state_root + "'");
  }
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(folder)) {
    if (std::string_view(entry->d_name) != "." && std::string_view(entry->d_name) != "..")
      names.emplace_back(entry->d_name);
  }
  ::closedir(folder);
  std::sort(names.begin(), names.end());
  // One that goes away meanwhile, or is none, is left out.
  for (const std::string& name : names) {
    if (auto found = state(state_root, name)) out.push_back(std::move(*found));
  }
  return out;
}

std::string state_json(const State& state) {
  Record record;
  record.id = state.id;
  record.bundle = state.bundle;
  record.annotations = state.annotations;
  return state_json(record, state.status, state.pid);
}

Result<std::string> configuration(const std::string& state_root, const std::string& id) {
  TRY_ASSIGN(const Folder folder, Folder::open(state_root, id, false));
  return folder.read("config.json");
}

Result<cgroup::Group> group_of(const State& state) {
  if (state.cgroup_saved.empty()) return fail("container '" + state.id + "' has no cgroup");
  return cgroup::Group::open({}, state.cgroup_saved);
}

Result<std::vector<pid_t>> processes(const std::string& state_root, const std::string& id) {
  TRY_ASSIGN(const State found, state(state_root, id));
  if (!found.cgroup_saved.empty()) {
    TRY_ASSIGN(const cgroup::Group group, group_of(found));
    return group.processes();
  }
  std::vector<pid_t> out;
  if (found.pid > 0) out.push_back(found.pid);
  return out;
}

std::string default_state_root() {
  const char* user = ::getenv("XDG_RUNTIME_DIR");
  if (rootless() && user != nullptr && *user != '\0') return std::string(user) + "/nagaya-oci";
  return "/run/nagaya-oci";
}

}  // namespace nagaya::container
