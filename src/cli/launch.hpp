// The machine's own process: found, started, watched, and its end told.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "host/process.hpp"
#include "proto/exit_codes.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::cli {

/// Prints "nagaya: what: why (hint)" on standard error.
void complain(const Error& error);

/// Path of nagaya-vmm: beside our own binary, or in ../libexec/nagaya. Error code ENOENT when there is none, EACCES
/// when it may not be run.
[[nodiscard]] Result<std::string> vmm_path();
/// The same for another program of ours.
[[nodiscard]] Result<std::string> helper_path(const std::string& name);
/// What a shell would exit with when a program cannot be started: 127 not found, else 126.
[[nodiscard]] int start_failure_code(const Error& error);

/// How a machine's process ended, beside the exit code.
struct LaunchEnd {
  std::optional<proto::VmOutcome> outcome{};  ///< what it told itself; none: it was killed, or never had a machine
  int signal = 0;                             ///< that came to us and asked for the end
};

/// How a machine's process is started, beside what the machine is.
struct LaunchOptions {
  bool quiet = false;                ///< no lines about engine and outcome
  std::vector<host::ChildFd> fds{};  ///< descriptors it inherits beside 0 to 4, under their numbers there (5 and up)
  std::function<Result<>()> in_child{};  ///< in the process before it becomes the machine's: it joins its cgroup there
  LaunchEnd* end = nullptr;              ///< filled in
};

/// Runs the machine in its own process with our standard input, output and error, until it ends. Signals that end or
/// save are relayed; the terminal's mode is as before in the end, whatever happened to the machine. Gives the exit code.
[[nodiscard]] Result<int> run_machine(const proto::VmConfig& config, const LaunchOptions& launch);

/// Runs "nagaya-vmm ARGUMENT" and gives what it prints on standard output (at most 1 MiB).
[[nodiscard]] Result<std::string> ask_vmm(const std::string& argument);

}  // namespace nagaya::cli
