// The program CRIU: which one is used, what it can do here, and one conversation with it. It runs as `criu swrk FD`, its service for one
// request, because only there it hands out the master of a container's terminal ("orphan-pts-master"), asks us between its steps, and makes
// the restored process a child of ours. Source: CRIU's images/rpc.proto, criu.org "RPC".
#pragma once
#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "container/checkpoint/wire.hpp"
#include "host/fd.hpp"

namespace nagaya::container::criu {

struct Program {
  std::string path;
  unsigned major = 0, minor = 0, sublevel = 0;
  [[nodiscard]] std::string version() const;
  [[nodiscard]] bool new_enough() const { return std::pair(major, minor) >= std::pair(4u, 1u); }
};

/// Where one may be, best first: $NAGAYA_CRIU alone when it is set; else beside our own program (criu/bin/criu, as the build has it), then
/// PATH and the system's folders.
std::vector<std::string> candidates();
/// The first that is new enough; the error names those that are not.
Result<Program> find_program();
/// What `criu --version` says.
Result<Program> ask_version(const std::string& path);

struct Features {
  bool memory_tracking = false;  ///< pre-dump: the kernel marks written pages (CONFIG_MEM_SOFT_DIRTY)
  bool lazy_pages = false;       ///< userfaultfd with events of other processes
};
Result<Features> ask_features(const Program& program);

/// What `criu check --all` complains about, a line each; empty: nothing. An error: it cannot run on this kernel at all.
Result<std::vector<std::string>> check(const Program& program);

enum class Act : u32 { dump = 1, restore = 2, pre_dump = 13 };

/// Fields of criu_opts, by their number.
namespace option {
constexpr u32 images_dir_fd = 1, pid = 2, leave_running = 3, ext_unix_sk = 4, tcp_established = 5, shell_job = 7, file_locks = 8, log_level = 9,
              log_file = 10, page_server = 11, notify_scripts = 12, root = 13, parent_img = 14, track_mem = 15, auto_dedup = 16, work_dir_fd = 17,
              link_remap = 18, cgroup_root = 25, rst_sibling = 26, inherit_fd = 27, ext_sharing = 29, ext_masters = 30, manage_cgroups = 24,
              manage_cgroups_mode = 34, ghost_limit = 35, external = 37, empty_ns = 38, freeze_cgroup = 44, timeout = 45, lazy_pages = 48, status_fd = 49,
              orphan_pts_master = 50, config_file = 51, tcp_close = 52, lsm_profile = 53, lsm_mount_context = 63, network_lock = 64, skip_file_rwx_check = 66;
}  // namespace option

struct Call {
  Act act = Act::dump;
  WireWriter options;                        ///< criu_opts
  std::vector<std::pair<int, int>> inherit;  ///< {ours, the number CRIU has it under}
  std::string log;                           ///< the log's path, for errors
  /// In CRIU's process before it is executed; returns false to give up. Only async-signal-safe calls.
  std::function<bool()> prepare;
  /// Its process is there and waits for our word.
  std::function<Result<>(pid_t pid)> started;
  /// CRIU's steps by name, some with the first process's number or a descriptor; an error makes CRIU undo its work.
  std::function<Result<>(std::string_view step, pid_t pid, host::Fd fd)> notify;
};

/// Runs CRIU to its answer. Returns the first process's number after a restore, else 0. A failure quotes the last complaints of the log.
Result<pid_t> run(const Program& program, const Call& call);

}  // namespace nagaya::container::criu
