#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <algorithm>
#include <csignal>
#include <optional>

#include "base/scope.hpp"
#include "container/bundle.hpp"
#include "container/channel.hpp"
#include "container/checkpoint/checkpoint.hpp"
#include "container/checkpoint/criu.hpp"
#include "container/checkpoint/externals.hpp"
#include "container/checkpoint/places.hpp"
#include "container/console.hpp"
#include "container/folder.hpp"
#include "container/hooks.hpp"
#include "container/pid_file.hpp"
#include "container/status.hpp"
#include "container/teardown.hpp"
#include "container/wait.hpp"
#include "container/warning.hpp"

namespace nagaya::container {
namespace {

namespace option = criu::option;

constexpr const char* log_name = "restore.log";
constexpr int config_descriptor = 19;
constexpr int first_inherited = 20;  // numbers that CRIU's own start does not touch

Result<std::string> absolute_path(const std::string& path) {
  char buffer[PATH_MAX];
  if (::realpath(path.c_str(), buffer) == nullptr) return fail_errno("cannot find '" + path + "'");
  return std::string(buffer);
}

/// CRIU wants the root to be a mount point whose parent nothing hides. It gets one in a mount namespace of its own, which ends with it: a kill
/// at any moment leaves no mount behind. What it mounts from outside is the same there.
bool mount_root(const char* rootfs, const char* point) {
  if (::unshare(CLONE_NEWNS) != 0) return false;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return false;
  return ::mount(rootfs, point, nullptr, MS_BIND | MS_REC, nullptr) == 0 && ::mount(nullptr, point, nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

/// The log's folder, where CRIU works, by its name: a descriptor of ours would lead into the mount namespace of ours, where it could mount
/// nothing. Only its own configuration can name it.
Result<> name_work_folder(const RestoreOptions& options, criu::Call& call, std::vector<host::Fd>& owned) {
  TRY_ASSIGN(const std::string work, absolute_path(options.work_path.empty() ? options.image_path : options.work_path));
  if (work.find_first_of("\"\\\n") != work.npos) return fail("the log's folder cannot be named to CRIU", "'" + work + "' has a quotation mark in it");
  const std::string text = "work-dir \"" + work + "\"\n";
  TRY_ASSIGN(host::Fd file, host::Fd::memfd("criu.conf", 0));
  TRY(host::write_all(file.get(), text));
  call.options.text(option::config_file, "/proc/self/fd/" + std::to_string(config_descriptor));
  call.inherit.emplace_back(file.get(), config_descriptor);
  owned.push_back(std::move(file));
  return {};
}

/// What the images are given from here, in numbers that CRIU's process has.
struct Inherited {
  std::vector<host::Fd> owned;
  int next = first_inherited;
  void add(criu::Call& call, const std::string& name, int ours) {
    criu::WireWriter item;
    item.text(1, name);
    item.integer(2, next);
    call.options.message(option::inherit_fd, item);
    call.inherit.emplace_back(ours, next++);
  }
};

std::string read_types(const host::Fd& images) {
  const host::Fd file{::openat(images.get(), "descriptor-types", O_RDONLY | O_NOFOLLOW | O_CLOEXEC)};
  char bytes[3] = {};
  const ssize_t count = file ? ::read(file.get(), bytes, sizeof bytes) : 0;
  return {bytes, static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
}

Result<> name_externals(const RestoreOptions& options, const Spec& spec, const Record& record, const Places& places, const cgroup::Layout* layout,
                        const cgroup::Group* group, criu::Call& call, Inherited& inherited) {
  TRY_ASSIGN(const host::Fd root, host::Fd::open(record.rootfs, O_PATH | O_DIRECTORY));
  TRY_ASSIGN(const std::vector<ExternalMount> mounts, mounts_to_restore(spec, record.bundle, root, layout, group));
  for (const ExternalMount& mount : mounts) call.options.text(option::external, "mnt[" + mount.point + "]:" + mount.source);
  TRY_ASSIGN(auto namespaces, namespaces_to_restore(spec));
  for (auto& [name, fd] : namespaces) {
    inherited.add(call, name, fd.get());
    inherited.owned.push_back(std::move(fd));
  }
  if (const host::Fd file{::openat(places.images.get(), "descriptors.json", O_RDONLY | O_NOFOLLOW | O_CLOEXEC)}) {
    TRY_ASSIGN(const std::vector<u8> text, host::read_all(file.get(), 65536, "descriptors.json"));
    const std::string types = read_types(places.images);
    const std::vector<std::string> names = read_descriptors({reinterpret_cast<const char*>(text.data()), text.size()});
    for (std::size_t i = 0; i < names.size(); ++i) {
      const bool again = std::find(names.begin(), names.begin() + static_cast<long>(i), names[i]) != names.begin() + static_cast<long>(i);
      if (!is_inherited(names[i]) || again) continue;
      struct stat facts {};
      const bool device = i < types.size() && types[i] == character_device;
      if (names[i].starts_with("file[") && (::fstat(static_cast<int>(i), &facts) != 0 || (device ? !S_ISCHR(facts.st_mode) : !S_ISREG(facts.st_mode)))) {
        // It was a file, and the caller has none for us: one in memory takes its place; of a device the one that everybody has.
        TRY_ASSIGN(host::Fd file, device ? host::Fd::open("/dev/null", O_RDWR) : host::Fd::memfd("standard", 0));
        inherited.add(call, names[i], file.get());
        inherited.owned.push_back(std::move(file));
      } else {
        inherited.add(call, names[i], static_cast<int>(i));
      }
    }
  }
  if (group != nullptr) {
    for (const cgroup::Hierarchy& hierarchy : layout->hierarchies) {
      const std::string folder = group_folder(*group, hierarchy);
      if (folder.empty()) continue;
      // Without a controller's name it would be meant for all hierarchies: right only where there is one.
      if (hierarchy.v2 && !layout->v2_only()) continue;
      criu::WireWriter item;
      std::string names;
      for (const std::string& name : hierarchy.controllers) names += (names.empty() ? "" : ",") + name;
      if (!hierarchy.v2) item.text(1, names);
      item.text(2, folder.substr(hierarchy.mount_point.size()));
      call.options.message(option::cgroup_root, item);
    }
  }
  if (!options.lsm_profile.empty()) call.options.text(option::lsm_profile, options.lsm_profile);
  if (!options.lsm_mount_context.empty()) call.options.text(option::lsm_mount_context, options.lsm_mount_context);
  return {};
}

}  // namespace

Result<State> restore(const RestoreOptions& options) {
  TRY_ASSIGN(const std::string bundle, bundle_path(options.create.bundle));
  TRY_ASSIGN(const Configuration configuration, read_configuration(options.create, bundle));
  const Spec& spec = configuration.spec;
  TRY_ASSIGN(const criu::Program program, criu::find_program());
  TRY_ASSIGN(const Places places, open_places(options, log_name, false));
  struct stat facts {};
  if (::fstatat(places.images.get(), "inventory.img", &facts, 0) != 0) {
    return fail("'" + options.image_path + "' holds no images of a container", "inventory.img is missing");
  }

  bool leftover = false;
  TRY_ASSIGN(Folder folder, Folder::claim(options.create.state_root, options.create.id, &leftover));
  if (leftover) {
    if (const auto old = folder.load()) TRY(tear_down(*old));
  }
  Record record = new_record(options.create, bundle, spec);
  bool hooks_began = false;
  pid_t child = 0;
  Undo undo;
  undo.add([&] {
    if (child > 0) {
      ::kill(child, SIGKILL);
      while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
    if (auto done = tear_down(record); !done) warn(done.error().message());
    if (hooks_began) run_late_hooks(spec.hooks.poststop, "poststop", state_json(record, Status::stopped, 0));
    if (auto done = folder.remove(); !done) warn(done.error().message());
  });

  // As in create: written down first, made then.
  std::optional<cgroup::Layout> layout;
  std::optional<cgroup::Group> group;
  if (!options.create.no_cgroup) {
    TRY_ASSIGN(layout, cgroup::read_layout());
    TRY_ASSIGN(group, cgroup::Group::plan(*layout, record.cgroup));
    record.cgroup_saved = group->saved();
  }
  TRY(folder.save(record));
  TRY(folder.write("config.json", configuration.text));
  if (group) {
    TRY_ASSIGN(group, cgroup::Group::create(*layout, record.cgroup, spec.linux.resources.value_or(Resources{})));
    record.cgroup_saved = group->saved();
    TRY(folder.save(record));
  }

  host::Fd console;
  if (options.create.console_connection >= 0) {
    TRY_ASSIGN(console, host::Fd::duplicate(options.create.console_connection));
  } else if (!options.create.console_socket.empty()) {
    TRY_ASSIGN(console, connect_console(options.create.console_socket));
  }
  // The container's own folder, hidden by its root in CRIU's mount namespace only.
  TRY_ASSIGN(const std::string point, absolute_path(folder.path(".")));

  criu::Call call;
  Inherited inherited;
  call.act = criu::Act::restore;
  call.log = places.log;
  write_common(options, log_name, call.options);
  TRY(name_work_folder(options, call, inherited.owned));
  call.options.integer(option::images_dir_fd, places.images.get());
  call.options.text(option::root, point);
  call.options.flag(option::rst_sibling, true);
  call.options.flag(option::ext_masters, true);
  call.options.flag(option::skip_file_rwx_check, true);
  TRY(name_externals(options, spec, record, places, layout ? &*layout : nullptr, group ? &*group : nullptr, call, inherited));
  call.prepare = [&] { return mount_root(record.rootfs.c_str(), point.c_str()); };
  // What it forks is in the container's cgroup from the beginning, so that its limits hold and a kill leaves nothing unknown.
  call.started = [&](pid_t pid) -> Result<> { return group ? group->add(pid) : Result<>{}; };
  call.notify = [&](std::string_view step, pid_t pid, host::Fd fd) -> Result<> {
    if (step == "setup-namespaces") {
      hooks_began = !spec.hooks.prestart.empty() || !spec.hooks.create_runtime.empty();
      const std::string state = state_json(record, Status::creating, pid);
      TRY(run_hooks(spec.hooks.prestart, "prestart", state));
      return run_hooks(spec.hooks.create_runtime, "createRuntime", state);
    }
    if (step == "orphan-pts-master") {
      if (!console) return fail("the container has a terminal and nobody takes its other end", "", "give --console-socket");
      if (!fd) return fail("CRIU handed out no terminal");
      return send_fd(console.get(), fd.get(), "/dev/pts");
    }
    if (step == "post-restore") {
      // Before it runs: whoever looks from now on sees a container.
      const auto identity = identify(pid);
      if (!identity) return fail("the restored process has ended");
      child = pid;
      record.process = *identity;
      record.phase = Record::Phase::created;
      TRY(folder.save(record));
      TRY(write_pid_file(options.create.pid_file, pid));
    }
    return options.at_step ? options.at_step(step) : Result<>{};
  };
  TRY(criu::run(program, call));
  if (record.process.pid == 0) return fail("CRIU restored no process");
  undo.commit();
  if (!spec.hooks.poststart.empty()) run_late_hooks(spec.hooks.poststart, "poststart", state_json(record, Status::running, record.process.pid));
  State state = describe(record);
  state.pid = record.process.pid;
  state.status = Status::running;
  return state;
}

Result<int> restore_and_wait(const RestoreOptions& options, bool detach, bool keep) {
  RestoreOptions mine = options;
  std::optional<host::Fd> relay, other_end;
  if (!detach && options.create.console_socket.empty()) {
    TRY_ASSIGN(auto ends, channel());
    relay = std::move(ends.first);
    other_end = std::move(ends.second);
    mine.create.console_connection = other_end->get();
  }
  if (!detach && !options.create.no_subreaper) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  TRY_ASSIGN(const State made, restore(mine));
  other_end.reset();
  if (detach) return 0;
  const auto status = made.terminal && relay ? wait_with_terminal(made.pid, *relay) : wait_for(made.pid);
  if (!keep) {
    if (auto gone = remove(options.create.state_root, options.create.id, true); !gone) warn(gone.error().message());
  }
  return status;
}

}  // namespace nagaya::container
