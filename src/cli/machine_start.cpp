#include "cli/machine_start.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/scope.hpp"
#include "cli/launch.hpp"
#include "cli/run_network.hpp"
#include "domain/machine_console.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_group.hpp"
#include "domain/machine_make.hpp"
#include "domain/machine_policy.hpp"
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

/// The exit code of an OCI image's program, as the guest told it; 125 when it did not.
int program_code(const Machine& machine) {
  auto bytes = host::read_file(machine.places.status(), 64 * KiB);
  if (!bytes) return 125;
  const auto status = proto::parse_init_status(std::string(bytes->begin(), bytes->end()));
  if (!status) return 125;
  if (!status->error.empty()) complain(Error{status->error});
  return status->code;
}

struct Run {
  int code = 0;
  LaunchEnd end{};
};

/// From its configuration to its end, once.
Result<Run> run_once(const Machine& machine, const image::Image& image, const StartOptions& options, const host::Fd& lock, bool console_here, bool first) {
  TRY_ASSIGN(proto::VmConfig config, domain::vm_config(machine, image));
  domain::ConsoleEnds console;
  if (!console_here && std::ranges::any_of(config.serial, [](const auto& port) { return port.type == proto::CharConfig::Type::stdio; })) {
    TRY_ASSIGN(console, domain::make_console_ends(machine, first));
  }
  TRY_ASSIGN(const MachineNetworks networks,
             join_networks(machine.spec.networks, machine.spec.publish, true, machine.spec.name, lock_fd + 1, config));
  std::optional<domain::MachineGroup> group;
  {
    auto made = domain::MachineGroup::make(machine, config);
    if (!made) return std::unexpected(std::move(made.error()));
    group.emplace(std::move(*made));
  }
  Run out;
  LaunchOptions launch{.quiet = options.quiet, .fds = {{lock.get(), lock_fd}}, .in_child = [&] { return group->join(); }, .end = &out.end};
  if (console.input) launch.fds.insert(launch.fds.end(), {{console.input.get(), STDIN_FILENO}, {console.output.get(), STDOUT_FILENO}});
  launch.fds.insert(launch.fds.end(), networks.fds.begin(), networks.fds.end());
  TRY_ASSIGN(out.code, run_machine(config, launch));
  if (!console_here && out.end.outcome && out.end.outcome->outcome == proto::Outcome::killed) {
    out.code = 128 + SIGKILL;  // ended by force, as a container is; at a terminal whoever left it knows
  } else if (image.kind == image::Kind::oci && out.code == 0) {
    out.code = program_code(machine);
  }
  return out;
}

/// Whether its policy starts it again. What somebody ended, saved or never had a machine is not.
bool again(const Machine& machine, const Run& run, unsigned restarts, bool console_here) {
  using proto::Outcome;
  if (run.end.signal != 0 || domain::was_stopped(machine)) return false;
  if (const auto& told = run.end.outcome) {
    if (told->outcome == Outcome::saved || told->outcome == Outcome::failed || (console_here && told->outcome == Outcome::killed)) return false;
  }
  return domain::MachinePolicy::read(machine).again(run.code, restarts);
}

Result<> write_number(const std::string& path, unsigned number) {
  const std::string text = fmt::format("{}\n", number);
  return host::replace_file(path, {reinterpret_cast<const u8*>(text.data()), text.size()});
}

/// Runs it until nothing starts it again; the last exit code. Pauses between starts grow, as with containers.
Result<int> run_by_policy(Machine machine, const MachineStore& store, const StartOptions& options, const host::Fd& lock, bool console_here) {
  using Clock = std::chrono::steady_clock;
  using std::chrono::milliseconds;
  constexpr milliseconds first_pause(100), longest_pause(60'000), look(50);
  constexpr auto settled = std::chrono::seconds(10);
  TRY_ASSIGN(const auto images, image::Store::open());
  milliseconds pause = first_pause;
  for (unsigned restarts = 0;;) {
    TRY_ASSIGN(const auto image, images.find(machine.spec.image));
    const auto began = Clock::now();
    TRY_ASSIGN(const Run run, run_once(machine, image, options, lock, console_here, restarts == 0));
    if (!again(machine, run, restarts, console_here)) return run.code;
    pause = Clock::now() - began > settled ? first_pause : std::min(pause * 2, longest_pause);
    TRY(write_number(machine.places.restarts(), ++restarts));
    for (const auto end = Clock::now() + pause; Clock::now() < end; std::this_thread::sleep_for(look)) {
      if (domain::was_stopped(machine)) return run.code;
    }
    // Its limits may be others by now.
    TRY_ASSIGN(machine, store.find(machine.spec.name));
  }
}

/// From lock to end: what the foreground and the monitor do alike.
Result<int> live(const MachineStore& store, const Machine& machine, const StartOptions& options, bool console_here) {
  TRY_ASSIGN(host::Fd lock, store.lock(machine));
  ScopeExit clean([&] { forget_runtime(machine); });
  domain::remove_left_group(machine);
  domain::forget_stopped(machine);
  ::unlink(machine.places.ended().c_str());
  TRY(write_number(machine.places.pid(), static_cast<unsigned>(::getpid())));
  auto code = run_by_policy(machine, store, options, lock, console_here);
  if (code) (void)write_number(machine.places.ended(), static_cast<unsigned>(*code));
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
