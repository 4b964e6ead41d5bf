// The process of one virtual machine: builds it, runs it until it ends, and listens to signals and commands meanwhile.
#pragma once
#include <string>

#include "host/fd.hpp"
#include "proto/exit_codes.hpp"
#include "proto/vm_config.hpp"
#include "vmm/jail.hpp"

namespace nagaya::vmm {

struct VmmOptions {
  proto::VmConfig config;
  host::Fd control;    ///< connected socket for commands, may be absent
  JailMode jail = JailMode::on;
  bool quiet = false;  ///< no line about the engine and the start on standard error
};

/// To be called while the process has one thread. Sockets that it makes stay behind: whoever started it removes them.
///
/// Signals: SIGTERM, SIGINT, SIGHUP press the power button and end the machine when the guest does not listen to it, has not
/// reacted within three seconds, or at the second signal. SIGUSR1 saves to config.save_file.
[[nodiscard]] proto::VmOutcome run_vmm(VmmOptions options);

}  // namespace nagaya::vmm
