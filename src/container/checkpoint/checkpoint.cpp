#include "container/checkpoint/checkpoint.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "container/checkpoint/criu.hpp"
#include "container/checkpoint/externals.hpp"
#include "container/checkpoint/lazy_pages.hpp"
#include "container/checkpoint/places.hpp"
#include "container/folder.hpp"
#include "container/spec/parse.hpp"
#include "container/status.hpp"

namespace nagaya::container {
namespace {

namespace option = criu::option;

constexpr const char* log_name = "dump.log";

Result<criu::WireWriter> page_server(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  unsigned port = 0;
  if (colon != text.npos) std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  if (colon == text.npos || colon == 0 || port == 0 || port > 65535) return fail("--page-server is ADDRESS:PORT, not '" + text + "'");
  criu::WireWriter out;
  out.text(1, text.substr(0, colon));
  out.number(2, port);
  return out;
}

Result<> write_file(const host::Fd& folder, const char* name, const std::string& text) {
  const host::Fd file(::openat(folder.get(), name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return fail_errno(std::string("cannot make '") + name + "' among the images");
  return host::write_all(file.get(), text);
}

/// What only a dump of everything needs: where the container ends.
Result<> name_externals(const Spec& spec, const Record& record, const Places& places, criu::WireWriter& out) {
  const pid_t pid = record.process.pid;
  TRY_ASSIGN(const std::vector<ExternalMount> mounts, external_mounts(spec, pid));
  for (const ExternalMount& mount : mounts) out.text(option::external, "mnt[" + mount.point + "]:" + mount.point);
  TRY_ASSIGN(const std::vector<std::string> namespaces, external_namespaces(spec, pid));
  for (const std::string& name : namespaces) out.text(option::external, name);
  out.flag(option::ext_masters, has_outer_master(pid));
  TRY_ASSIGN(const std::vector<std::string> descriptors, standard_descriptors(pid));
  for (const std::string& name : descriptors) {
    if (name.starts_with("file[")) out.text(option::external, name);
  }
  TRY(write_file(places.images, "descriptor-types", descriptor_types(pid)));
  return write_file(places.images, "descriptors.json", write_descriptors(descriptors));
}

}  // namespace

Result<> checkpoint(const CheckpointOptions& options) {
  {
    TRY_ASSIGN(const Folder folder, Folder::open(options.state_root, options.id, true));
    TRY_ASSIGN(const Record record, folder.load());
    const Status status = status_of(folder, record, true);
    if (status != Status::running && status != Status::paused) {
      return fail("cannot save container '" + options.id + "'", "it is " + std::string(status_name(status)) + ", not running");
    }
    TRY_ASSIGN(const std::string text, folder.read("config.json"));
    TRY_ASSIGN(const Spec spec, parse_spec(text));
    TRY_ASSIGN(const criu::Program program, criu::find_program());
    if (options.pre_dump || !options.parent_path.empty() || options.lazy_pages) {
      TRY_ASSIGN(const criu::Features features, criu::ask_features(program));
      if ((options.pre_dump || !options.parent_path.empty()) && !features.memory_tracking) {
        return fail("dumps that build on each other are not possible here",
                    "this kernel does not mark written pages (it was built without CONFIG_MEM_SOFT_DIRTY)", "checkpoint without a pre-dump");
      }
      if (options.lazy_pages) TRY(can_serve_lazy_pages(program));
    }

    criu::Call call;
    call.act = options.pre_dump ? criu::Act::pre_dump : criu::Act::dump;
    TRY_ASSIGN(const Places places, open_places(options, log_name, true));
    call.log = places.log;
    criu::WireWriter& out = call.options;
    write_common(options, log_name, out);
    out.integer(option::images_dir_fd, places.images.get());
    out.integer(option::work_dir_fd, places.work.get());
    out.number(option::pid, static_cast<u64>(record.process.pid));
    out.text(option::root, record.rootfs);
    out.flag(option::leave_running, options.leave_running || options.pre_dump);
    out.flag(option::track_mem, options.pre_dump || !options.parent_path.empty());
    if (!options.parent_path.empty()) out.text(option::parent_img, options.parent_path);
    if (!options.page_server.empty()) {
      TRY_ASSIGN(const criu::WireWriter server, page_server(options.page_server));
      out.message(option::page_server, server);
    }
    host::Fd configuration;
    if (options.page_socket >= 0) {
      // Only its configuration can name a socket when pages are lazy.
      constexpr int configuration_fd = 19, page_fd = 20;
      TRY_ASSIGN(configuration, host::Fd::memfd("criu.conf", 0));
      TRY(host::write_all(configuration.get(), "ps-socket " + std::to_string(page_fd) + "\n"));
      out.text(option::config_file, "/proc/self/fd/" + std::to_string(configuration_fd));
      call.inherit = {{configuration.get(), configuration_fd}, {options.page_socket, page_fd}};
    }
    if (!record.cgroup_saved.empty()) {
      TRY_ASSIGN(const cgroup::Layout layout, cgroup::read_layout());
      TRY_ASSIGN(const cgroup::Group group, cgroup::Group::open(layout, record.cgroup_saved));
      const std::string freezer = group.folder("freezer");
      if (!freezer.empty()) out.text(option::freeze_cgroup, freezer);
    }
    if (!options.pre_dump) TRY(name_externals(spec, record, places, out));
    call.notify = [&options](std::string_view step, pid_t, host::Fd) -> Result<> {
      if (step == "status-ready" && options.status_fd >= 0) (void)!::write(options.status_fd, "", 1);
      return options.at_step ? options.at_step(step) : Result<>{};
    };
    TRY(criu::run(program, call));
  }
  if (options.leave_running || options.pre_dump) return {};
  return remove(options.state_root, options.id, true);
}

}  // namespace nagaya::container
