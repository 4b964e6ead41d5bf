// The jail around the process of one machine: when guest code runs there is no file, no network, no other process and no system
// call but what this machine needs. In three steps, since everything is opened by path once: begin() leaves the host's namespaces
// while there is one thread, then the machine is built, then close() leaves the file system, gives up capabilities and lets a
// filter down. docs/design/jail.md says what each layer stops.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "host/apart.hpp"
#include "host/capabilities.hpp"
#include "host/fd.hpp"
#include "host/syscall_filter.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::vmm {

enum class JailMode : u8 {
  on,
  strict,  ///< a system call that is not on the list ends the process and is told: for tests
  off,     ///< for debugging by hand
};

/// What a machine needs of the host while it runs.
struct JailNeeds {
  bool kvm = false;
  bool shares = false, writable_shares = false;
  bool vsock = false;      ///< guests reach sockets of the host
  bool io_uring = false;
  bool nets = false;
  bool save_file = false;  ///< a signal saves it

  [[nodiscard]] static JailNeeds of(const proto::VmConfig& config);
};

/// The calls that such a machine makes (jail_calls.cpp).
[[nodiscard]] host::SyscallFilter allowed_calls(const JailNeeds& needs);
/// The capabilities that it keeps, where it has them.
[[nodiscard]] host::Capabilities kept_capabilities(const JailNeeds& needs);

class Jail {
 public:
  /// While the process has one thread. Threads that start from now on have no capabilities but those that stay.
  static Jail begin(const proto::VmConfig& config, JailMode mode);
  /// From here on guest code may run. What the host does not allow is left out and told at log level info.
  void close(const JailNeeds& needs);

  /// What the "path" of a socket device is here when guests connect to "path_PORT"; valid after close().
  [[nodiscard]] const std::string& vsock_path() const { return vsock_path_; }
  /// Saves by signal: a descriptor of the folder of config.save_file.
  [[nodiscard]] const Result<host::Fd>& save_folder() const { return save_folder_; }
  /// Paths of the host lead nowhere any more.
  [[nodiscard]] bool rootless() const { return rootless_; }

 private:
  JailMode mode_ = JailMode::off;
  host::Apart apart_;
  bool rootless_ = false;
  std::string vsock_path_;
  Result<host::Fd> save_folder_;
};

/// What of the jail this host lacks, a line each; tried on this process, which can do nothing useful afterwards.
[[nodiscard]] std::vector<std::string> jail_lacks();

}  // namespace nagaya::vmm
