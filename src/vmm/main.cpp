// nagaya-vmm: one virtual machine in one process. Started by nagaya; usable by hand:
//   nagaya-vmm --config FILE | --config-fd N   [--status-fd N] [--control-fd N] [--quiet] [--no-jail]
// With --no-jail the process may do all that its user may, for debuggers; nagaya never asks for that. NAGAYA_JAIL=strict in the
// environment ends it at a system call that its jail has no room for, and says which: tests do.
//   nagaya-vmm --probe   prints what the host offers (vmm/probe.hpp)
// Exit codes: proto/exit_codes.hpp. Standard output carries nothing but what the guest prints there.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/log.hpp"
#include "host/fd.hpp"
#include "vmm/probe.hpp"
#include "vmm/vmm.hpp"

namespace {

using namespace nagaya;

Result<proto::VmConfig> read_config(const std::string& path, int fd) {
  std::vector<u8> bytes;
  if (fd >= 0) {
    TRY_ASSIGN(bytes, host::read_all(fd, MiB, "configuration"));
  } else {
    TRY_ASSIGN(bytes, host::read_file(path, MiB));
  }
  return proto::VmConfig::from_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

/// The line for whoever started us; without such a descriptor, a sentence for a person.
void tell(const proto::VmOutcome& outcome, int status_fd, bool quiet) {
  if (status_fd >= 0) {
    (void)host::write_all(status_fd, outcome.to_json() + "\n");
  } else if (!quiet || outcome.outcome == proto::Outcome::failed) {
    fmt::print(stderr, "nagaya: {}\n", outcome.sentence());
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("One virtual machine, as its own process");
  std::string config_path;
  int config_fd = -1, status_fd = -1, control_fd = -1;
  bool quiet = false, probe = false, no_jail = false;
  auto* source = app.add_option_group("configuration")->require_option(1);
  source->add_option("--config", config_path, "file with the machine's configuration (JSON)");
  source->add_option("--config-fd", config_fd, "descriptor to read it from")->check(CLI::NonNegativeNumber);
  source->add_flag("--probe", probe, "print what this host offers, as JSON");
  app.add_option("--status-fd", status_fd, "descriptor that gets one JSON line when the machine has ended")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--control-fd", control_fd, "connected socket for commands")->check(CLI::NonNegativeNumber);
  app.add_flag("--no-jail", no_jail, "leave it all that its user may do, for debugging by hand");
  app.add_flag("-q,--quiet", quiet, "no lines about engine and outcome");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : proto::exit_failure;
  }

  if (probe) {
    fmt::print("{}\n", vmm::probe_host());
    return 0;
  }
  if (no_jail) log::warning("no jail around this process: a guest that takes it over can do what its user can");
  const char* wish = std::getenv("NAGAYA_JAIL");
  const auto jail = no_jail ? vmm::JailMode::off : wish != nullptr && std::string_view(wish) == "strict" ? vmm::JailMode::strict : vmm::JailMode::on;
  proto::VmOutcome outcome;
  if (auto config = read_config(config_path, config_fd)) {
    vmm::VmmOptions options{.config = std::move(*config), .control = host::Fd(control_fd), .jail = jail, .quiet = quiet};
    outcome = vmm::run_vmm(std::move(options));
  } else {
    outcome = {proto::Outcome::failed, 0, config.error().message()};
  }
  tell(outcome, status_fd, quiet);
  return outcome.exit_code();
}
