#include "container/checkpoint/places.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <cerrno>

namespace nagaya::container {
namespace {

namespace option = criu::option;

constexpr u64 log_level = 4;                 // everything: only then a failure can be understood afterwards
constexpr u64 ghost_limit = 256u << 20;      // bytes of a file that is open and has no name any more
constexpr u64 lock_by_nftables = 2;          // criu_network_lock_method: its own library, no program of the host's

Result<> make_folders(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  const std::size_t slash = path.find_last_not_of('/') == path.npos ? path.npos : path.rfind('/', path.find_last_not_of('/'));
  if (errno != ENOENT || slash == path.npos || slash == 0) return fail_errno("cannot make folder '" + path + "'");
  TRY(make_folders(path.substr(0, slash)));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("cannot make folder '" + path + "'");
  return {};
}

Result<host::Fd> open_folder(const std::string& path, bool make) {
  if (make) TRY(make_folders(path));
  return host::Fd::open(path, O_RDONLY | O_DIRECTORY);
}

}  // namespace

Result<CgroupMode> cgroup_mode(const std::string& name) {
  constexpr const char* names[] = {"ignore", "none", "props", "soft", "full", "strict", "default"};
  for (int i = 0; i < 7; ++i) {
    if (name == names[i]) return static_cast<CgroupMode>(i);
  }
  return fail("--manage-cgroups-mode is soft, full, strict, ignore, none, props or default, not '" + name + "'");
}

Result<Places> open_places(const CriuOptions& options, const char* log_name, bool make) {
  if (options.image_path.empty()) return fail("no folder of images is given", "", "give --image-path");
  Places out;
  TRY_ASSIGN(out.images, open_folder(options.image_path, make));
  const std::string& work = options.work_path.empty() ? options.image_path : options.work_path;
  TRY_ASSIGN(out.work, open_folder(work, true));
  out.log = work + "/" + log_name;
  return out;
}

void write_common(const CriuOptions& options, const char* log_name, criu::WireWriter& out) {
  out.number(option::log_level, log_level);
  out.text(option::log_file, log_name);
  out.flag(option::notify_scripts, true);
  out.flag(option::orphan_pts_master, true);
  out.flag(option::tcp_established, options.tcp_established);
  out.flag(option::ext_unix_sk, options.ext_unix_sk);
  out.flag(option::shell_job, options.shell_job);
  out.flag(option::file_locks, options.file_locks);
  out.flag(option::lazy_pages, options.lazy_pages);
  out.flag(option::auto_dedup, options.auto_dedup);
  out.flag(option::manage_cgroups, true);
  out.number(option::manage_cgroups_mode, static_cast<u64>(options.cgroups));
  out.number(option::ghost_limit, ghost_limit);
  out.number(option::network_lock, lock_by_nftables);
  if (options.empty_network) out.number(option::empty_ns, CLONE_NEWNET);
}

}  // namespace nagaya::container
