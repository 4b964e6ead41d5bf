// Files of /proc and /sys that show a container its own limits, as lxcfs does: processors, memory, swap, uptime, load.
// A process of its own, `nagaya-procview`, serves them through FUSE for as long as its caller lives; here is what a
// domain does to have them.
//
//   Server::start(folder)      the server of one container, mounted at folder/mnt
//   add(folder, container)     the container's files are there; returns the bind mounts for its config.json
//   remove(folder, name)       they are gone
//
// A host that refuses /dev/fuse is no reason to refuse a container: the error says what is missing, and the container
// goes on with the host's files.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"
#include "host/process.hpp"

namespace nagaya::procview {

struct Container {
  std::string name;  ///< a file name
  std::string
      cgroup;  ///< path below the mount points, as in config.json's cgroupsPath; or systemd's "slice:prefix:name"
  bool systemd = false;  ///< which of both `cgroup` is
  u64 started = 0;       ///< CLOCK_BOOTTIME, nanoseconds: where its uptime begins. 0: now
  u64 id = 0;            ///< given by add(): tells one container from a later one of the same name
};

/// A bind mount for config.json: read-only, options {"bind", "ro", "nosuid", "nodev", "noexec"}.
struct Bind {
  std::string source, destination;
};

/// A running server. It is the caller's child, and is killed with the caller's thread; the destructor ends it and takes
/// its mount away. Whoever still reads its files then gets ENOTCONN.
class Server {
 public:
  /// In the caller's mount namespace; needs CAP_SYS_ADMIN in the user namespace that owns it. `program`: the path of
  /// nagaya-procview. One at a time for a folder. A mount that a dead server left at the same place is taken away before.
  static Result<Server> start(const std::string& folder, const std::string& program);
  Server() = default;
  Server(Server&&) = default;
  Server& operator=(Server&& other) noexcept;
  ~Server();
  /// Waits until its files are there: the server starts while its caller does other things.
  Result<> ready();
  /// -1: none.
  [[nodiscard]] pid_t pid() const { return process_.pid(); }
  /// The caller has waited for it itself: its number is another's by now.
  void forget() { (void)process_.release(); }

 private:
  std::string folder_;
  host::Process process_;
  host::Fd report_;
};

/// Makes (or replaces) the container's files. To be called before the container is created: its uptime begins here.
Result<std::vector<Bind>> add(const std::string& folder, const Container& container);
/// No error when there is none.
Result<> remove(const std::string& folder, const std::string& name);

/// Where nagaya-procview says "+" when its files are there, or what went wrong: a descriptor it is started with.
constexpr int report_fd = 3;
/// Takes whatever is mounted at `folder`/mnt away, in this mount namespace.
void unmount_view(const std::string& folder);

/// The files, by their place in a container: "/proc/meminfo", …
const std::vector<std::string>& shown_files();

/// One container's line in the server's folder, and back.
std::string write_record(const Container& container);
Result<Container> read_record(const std::string& folder, const std::string& name);

}  // namespace nagaya::procview
