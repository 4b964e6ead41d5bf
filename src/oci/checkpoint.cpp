// checkpoint and restore, with runc's options.
#include <unistd.h>

#include "container/checkpoint/checkpoint.hpp"
#include "oci/commands.hpp"
#include "oci/options.hpp"

namespace nagaya::oci {
namespace {

constexpr Option checkpoint_options[] = {
    {"image-path", 0, true},  {"work-path", 0, true},   {"parent-path", 0, true}, {"leave-running"},    {"tcp-established"},
    {"ext-unix-sk"},          {"shell-job"},            {"lazy-pages"},           {"status-fd", 0, true}, {"page-server", 0, true},
    {"file-locks"},           {"pre-dump"},             {"manage-cgroups-mode", 0, true}, {"empty-ns", 0, true}, {"auto-dedup"}};

constexpr Option restore_options[] = {
    {"image-path", 0, true}, {"work-path", 0, true}, {"bundle", 'b', true},     {"console-socket", 0, true}, {"pid-file", 0, true},
    {"detach", 'd'},         {"tcp-established"},    {"ext-unix-sk"},           {"shell-job"},               {"lazy-pages"},
    {"file-locks"},          {"no-subreaper"},       {"no-pivot"},              {"empty-ns", 0, true},       {"manage-cgroups-mode", 0, true},
    {"auto-dedup"},          {"lsm-profile", 0, true}, {"lsm-mount-context", 0, true}, {"keep"},              {"preserve-fds", 0, true}};

Result<> read_common(const Parsed& parsed, container::CriuOptions& out) {
  out.image_path = parsed.get("image-path", "checkpoint");
  out.work_path = parsed.get("work-path");
  out.tcp_established = parsed.has("tcp-established");
  out.ext_unix_sk = parsed.has("ext-unix-sk");
  out.shell_job = parsed.has("shell-job");
  out.file_locks = parsed.has("file-locks");
  out.lazy_pages = parsed.has("lazy-pages");
  out.auto_dedup = parsed.has("auto-dedup");
  for (const std::string& name : parsed.all("empty-ns")) {
    if (name != "network") return fail("--empty-ns knows only 'network', not '" + name + "'");
    out.empty_network = true;
  }
  TRY_ASSIGN(out.cgroups, container::cgroup_mode(parsed.get("manage-cgroups-mode", "soft")));
  return {};
}

}  // namespace

Result<int> checkpoint_command(const Global& global, Words words) {
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, checkpoint_options, false));
  container::CheckpointOptions options;
  TRY(read_common(parsed, options));
  TRY_ASSIGN(options.id, only_argument(parsed.arguments, "the container's id"));
  options.state_root = global.root;
  options.parent_path = parsed.get("parent-path");
  options.page_server = parsed.get("page-server");
  TRY_ASSIGN(options.status_fd, parsed.number("status-fd", -1));
  options.leave_running = parsed.has("leave-running");
  options.pre_dump = parsed.has("pre-dump");
  if (options.lazy_pages && options.page_server.empty()) return fail("lazy pages need an address to be fetched from", "", "give --page-server");
  TRY(container::checkpoint(options));
  return 0;
}

Result<int> restore_command(const Global& global, Words words) {
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, restore_options, false));
  container::RestoreOptions options;
  TRY(read_common(parsed, options));
  TRY_ASSIGN(options.create.id, only_argument(parsed.arguments, "the container's id"));
  options.create.state_root = global.root;
  options.create.bundle = parsed.get("bundle", ".");
  options.create.console_socket = parsed.get("console-socket");
  options.create.pid_file = parsed.get("pid-file");
  options.create.no_pivot = parsed.has("no-pivot");
  options.create.no_subreaper = parsed.has("no-subreaper");
  options.create.manager = global.systemd_cgroup ? cgroup::Manager::systemd : cgroup::Manager::files;
  options.create.no_cgroup = global.no_cgroup;
  options.create.rootless = global.rootless;
  options.lsm_profile = parsed.get("lsm-profile");
  options.lsm_mount_context = parsed.get("lsm-mount-context");
  return container::restore_and_wait(options, parsed.has("detach"), parsed.has("keep"));
}

}  // namespace nagaya::oci
