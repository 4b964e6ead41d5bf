#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/scope.hpp"
#include "cgroup/cgroup.hpp"
#include "cgroup/device_rules.hpp"
#include "cgroup/file.hpp"
#include "cgroup/layout.hpp"
#include "cgroup/making.hpp"
#include "cgroup/settings.hpp"
#include "cgroup/systemd.hpp"

namespace nagaya::cgroup {
namespace {

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool exists(const std::string& folder) { return ::access(folder.c_str(), F_OK) == 0; }

/// What one part has to do for some resources.
struct Task {
  Writes writes;
  std::vector<PlainRule> device_rules;  ///< for v2's program
  bool cpuset = false;
  [[nodiscard]] bool empty() const { return writes.empty() && device_rules.empty(); }
};

bool serves(const Group::Part& part, std::string_view controller) {
  if (has(part.controllers, controller)) return true;
  if (!part.v2) return false;
  return controller == "devices" || (controller == "blkio" && has(part.controllers, "io"));
}

/// Which part serves `controller`; v1 parts come first, and a controller bound to v1 is not in v2's list.
const Group::Part* serving(const std::vector<Group::Part>& parts, std::string_view controller) {
  for (const auto& part : parts) {
    if (serves(part, controller)) return &part;
  }
  return nullptr;
}

std::unexpected<Error> missing(std::string_view controller) {
  const std::string name(controller);
  return fail(fmt::format("the limits of '{}' cannot be set", name),
              fmt::format("no mounted cgroup hierarchy offers the controller '{}'", name),
              name == "net_cls" || name == "net_prio" ? "cgroup v2 does not have it; leave it out"
                                                      : "'nagaya doctor' shows which controllers are where");
}

/// The tasks of all parts, in their order. `fresh`: the group is being made, its files hold nothing to look at.
Result<std::vector<Task>> tasks_for(const std::vector<Group::Part>& parts, const Resources& resources, bool fresh,
                                    Notices* notices) {
  std::vector<Task> tasks(parts.size());
  for (const auto controller : all_controllers) {
    const Group::Part* part = serving(parts, controller);
    const std::string folder = fresh || part == nullptr ? std::string() : part->folder;
    TRY_ASSIGN(Writes writes, part != nullptr && part->v2 ? writes_v2(controller, resources, folder, notices)
                                                          : writes_v1(controller, resources, folder, notices));
    if (part == nullptr) {
      if (writes.empty()) continue;
      return missing(controller);
    }
    Task& task = tasks[static_cast<std::size_t>(part - parts.data())];
    task.cpuset = task.cpuset || (controller == "cpuset" && !writes.empty());
    task.writes.insert(task.writes.end(), std::make_move_iterator(writes.begin()),
                       std::make_move_iterator(writes.end()));
    if (part->v2 && controller == "devices") {
      TRY_ASSIGN(task.device_rules, plain_rules(resources.devices));
    }
  }
  if (!resources.unified.empty()) {
    TRY_ASSIGN(const Writes writes, writes_unified(resources));
    const auto v2 = std::find_if(parts.begin(), parts.end(), [](const auto& part) { return part.v2; });
    for (const auto& write : writes) {
      const std::string name = write.file.substr(0, write.file.find('.'));
      if (v2 == parts.end() || (name != "cgroup" && !has(v2->controllers, name))) {
        return fail(fmt::format("unified cgroup file '{}'", write.file),
                    fmt::format("cgroup v2 does not have the controller '{}' on this host", name));
      }
      tasks[static_cast<std::size_t>(v2 - parts.begin())].writes.push_back(write);
    }
  }
  return tasks;
}

Result<> perform(const Group::Part& part, const Task& task) {
  TRY(carry_out(part.folder, task.writes));
  if (!task.device_rules.empty()) TRY(attach_device_program(part.folder, task.device_rules));
  return {};
}

/// Whether a part is joined that no limit asks for.
bool joined_anyway(const Group::Part& part, bool v2_only, bool all) {
  if (all) return true;
  if (part.v2) return v2_only || systemd_runs();  // systemd looks there for whom a process belongs to
  for (const auto& name : part.controllers) {
    if (name == "memory" || name == "pids" || name == "freezer" || name == "cpuacct") return true;
    // A whole system's is made before, by whoever wants it.
    if (name == "name=systemd" && (systemd_runs() || exists(part.folder))) return true;
  }
  return false;
}

/// Makes one part and does its task.
Result<> make_part(const Group::Part& part, Manager manager, const Task& task, Undo& undo) {
  TRY(make_folder(part, undo));
  if (has(part.controllers, "cpuset") && !part.v2) TRY(inherit_cpuset(part.folder, part.mount_point));
  Result<> enabled;
  // systemd hands down what its scopes need itself, and takes back what others change above them.
  if (part.v2 && manager == Manager::files) enabled = enable_controllers(part);
  auto done = perform(part, task);
  // A file that is not there because its controller could not be enabled: that is the error to tell.
  if (!done && done.error().code == ENOENT && !enabled) return enabled;
  return done;
}

int join(const Group::Part& part, pid_t pid) {
  // A thread that moves itself needs no lock over all forks (kernel/cgroup/cgroup.c: cgroup_procs_write_start), which
  // would cost a grace period.
  const bool alone = pid == 0 && !part.v2;
  return put(part.folder, alone ? "tasks" : "cgroup.procs", std::to_string(pid));
}

/// A v2 group that hands controllers down (a system inside has groups of its own) takes no processes itself: the first
/// below it that has some.
int join_below(const std::string& folder, pid_t pid) {
  for (const auto& name : folders_in(folder)) {
    const std::string below = folder + "/" + name;
    auto processes = get(below, "cgroup.procs");
    if (processes && !processes->empty() && put(below, "cgroup.procs", std::to_string(pid)) == 0) return 0;
    if (join_below(below, pid) == 0) return 0;
  }
  return EBUSY;
}

}  // namespace

const Group::Part* Group::part(std::string_view controller) const { return serving(parts_, controller); }

const Group::Part* Group::v2_part() const { return !parts_.empty() && parts_.back().v2 ? &parts_.back() : nullptr; }

std::string Group::folder(std::string_view controller) const {
  const Part* found = part(controller);
  return found != nullptr ? found->folder : std::string();
}

Result<Group> Group::at(const Layout& layout, const Place& place) {
  Group group;
  group.place_ = place;
  std::string path;
  if (place.manager == Manager::systemd) {
    TRY_ASSIGN(path, scope_folder(layout, place.path));
  } else {
    TRY_ASSIGN(path, clean_path(place.path));
  }
  for (const auto& hierarchy : layout.hierarchies) {
    if (!hierarchy.writable) continue;
    std::string base;
    if (!path.starts_with('/')) {
      base = hierarchy.own == "/" ? ""
             : hierarchy.v2       ? hierarchy.own.substr(0, hierarchy.own.rfind('/'))
                                  : hierarchy.own;
      base += '/';
    }
    group.parts_.push_back(
        {hierarchy.mount_point + base + path, hierarchy.controllers, hierarchy.v2, hierarchy.mount_point.size()});
  }
  return group;
}

Result<Group> Group::plan(const Layout& layout, const Place& place) {
  TRY_ASSIGN(Group group, at(layout, place));
  for (const auto& part : group.parts_) {
    if (!part.v2 && !joined_anyway(part, false, place.all)) continue;
    auto processes = get(part.folder, "cgroup.procs");
    if (processes && !processes->empty()) {
      return fail(fmt::format("cgroup '{}'", part.folder), "exists and has processes",
                  "choose another name, or end them");
    }
  }
  return group;
}

Result<Group> Group::create(const Layout& layout, const Place& place, const Resources& resources, pid_t first,
                            Notices* notices) {
  TRY_ASSIGN(Group group, plan(layout, place));
  Undo undo;
  if (place.manager == Manager::systemd) {
    TRY(start_scope(layout, place.path, resources, first));
    undo.add([path = place.path] { stop_scope(path); });
  }
  auto planned = tasks_for(group.parts_, resources, true, notices);
  if (!planned) return std::unexpected(std::move(planned).error());
  const auto& tasks = *planned;
  std::vector<Part> kept;
  for (std::size_t i = 0; i < group.parts_.size(); ++i) {
    const Part& part = group.parts_[i];
    if (tasks[i].empty() && !joined_anyway(part, layout.v2_only(), place.all)) {
      kept.push_back(part);  // joined when a limit comes
      continue;
    }
    auto made = make_part(part, place.manager, tasks[i], undo);
    if (made) {
      kept.push_back(part);
      continue;
    }
    const int code = made.error().code;
    const bool denied = code == EACCES || code == EPERM || code == EROFS;
    // Who may make no group may make no device node either: rules about them are kept without.
    const bool only_devices = std::all_of(tasks[i].writes.begin(), tasks[i].writes.end(),
                                          [](const Write& w) { return w.file.starts_with("devices."); });
    if (!denied || !(tasks[i].empty() || (place.optional && only_devices)))
      return std::unexpected(std::move(made).error());
    remove_folder(part.folder);
  }
  group.parts_ = std::move(kept);
  if (!place.optional &&
      std::none_of(group.parts_.begin(), group.parts_.end(), [](const Part& part) { return exists(part.folder); })) {
    return fail(fmt::format("cannot make cgroup '{}'", place.path), "no cgroup hierarchy may be written here",
                "run it as root, or mount /sys/fs/cgroup; 'nagaya doctor' shows what is there");
  }
  if (first != 0) TRY(group.add(first));
  undo.commit();
  return group;
}

Result<> Group::add(pid_t pid) const {
  for (const auto& part : parts_) {
    int code = join(part, pid);
    if (code == EBUSY && part.v2) code = join_below(part.folder, pid);
    if (code == 0 || code == ENOENT) continue;  // not joined
    return fail_errno(fmt::format("cannot move process {} into cgroup '{}'", pid, part.folder), code,
                      code == ENOSPC       ? "its cpuset has no CPUs or memory nodes"
                      : code == ESRCH      ? "it has ended"
                      : code == EOPNOTSUPP ? "the group is threaded; see its cgroup.type"
                      : code == EBUSY      ? "the group hands controllers down and takes no processes itself"
                                           : "");
  }
  return {};
}

host::Fd Group::v2_fd() const {
  if (parts_.size() != 1 || !parts_.front().v2) return {};
  return host::Fd(::open(parts_.front().folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

Result<> Group::set(const Resources& resources, Notices* notices) const {
  TRY_ASSIGN(const auto tasks, tasks_for(parts_, resources, false, notices));
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (tasks[i].empty()) continue;
    if (exists(parts_[i].folder)) {
      TRY(perform(parts_[i], tasks[i]));
      continue;
    }
    Undo undo;
    TRY(make_part(parts_[i], place_.manager, tasks[i], undo));
    // Those that are forked while we move others are found the next time.
    for (int round = 0; round < 10; ++round) {
      TRY_ASSIGN(const auto all, processes());
      std::size_t moved = 0;
      auto inside = get(parts_[i].folder, "cgroup.procs");
      std::vector<pid_t> there;
      if (inside) for_lines(*inside, [&](std::string_view line) { there.push_back(static_cast<pid_t>(number(line))); });
      for (const pid_t pid : all) {
        if (std::find(there.begin(), there.end(), pid) != there.end()) continue;
        if (join(parts_[i], pid) == 0) ++moved;
      }
      if (moved == 0) break;
    }
    undo.commit();
  }
  return {};
}

std::string Group::saved() const {
  std::string out = fmt::format("{} {} {}", place_.manager == Manager::systemd ? "systemd" : "files",
                                place_.optional ? 1 : 0, place_.path);
  for (const auto& part : parts_) {
    out += fmt::format("\n{} {} {}", part.v2 ? 2 : 1, part.mount_point,
                       part.controllers.empty() ? "-" : fmt::format("{}", fmt::join(part.controllers, ",")));
    out += ' ' + part.folder;
  }
  return out;
}

Result<Group> Group::open(const Layout&, const std::string& saved) {
  Group group;
  bool first = true, good = true;
  for_lines(saved, [&](std::string_view line) {
    if (first) {
      group.place_.manager = take_word(line) == "systemd" ? Manager::systemd : Manager::files;
      group.place_.optional = take_word(line) == "1";
      group.place_.path = line;
      first = false;
      return;
    }
    Part part;
    part.v2 = take_word(line) == "2";
    part.mount_point = number(take_word(line));
    std::string_view names = take_word(line);
    if (names != "-") {
      while (!names.empty()) part.controllers.emplace_back(take_word(names, ','));
    }
    part.folder = line;
    // A group is below its mount point: never the hierarchy itself, whose processes are everybody's.
    good = good && part.folder.starts_with('/') && part.mount_point > 0 && part.mount_point + 1 < part.folder.size() &&
           part.folder[part.mount_point] == '/' && part.folder.find("/../") == std::string::npos &&
           !part.folder.ends_with("/..");
    group.parts_.push_back(std::move(part));
  });
  if (!good) return fail("the saved text of a cgroup", "it is not one");
  return group;
}

Result<> Group::remove() const {
  if (place_.manager == Manager::systemd) stop_scope(place_.path);
  // The kernel lets go of a process a moment after its end was reported.
  using namespace std::chrono_literals;
  const auto deadline = std::chrono::steady_clock::now() + 5s;
  for (const auto& part : parts_) {
    auto pause = 100us;
    while (true) {
      const int code = remove_folder(part.folder);
      if (code == 0) break;
      if (code != EBUSY || std::chrono::steady_clock::now() > deadline) {
        return fail_errno(fmt::format("cannot remove cgroup '{}'", part.folder), code,
                          code == EBUSY ? "processes are left in it; kill them first" : "");
      }
      std::this_thread::sleep_for(pause);
      pause = std::min<std::chrono::microseconds>(pause * 2, 50ms);
    }
  }
  return {};
}

}  // namespace nagaya::cgroup
