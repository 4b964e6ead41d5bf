// The life of one container: made, started, entered, stopped, removed. Its truth is the kernel's (processes, cgroup) and a small folder
// `ROOT/ID/` with a lock, state.json and a copy of config.json; after a kill at any step the next call sees what is there and cleans
// up. Source: OCI Runtime Specification 1.1 runtime.md; command line: runtime-tools' and runc's documents.
#pragma once
#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "container/spec/spec.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

enum class Status { creating, created, running, paused, stopped };
std::string_view status_name(Status status);

/// Where containers of one caller live: --root, else $XDG_RUNTIME_DIR/nagaya-oci or /run/nagaya-oci.
std::string default_state_root();

struct State {
  std::string id;
  Status status = Status::stopped;
  pid_t pid = 0;  ///< of its first process, as this namespace sees it; 0 when stopped
  std::string bundle, rootfs;
  std::string created;  ///< RFC 3339, UTC
  std::string owner;
  Map annotations;
  cgroup::Place cgroup;
  std::string cgroup_saved;  ///< for cgroup::Group::open; empty: none
  bool terminal = false;     ///< its process has one
};

struct CreateOptions {
  std::string state_root, id, bundle;
  std::string console_socket;  ///< AF_UNIX path that gets the master of the terminal (SCM_RIGHTS)
  int console_connection = -1;  ///< a connected socket instead of the path
  std::string pid_file;
  int preserve_fds = 0;  ///< descriptors 3 … 3+n-1 stay open in the container, beside $LISTEN_FDS'
  bool no_pivot = false;
  bool no_new_keyring = false;
  bool no_subreaper = true;
  cgroup::Manager manager = cgroup::Manager::files;
  bool no_cgroup = false;        ///< --cgroup-manager=disabled
  std::optional<bool> rootless;  ///< go on without cgroups that may not be made; unset: as this process's rights are
  std::optional<Spec> spec;  ///< instead of the bundle's config.json
  std::optional<ConsoleSize> console_size{};  ///< of the terminal, when the configuration gives none
  std::vector<int> private_fds{};  ///< descriptors of the caller that the waiting container shall not hold, even before its program runs
};

/// The state as `state` prints it and hooks read it.
std::string state_json(const State& state);
/// The text of the configuration the container was made from.
Result<std::string> configuration(const std::string& state_root, const std::string& id);
/// Processes in it, as this namespace numbers them.
Result<std::vector<pid_t>> processes(const std::string& state_root, const std::string& id);
/// Its cgroup; an error when it has none.
Result<cgroup::Group> group_of(const State& state);

/// Makes everything up to the point where only `start` is missing. On failure nothing is left.
Result<State> create(const CreateOptions& options);
Result<> start(const std::string& state_root, const std::string& id);
/// create + start; waits unless `detach`; returns the exit status as a shell tells it.
Result<int> run(const CreateOptions& options, bool detach, bool keep);
Result<State> state(const std::string& state_root, const std::string& id);
Result<std::vector<State>> list(const std::string& state_root);
Result<> kill(const std::string& state_root, const std::string& id, int signal, bool all);
/// Removes a stopped (or, with `force`, any) container: kills what is left, cgroup, folder, poststop hooks. With `force` an unknown id
/// is no error.
Result<> remove(const std::string& state_root, const std::string& id, bool force);
Result<> pause(const std::string& state_root, const std::string& id);
Result<> resume(const std::string& state_root, const std::string& id);
Result<> update(const std::string& state_root, const std::string& id, const Resources& resources);

struct ExecOptions {
  std::string state_root, id;
  Process process;
  std::string console_socket, pid_file;
  int preserve_fds = 0;
  bool detach = false;
  std::string sub_cgroup;  ///< below the container's own; must be there
  bool ignore_paused = false;
};
/// Runs one more process inside; returns its exit status, or 0 at once when detached.
Result<int> exec(const ExecOptions& options);

}  // namespace nagaya::container
