// Verbs that change what a domain does.
#include <csignal>
#include <cstring>

#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "cli/container_console.hpp"
#include "cli/container_options.hpp"
#include "cli/domain_command.hpp"
#include "cli/machine_start.hpp"
#include "cli/run_container.hpp"
#include "cli/sizes.hpp"
#include "domain/container_control.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_policy.hpp"
#include "domain/machine_update.hpp"
#include "host/terminal.hpp"

namespace nagaya::cli {
namespace {

using domain::Container;
using domain::Domain;
using domain::DomainStore;
using domain::Machine;

constexpr unsigned machine_stop_seconds = 60;

Result<std::optional<unsigned>> seconds_of(const Parsed& options) {
  if (!options.has("time")) return std::nullopt;
  const std::string text = options.last("time");
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return fail(fmt::format("--time {}", text), "it must be whole seconds");
  return value;
}

Result<> stop(const DomainStore& store, const Domain& one, std::optional<unsigned> seconds) {
  if (const auto* machine = std::get_if<Machine>(&one)) {
    if (store.running(one)) return domain::stop_machine(store.machines(), *machine, seconds.value_or(machine_stop_seconds));
    // What shall not run does not: no error; what a killed monitor has left goes.
    store.machines().clear_leftovers(*machine);
    return {};
  }
  const auto& container = std::get<Container>(one);
  return domain::stop_container(store.containers(), container, image_config(container.definition), seconds.value_or(container.definition.stop_timeout));
}

Result<int> start_one(const DomainStore& store, const Domain& one, bool attach, bool quiet, bool fresh = false) {
  if (const auto* machine = std::get_if<Machine>(&one)) return start_machine(*machine, {.quiet = quiet, .detach = !attach});
  const auto& container = std::get<Container>(one);
  TRY_ASSIGN(domain::ContainerStart start, start_of(container, quiet));
  start.wait_for_client = attach;
  start.fresh = fresh;
  if (container.definition.terminal && attach) {
    const host::TerminalSize size = host::terminal_size(0);
    start.terminal_size = {static_cast<u16>(size.columns), static_cast<u16>(size.rows)};
  }
  TRY(domain::start_container(store.containers(), container, start));
  if (!attach) return 0;
  return at_console(container, {.input = container.definition.interactive, .terminal = container.definition.terminal, .start = true});
}

/// Starts what shall run whenever the host does: what is marked so, or always started again. All are tried.
Result<int> start_marked(const DomainStore& store) {
  using When = domain::RestartPolicy::When;
  TRY_ASSIGN(const auto all, store.list());
  int code = 0;
  for (const Domain& one : all) {
    if (store.running(one)) continue;
    if (const auto* machine = std::get_if<Machine>(&one)) {
      if (!domain::MachinePolicy::read(*machine).with_host(*machine)) continue;
    } else {
      const auto& container = std::get<Container>(one);
      const domain::ContainerDefinition& d = container.definition;
      const bool again = d.restart.when == When::always || (d.restart.when == When::unless_stopped && !store.containers().status(container).stopped);
      if (!d.autostart && !again) continue;
    }
    if (auto started = start_one(store, one, false, true)) {
      fmt::print("{}\n", domain::name_of(one));
    } else {
      complain(started.error());
      code = 125;
    }
  }
  return code;
}

Result<int> run_start(const Parsed& options) {
  const DomainStore store;
  if (options.has("autostart")) {
    if (options.has("NAME")) return fail("nagaya start --autostart", "it takes no names");
    return start_marked(store);
  }
  if (!options.has("NAME")) return fail("nagaya start", "nothing is named", "'nagaya ps -a' lists machines and containers");
  const auto& names = options.all("NAME");
  // A machine's console is this terminal unless it shall not be; a container goes on in the background unless it is asked for.
  if (names.size() == 1) {
    TRY_ASSIGN(const Domain one, store.find(names[0]));
    const bool machine = std::holds_alternative<Machine>(one);
    const bool attach = options.has("attach") || (machine && !options.has("detach"));
    TRY_ASSIGN(const int code, start_one(store, one, attach, options.has("quiet"), options.has("fresh")));
    if (!attach) fmt::print("{}\n", domain::name_of(one));
    return code;
  }
  if (options.has("attach")) return fail("nagaya start --attach", "this terminal can be the console of one only");
  return for_each_domain(options, "start", [&](const DomainStore& all, const Domain& one) -> Result<> {
    TRY(start_one(all, one, false, options.has("quiet"), options.has("fresh")));
    return {};
  });
}

CommandSpec start_command() {
  return {.name = "start",
          .summary = "start machines and containers that were made before",
          .examples = {{"nagaya start web", "a machine: its console is this terminal; a container: in the background"},
                       {"nagaya start -d web", "in the background, whatever it is"},
                       {"nagaya start -a web", "its console is this terminal"},
                       {"nagaya start --autostart", "what shall run whenever the host does (a systemd unit does this)"}},
          .options = {{"-d,--detach", "", "in the background"},
                      {"-a,--attach", "", "with its console on this terminal"},
                      {"--fresh", "", "a saved container from its beginning: what was saved is forgotten"},
                      {"-q,--quiet", "", "no messages about engine and outcome"},
                      {"--autostart", "", "all that are marked so, or restarted always, and do not run"},
                      names_argument()},
          .run = run_start};
}

CommandSpec stop_command() {
  return {.name = "stop",
          .summary = "shut machines and containers down",
          .examples = {{"nagaya stop web", "ask it to end: a machine's power button, a container's stop signal; end it by force if it does not react"},
                       {"nagaya stop -t 0 web", "end it at once"}},
          .options = {{"-t,--time", "SECONDS", "how long it may take before it is ended by force (default: a machine 60, a container as it was made, usually 10)"},
                      names_argument()},
          .run = [](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const auto seconds, seconds_of(options));
            return for_each_domain(options, "stop", [&](const DomainStore& store, const Domain& one) -> Result<> { return stop(store, one, seconds); });
          }};
}

CommandSpec restart_command() {
  return {.name = "restart",
          .summary = "stop machines and containers, and start them again in the background",
          .examples = {{"nagaya restart web", "also when it does not run"}, {"nagaya restart -t 2 web", "with little patience"}},
          .options = {{"-t,--time", "SECONDS", "how long it may take to end, as for stop"}, names_argument()},
          .run = [](const Parsed& options) -> Result<int> {
            TRY_ASSIGN(const auto seconds, seconds_of(options));
            return for_each_domain(options, "restart", [&](const DomainStore& store, const Domain& one) -> Result<> {
              if (store.running(one)) TRY(stop(store, one, seconds));
              TRY(start_one(store, one, false, true));
              return {};
            });
          }};
}

CommandSpec kill_command() {
  return {.name = "kill",
          .summary = "send a signal to a container's first process, or end a machine",
          .examples = {{"nagaya kill web", "end it at once"}, {"nagaya kill -s HUP web", "another signal"}},
          .options = {{"-s,--signal", "SIGNAL", "name or number (default: KILL); of a machine KILL ends it, TERM and INT press its power button"}, names_argument()},
          .run = [](const Parsed& options) -> Result<int> {
            int number = SIGKILL;
            if (options.has("signal")) {
              TRY_ASSIGN(number, domain::parse_signal(options.last("signal")));
            }
            return for_each_domain(options, "kill", [&](const DomainStore& store, const Domain& one) -> Result<> {
              if (const auto* container = std::get_if<Container>(&one)) return domain::kill_container(store.containers(), *container, number);
              return domain::signal_machine(store.machines(), std::get<Machine>(one), number);
            });
          }};
}

CommandSpec rm_command() {
  return {.name = "rm",
          .summary = "remove machines and containers, and what they have written",
          .examples = {{"nagaya rm web", "its image stays"}, {"nagaya rm -f web", "also when it runs"}},
          .options = {{"-f,--force", "", "end it first if it runs"}, names_argument()},
          .run = [](const Parsed& options) -> Result<int> {
            return for_each_domain(options, "rm", [&](const DomainStore& store, const Domain& one) -> Result<> {
              if (options.has("force") && store.running(one)) {
                if (auto stopped = stop(store, one, 0); !stopped && store.running(one)) return stopped;
              }
              return store.remove(one);
            });
          }};
}

template <class OfContainer>
Result<> pause_or_resume(const Domain& one, bool pause, OfContainer of_container) {
  if (const auto* container = std::get_if<Container>(&one)) return of_container(*container);
  return domain::hold_machine(std::get<Machine>(one), pause);
}

CommandSpec pause_command() {
  return {.name = "pause",
          .summary = "halt machines and containers where they are",
          .examples = {{"nagaya pause web", "it uses no CPU until 'nagaya resume web'"}},
          .options = {names_argument()},
          .run = [](const Parsed& options) -> Result<int> {
            return for_each_domain(options, "pause", [](const DomainStore& store, const Domain& one) -> Result<> {
              return pause_or_resume(one, true, [&](const Container& container) { return domain::pause_container(store.containers(), container); });
            });
          }};
}

CommandSpec resume_command() {
  return {.name = "resume",
          .summary = "let paused machines and containers go on",
          .examples = {{"nagaya resume web", "from where it was"}},
          .options = {names_argument()},
          .run = [](const Parsed& options) -> Result<int> {
            return for_each_domain(options, "resume", [](const DomainStore& store, const Domain& one) -> Result<> {
              return pause_or_resume(one, false, [&](const Container& container) { return domain::resume_container(store.containers(), container); });
            });
          }};
}

CommandSpec wait_command() {
  return {.name = "wait",
          .summary = "wait until machines or containers have ended, and print their exit codes",
          .examples = {{"nagaya wait job", "prints 0 when it ended well"}},
          .options = {names_argument()},
          .run = [](const Parsed& options) -> Result<int> {
            if (!options.has("NAME")) return fail("nagaya wait", "nothing is named", "'nagaya ps' lists what runs");
            const DomainStore store;
            for (const std::string& name : options.all("NAME")) {
              TRY_ASSIGN(const Domain one, store.find(name));
              if (const auto* machine = std::get_if<Machine>(&one)) {
                constexpr unsigned look_us = 50'000;
                while (store.running(one)) ::usleep(look_us);
                fmt::print("{}\n", domain::machine_exit_code(*machine));
                std::fflush(stdout);
                continue;
              }
              TRY_ASSIGN(const auto code, domain::wait_container(store.containers(), std::get<Container>(one), -1));
              fmt::print("{}\n", code.value_or(125));
              std::fflush(stdout);
            }
            return 0;
          }};
}

CommandSpec rename_command() {
  return {.name = "rename",
          .summary = "give a machine or container that does not run another name",
          .examples = {{"nagaya rename web old-web", "its id stays"}},
          .options = {name_argument(), {"NEW", "NEW", "the new name"}},
          .run = [](const Parsed& options) -> Result<int> {
            const DomainStore store;
            TRY_ASSIGN(const Domain one, one_domain(store, options, "rename"));
            if (!options.has("NEW")) return fail("nagaya rename", "the new name is missing", "write nagaya rename NAME NEW");
            if (const auto* machine = std::get_if<Machine>(&one)) {
              TRY_ASSIGN(const Machine renamed, store.machines().rename(*machine, options.last("NEW")));
              fmt::print("{}\n", renamed.spec.name);
              return 0;
            }
            TRY_ASSIGN(const Container renamed, store.containers().rename(std::get<Container>(one), options.last("NEW")));
            fmt::print("{}\n", renamed.definition.name);
            return 0;
          }};
}

// Memory and processors are the guest's, the other limits those of the machine's process: as 'nagaya run' takes them.
Result<> update_machine(const domain::MachineStore& store, const Machine& machine, const Parsed& options) {
  domain::MachineSpec wanted = machine.spec;
  domain::MachinePolicy policy = domain::MachinePolicy::read(machine);
  if (options.has("restart")) {
    TRY_ASSIGN(policy.restart, domain::RestartPolicy::parse(options.last("restart")));
  }
  if (options.has("memory")) {
    TRY_ASSIGN(wanted.memory, parse_size(options.last("memory")));
  }
  if (options.has("cpus")) {
    TRY_ASSIGN(const u64 thousandths, cpu_thousandths(options.last("cpus")));
    wanted.vcpus = static_cast<unsigned>((thousandths + 999) / 1000);
    wanted.limits.cpu_thousandths = thousandths % 1000 == 0 ? 0 : thousandths;
  }
  TRY(other_limits_from_options(options, wanted.limits));
  if (wanted != machine.spec) TRY(domain::update_machine(store, machine, wanted));
  return options.has("restart") ? policy.write(machine) : Result<>();
}

CommandSpec update_command() {
  std::vector<OptionSpec> all = {{"-m,--memory", "SIZE", "limit of its memory; of a machine that runs at most what it was started with"},
                                 {"-c,--cpus", "N", "how much CPU time it gets, such as 1.5; of a machine that runs at most the processors it was started with"},
                                 {"--restart", "POLICY", "whether it is started again: no, on-failure[:N], always, unless-stopped; of a container from its next start on"}};
  for (OptionSpec& option : limit_options()) all.push_back(std::move(option));
  all.push_back(names_argument());
  return {.name = "update",
          .summary = "change limits, also of what runs",
          .examples = {{"nagaya update -m 1G -c 2 web", "more memory and CPU time, now and at its next start"}, {"nagaya update --restart no web", "it stays away when it ends"}},
          .options = std::move(all),
          .run = [](const Parsed& options) -> Result<int> {
            return for_each_domain(options, "update", [&](const DomainStore& store, const Domain& one) -> Result<> {
              if (const auto* machine = std::get_if<Machine>(&one)) return update_machine(store.machines(), *machine, options);
              Container container = std::get<Container>(one);
              domain::DomainLimits limits = container.definition.limits;
              TRY(limits_from_options(options, limits));
              std::optional<domain::RestartPolicy> restart;
              if (options.has("restart")) {
                TRY_ASSIGN(restart, domain::RestartPolicy::parse(options.last("restart")));
              }
              return domain::update_container(store.containers(), container, limits, restart);
            });
          }};
}

}  // namespace

std::vector<CommandSpec> life_commands() {
  return {start_command(), stop_command(), restart_command(), kill_command(), rm_command(), pause_command(), resume_command(), wait_command(), rename_command(), update_command()};
}

}  // namespace nagaya::cli
