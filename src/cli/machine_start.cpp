#include "cli/machine_start.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <optional>

#include "base/scope.hpp"
#include "cli/launch.hpp"
#include "cli/run_network.hpp"
#include "domain/machine_console.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_group.hpp"
#include "domain/machine_make.hpp"
#include "image/store.hpp"
#include "proto/init_config.hpp"

namespace nagaya::cli {

namespace {

using domain::Machine;
using domain::MachineStore;

/// The number under which the machine's process holds the machine's lock.
constexpr int lock_fd = 5;

void forget_runtime(const Machine& machine) {
  std::error_code ignored;
  std::filesystem::remove_all(machine.places.runtime, ignored);
}

Result<> write_pid(const Machine& machine) {
  const std::string text = fmt::format("{}\n", ::getpid());
  return host::replace_file(machine.places.pid(), {reinterpret_cast<const u8*>(text.data()), text.size()});
}

/// The exit code of an OCI image's program, as the guest told it; 125 when it did not.
int program_code(const Machine& machine) {
  auto bytes = host::read_file(machine.places.status(), 64 * KiB);
  if (!bytes) return 125;
  const auto status = proto::parse_init_status(std::string(bytes->begin(), bytes->end()));
  if (!status) return 125;
  if (!status->error.empty()) complain(Error{status->error});
  return status->code;
}

/// From lock to end: what the foreground and the monitor do alike.
Result<int> live(const MachineStore& store, const Machine& machine, const StartOptions& options, bool console_here) {
  TRY_ASSIGN(host::Fd lock, store.lock(machine));
  ScopeExit clean([&] { forget_runtime(machine); });
  domain::remove_left_group(machine);
  ::unlink(machine.places.ended().c_str());
  TRY(write_pid(machine));
  TRY_ASSIGN(const auto images, image::Store::open());
  TRY_ASSIGN(const auto image, images.find(machine.spec.image));
  TRY_ASSIGN(proto::VmConfig config, domain::vm_config(machine, image));
  domain::ConsoleEnds console;
  if (!console_here && std::ranges::any_of(config.serial, [](const auto& port) { return port.type == proto::CharConfig::Type::stdio; })) {
    TRY_ASSIGN(console, domain::make_console_ends(machine, true));
  }
  TRY_ASSIGN(const MachineNetworks networks,
             join_networks(machine.spec.networks, machine.spec.publish, true, machine.spec.name, lock_fd + 1, config));
  std::optional<domain::MachineGroup> group;
  {
    auto made = domain::MachineGroup::make(machine, config);
    if (!made) return std::unexpected(std::move(made.error()));
    group.emplace(std::move(*made));
  }
  LaunchOptions launch{.quiet = options.quiet, .fds = {{lock.get(), lock_fd}}, .in_child = [&] { return group->join(); }};
  if (console.input) launch.fds.insert(launch.fds.end(), {{console.input.get(), STDIN_FILENO}, {console.output.get(), STDOUT_FILENO}});
  launch.fds.insert(launch.fds.end(), networks.fds.begin(), networks.fds.end());
  LaunchEnd end;
  launch.end = &end;
  auto code = run_machine(config, launch);
  group.reset();
  if (code && !console_here && end.outcome && end.outcome->outcome == proto::Outcome::killed) {
    code = 128 + SIGKILL;  // ended by force, as a container is; at a terminal whoever left it knows
  } else if (image.kind == image::Kind::oci && code && *code == 0) {
    code = program_code(machine);
  }
  if (code) {
    const std::string text = fmt::format("{}\n", *code);
    (void)host::replace_file(machine.places.ended(), {reinterpret_cast<const u8*>(text.data()), text.size()});
  }
  if (options.remove_after) {
    clean.release();
    TRY(store.remove(machine, std::move(lock)));
  }
  return code;
}

/// The child of a detached start. What it and the machine's process say goes to the machine's monitor.log.
[[noreturn]] void monitor(const MachineStore& store, const Machine& machine, const StartOptions& options, const host::Fd& log, pid_t parent) {
  ::setsid();
  if (options.die_with_us) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(125);  // killed before the call above
  }
  if (auto null = host::Fd::open("/dev/null", O_RDWR)) {
    ::dup2(null->get(), STDIN_FILENO);
    ::dup2(null->get(), STDOUT_FILENO);
  }
  ::dup2(log.get(), STDERR_FILENO);
  auto code = live(store, machine, options, false);
  if (!code) complain(code.error());
  ::_exit(code.value_or(125));
}

bool answers(const Machine& machine) { return domain::command_machine(machine, {}, 1000).has_value(); }

/// Waits until the machine answers on its control socket. What its monitor said is the error when it ended before.
Result<int> wait_running(const Machine& machine, pid_t child, const host::Fd& log) {
  for (int status = 0; ::waitpid(child, &status, WNOHANG) != child;) {
    if (answers(machine)) return 0;
    ::usleep(20'000);
  }
  std::string said;
  if (::lseek(log.get(), 0, SEEK_SET) == 0) {
    if (auto text = host::read_all(log.get(), 64 * KiB, "the monitor's log")) said.assign(text->begin(), text->end());
  }
  while (said.ends_with('\n')) said.pop_back();
  return fail(fmt::format("machine '{}' did not start", machine.spec.name), said);
}

}  // namespace

Result<int> start_machine(const Machine& machine, const StartOptions& options) {
  const MachineStore store;
  if (!options.detach) return live(store, machine, options, true);
  // Whoever answers on its socket may be the one that ran before.
  if (store.running(machine)) return std::unexpected(Error{fmt::format("machine '{}' runs already", machine.spec.name), {}, fmt::format("'nagaya stop {}' ends it", machine.spec.name), EBUSY});
  // Read here also when the machine and its folder are gone again.
  TRY_ASSIGN(const host::Fd log, host::Fd::open(machine.places.monitor_log(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0600));
  // What was printed so far must not be printed by both.
  std::fflush(nullptr);
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) return fail_errno("cannot start a process");
  if (child == 0) monitor(store, machine, options, log, parent);
  return wait_running(machine, child, log);
}

}  // namespace nagaya::cli
