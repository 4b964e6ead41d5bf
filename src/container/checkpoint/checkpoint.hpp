// Checkpoint and restore of containers by CRIU: the options are those of runc's command line, and so are the files beside CRIU's images
// (descriptors.json), so that images made by one runtime restore under the other where the configuration is the same.
// docs/design/container-checkpoint.md says what CRIU can and cannot do on which hosts.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "container/container.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// What of cgroups is saved and set again (CRIU's --manage-cgroups).
enum class CgroupMode { ignore = 0, none = 1, props = 2, soft = 3, full = 4, strict = 5, standard = 6 };
Result<CgroupMode> cgroup_mode(const std::string& name);

/// What a dump and its restore must agree about.
struct CriuOptions {
  std::string image_path;  ///< folder of the images
  std::string work_path;   ///< folder of the log; empty: image_path
  bool tcp_established = false;
  bool ext_unix_sk = false;
  bool shell_job = false;
  bool file_locks = false;
  bool lazy_pages = false;
  bool auto_dedup = false;
  bool empty_network = false;  ///< --empty-ns network: made, its devices not
  CgroupMode cgroups = CgroupMode::soft;
  /// Called at CRIU's steps; an error makes it undo its work. At "pre-dump" the container is about to stand still, at "post-dump" all is saved
  /// and it still does, at "post-restore" all is made and nothing runs yet.
  std::function<Result<>(std::string_view step)> at_step;
};

struct CheckpointOptions : CriuOptions {
  std::string state_root, id;
  std::string parent_path;  ///< of the dump before, as seen from image_path
  std::string page_server;  ///< "ADDRESS:PORT": pages go there; with lazy_pages we listen there
  int page_socket = -1;     ///< with lazy_pages: they go over this socket, and no address is listened to
  int status_fd = -1;       ///< gets a zero byte when lazy pages can be fetched
  bool leave_running = false;
  bool pre_dump = false;    ///< memory only; the container goes on
};

/// Saves a running (or paused) container. On failure it goes on as before; on success its processes have ended and it is removed, unless it
/// was to be left running. With lazy_pages it returns when all pages have been fetched.
Result<> checkpoint(const CheckpointOptions& options);

struct RestoreOptions : CriuOptions {
  CreateOptions create;  ///< state_root, id, bundle, console, pid_file …
  std::string lsm_profile, lsm_mount_context;
};

/// Makes a container anew from images; it runs on as a child of the caller.
Result<State> restore(const RestoreOptions& options);
/// The same as `run` is to `create`: waits unless `detach`, then removes unless `keep`.
Result<int> restore_and_wait(const RestoreOptions& options, bool detach, bool keep);

}  // namespace nagaya::container
