#include "cli/machine_command.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>

#include "cli/launch.hpp"
#include "cli/machine_start.hpp"
#include "cli/sizes.hpp"
#include "cli/table.hpp"
#include "domain/machine_control.hpp"
#include "host/signal.hpp"

namespace nagaya::cli {

namespace {

using domain::Machine;
using domain::MachineStore;

const OptionSpec name_argument{"NAME", "NAME", "the machine, or the beginning of its name"};
const OptionSpec names_argument{"NAME", "NAME", "the machines", Completes::nothing, {}, true, true};

Result<Machine> one_machine(const MachineStore& store, const Parsed& options, const char* command) {
  if (!options.has("NAME")) return fail(fmt::format("nagaya {}", command), "no machine is named", "'nagaya ps -a' lists them");
  return store.find(options.last("NAME"));
}

/// Does the same to each; all are tried, and the first failure gives the exit code.
template <class Do>
Result<int> for_each(const Parsed& options, const char* command, Do act) {
  if (!options.has("NAME")) return fail(fmt::format("nagaya {}", command), "no machine is named", "'nagaya ps -a' lists them");
  const MachineStore store;
  int code = 0;
  for (const std::string& name : options.all("NAME")) {
    const auto done = [&]() -> Result<> {
      TRY_ASSIGN(const Machine machine, store.find(name));
      TRY(act(store, machine));
      fmt::print("{}\n", machine.spec.name);
      return {};
    }();
    if (done) continue;
    complain(done.error());
    code = 125;
  }
  return code;
}

Result<unsigned> seconds_of(const Parsed& options, unsigned otherwise) {
  if (!options.has("time")) return otherwise;
  const std::string text = options.last("time");
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return fail(fmt::format("--time {}", text), "it must be whole seconds");
  return value;
}

CommandSpec start_command() {
  return {.name = "start",
          .summary = "start a machine that was made before",
          .examples = {{"nagaya start web", "its console is this terminal"}, {"nagaya start -d web", "in the background"}},
          .options = {{"-d,--detach", "", "in the background"}, {"-q,--quiet", "", "no messages about engine and outcome"}, name_argument},
          .run = [](const Parsed& options) -> Result<int> {
            const MachineStore store;
            TRY_ASSIGN(const Machine machine, one_machine(store, options, "start"));
            TRY_ASSIGN(const int code, start_machine(machine, {.quiet = options.has("quiet"), .detach = options.has("detach")}));
            if (options.has("detach")) fmt::print("{}\n", machine.spec.name);
            return code;
          }};
}

CommandSpec stop_command() {
  return {.name = "stop",
          .summary = "shut machines down",
          .examples = {{"nagaya stop web", "press its power button; end it after 60 seconds if it does not react"},
                       {"nagaya stop -t 0 web", "end it at once"}},
          .options = {{"-t,--time", "SECONDS", "how long the guest may take before it is ended by force (default: 60)"}, names_argument},
          .run = [](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const unsigned seconds, seconds_of(options, 60));
            return for_each(options, "stop", [&](const MachineStore& store, const Machine& machine) {
              return domain::stop_machine(store, machine, seconds);
            });
          }};
}

CommandSpec rm_command() {
  return {.name = "rm",
          .summary = "remove machines and their disks",
          .examples = {{"nagaya rm web", "what it wrote is gone; its image stays"}, {"nagaya rm -f web", "also when it runs"}},
          .options = {{"-f,--force", "", "end it first if it runs"}, names_argument},
          .run = [](const Parsed& options) -> Result<int> {
            return for_each(options, "rm", [&](const MachineStore& store, const Machine& machine) -> Result<> {
              if (options.has("force") && store.running(machine)) TRY(domain::stop_machine(store, machine, 0));
              return store.remove(machine);
            });
          }};
}

CommandSpec ps_command() {
  return {.name = "ps",
          .summary = "list machines",
          .examples = {{"nagaya ps", "those that run"}, {"nagaya ps -a -f json", "all, for a program"}},
          .options = {{"-a,--all", "", "also those that do not run"},
                      {"-q,--quiet", "", "names only"},
                      {"-f,--output", "FORMAT", "table, json, yaml or csv (default: table)", Completes::words, table_formats()}},
          .run = [](const Parsed& options) -> Result<int> {
            const MachineStore store;
            std::vector<std::string> unreadable;
            TRY_ASSIGN(const auto machines, store.list(&unreadable));
            Table table{{"name", "image", "state", "cpus", "memory", "created"}, {}};
            for (const Machine& machine : machines) {
              const bool running = store.running(machine);
              if (!running && !options.has("all")) continue;
              const auto& s = machine.spec;
              table.rows.push_back({s.name, s.image_name, running ? "running" : "stopped", std::to_string(s.vcpus), format_size(s.memory), s.created});
            }
            std::string out;
            if (options.has("quiet")) {
              for (const auto& row : table.rows) out += row[0] + "\n";
            } else {
              out = render(table, options.last("output"));
            }
            std::fwrite(out.data(), 1, out.size(), stdout);
            for (const std::string& problem : unreadable) complain(Error{problem});
            return 0;
          }};
}

/// Copies a file to standard output; with `follow`, what is added too, for as long as the machine runs.
Result<> copy_log(const MachineStore& store, const Machine& machine, bool follow) {
  auto file = host::Fd::open(machine.places.console_log(), O_RDONLY);
  if (!file) return fail(fmt::format("machine '{}'", machine.spec.name), "it has no log", "machines started with -d keep one");
  TRY_ASSIGN(host::SignalFd signals, host::SignalFd::create({SIGINT, SIGTERM}));
  std::array<u8, 64 * KiB> buffer;
  for (;;) {
    const bool running = store.running(machine);
    TRY_ASSIGN(const std::size_t got, host::read_up_to(file->get(), buffer));
    if (got > 0) TRY(host::write_all(STDOUT_FILENO, std::span(buffer).first(got)));
    if (got == buffer.size()) continue;
    if (!follow || !running) return {};
    pollfd wait{signals.fd(), POLLIN, 0};
    if (::poll(&wait, 1, 200) > 0) return {};
  }
}

CommandSpec logs_command() {
  return {.name = "logs",
          .summary = "print what a machine in the background wrote to its console",
          .examples = {{"nagaya logs web", "since its last start"}, {"nagaya logs --follow web", "and what comes, until it ends"}},
          .options = {{"-f,--follow", "", "go on until the machine ends"}, name_argument},
          .run = [](const Parsed& options) -> Result<int> {
            const MachineStore store;
            TRY_ASSIGN(const Machine machine, one_machine(store, options, "logs"));
            TRY(copy_log(store, machine, options.has("follow")));
            return 0;
          }};
}

CommandSpec inspect_command() {
  return {.name = "inspect",
          .summary = "print a machine's definition as JSON",
          .examples = {{"nagaya inspect web", "image, memory, disks, shares, networks"}},
          .options = {name_argument},
          .run = [](const Parsed& options) -> Result<int> {
            const MachineStore store;
            TRY_ASSIGN(const Machine machine, one_machine(store, options, "inspect"));
            const std::string json = machine.spec.to_json();
            std::fwrite(json.data(), 1, json.size(), stdout);
            return 0;
          }};
}

}  // namespace

std::vector<CommandSpec> machine_commands() {
  return {start_command(), stop_command(), ps_command(), rm_command(), logs_command(), inspect_command()};
}

}  // namespace nagaya::cli
