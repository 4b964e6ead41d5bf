// Verbs that show what a domain is and does.
#include <poll.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <optional>

#include "agent/client.hpp"
#include "agent/exec_client.hpp"
#include "cli/container_console.hpp"
#include "cli/domain_command.hpp"
#include "cli/run_container.hpp"
#include "cli/sizes.hpp"
#include "cli/table.hpp"
#include "domain/container_storage.hpp"
#include "domain/container_control.hpp"
#include "domain/container_log.hpp"
#include "domain/machine_console.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_policy.hpp"
#include "domain/machine_stats.hpp"
#include "host/process_stat.hpp"
#include "host/signal.hpp"
#include "host/terminal.hpp"
#include "net/port_spec.hpp"
#include "proto/json_fields.hpp"

namespace nagaya::cli {
namespace {

using domain::Container;
using domain::Domain;
using domain::DomainStore;
using domain::Machine;
using Phase = domain::ContainerStatus::Phase;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

OptionSpec format_option() { return {"-f,--output", "FORMAT", "table, json, yaml or csv (default: table)", Completes::words, table_formats()}; }

/// "running", "running (healthy)", "paused", "exited (3)", "failed", "created"
std::string state_of(const DomainStore& store, const Container& container) {
  const domain::ContainerStatus status = store.containers().status(container);
  if (status.phase == Phase::running && domain::container_paused(container)) return "paused";
  if (status.phase == Phase::running) return status.health.empty() ? "running" : fmt::format("running ({})", status.health);
  if (status.phase == Phase::exited) return fmt::format("exited ({})", status.exit_code);
  return std::string(domain::phase_name(status.phase));
}

std::vector<std::string> row_of(const DomainStore& store, const Domain& one, bool running) {
  if (const auto* machine = std::get_if<Machine>(&one)) {
    const auto& s = machine->spec;
    return {s.name, "vm", s.image_name, running ? "running" : "stopped", std::to_string(s.vcpus), format_size(s.memory), s.created};
  }
  const auto& container = std::get<Container>(one);
  const auto& d = container.definition;
  const u64 cpus = d.limits.cpu_thousandths;
  return {d.name, "container", d.image_name, state_of(store, container), cpus == 0 ? "" : fmt::format("{}", static_cast<double>(cpus) / 1000),
          d.limits.memory == 0 ? "" : format_size(d.limits.memory), d.created};
}

Result<int> run_ps(const Parsed& options) {
  const DomainStore store;
  std::vector<std::string> unreadable;
  TRY_ASSIGN(const auto domains, store.list(&unreadable));
  Table table{{"name", "kind", "image", "state", "cpus", "memory", "created"}, {}};
  for (const Domain& one : domains) {
    const bool running = store.running(one);
    if (running || options.has("all")) table.rows.push_back(row_of(store, one, running));
  }
  if (options.has("quiet")) {
    for (const auto& row : table.rows) print(row[0] + "\n");
  } else {
    print(render(table, options.last("output")));
  }
  for (const std::string& problem : unreadable) complain(Error{problem});
  return 0;
}

CommandSpec ps_command() {
  return {.name = "ps",
          .summary = "list machines and containers",
          .examples = {{"nagaya ps", "those that run"}, {"nagaya ps -a -f json", "all, for a program"}},
          .options = {{"-a,--all", "", "also those that do not run"}, {"-q,--quiet", "", "names only"}, format_option()},
          .run = run_ps};
}

/// Copies a file to standard output, or its last lines; with `follow`, what is added too, for as long as the machine runs.
Result<> machine_log(const DomainStore& store, const Machine& machine, bool follow, i64 tail) {
  auto file = host::Fd::open(machine.places.console_log(), 0);
  if (!file) return fail(fmt::format("machine '{}'", machine.spec.name), "it has no log", "machines started with -d keep one");
  if (tail >= 0) {
    TRY_ASSIGN(const u64 begin, domain::tail_offset(file->get(), static_cast<u64>(tail)));
    if (::lseek(file->get(), static_cast<off_t>(begin), SEEK_SET) < 0) return fail_errno("cannot read the log");
  }
  TRY_ASSIGN(host::SignalFd signals, host::SignalFd::create({SIGINT, SIGTERM}));
  std::array<u8, 64 * KiB> buffer;
  for (;;) {
    const bool running = store.machines().running(machine);
    TRY_ASSIGN(const std::size_t got, host::read_up_to(file->get(), buffer));
    if (got > 0) TRY(host::write_all(STDOUT_FILENO, std::span(buffer).first(got)));
    if (got == buffer.size()) continue;
    if (!follow || !running) return {};
    pollfd wait{signals.fd(), POLLIN, 0};
    if (::poll(&wait, 1, 200) > 0) return {};
  }
}

Result<int> run_logs(const Parsed& options) {
  const DomainStore store;
  TRY_ASSIGN(const Domain one, one_domain(store, options, "logs"));
  domain::LogOptions how{.follow = options.has("follow"), .timestamps = options.has("timestamps")};
  if (options.has("tail") && options.last("tail") != "all") {
    const std::string text = options.last("tail");
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), how.tail);
    if (error != std::errc{} || end != text.data() + text.size() || how.tail < 0) return fail(fmt::format("--tail {}", text), "it must be a number of lines, or all");
  }
  if (const auto* machine = std::get_if<Machine>(&one)) {
    if (how.timestamps) return not_for_machines(*machine, "logs --timestamps");
    TRY(machine_log(store, *machine, how.follow, how.tail));
    return 0;
  }
  const auto& container = std::get<Container>(one);
  TRY(domain::read_log(container.places.log(), how, [&] { return !store.containers().running(container); },
                       [](domain::Stream stream, std::string_view text) { return host::write_all(stream == domain::Stream::err ? STDERR_FILENO : STDOUT_FILENO, text); }));
  return 0;
}

CommandSpec logs_command() {
  return {.name = "logs",
          .summary = "print what a machine or container wrote to its console",
          .examples = {{"nagaya logs web", "a machine's since its last start in the background, a container's since it was made"},
                       {"nagaya logs -f --tail 20 web", "the last lines, and what comes, until it ends"}},
          .options = {{"-f,--follow", "", "go on until it ends"},
                      {"-t,--timestamps", "", "of a container: the time before each line"},
                      {"--tail", "LINES", "only so many of the last lines"},
                      name_argument()},
          .run = run_logs};
}

Result<int> run_inspect(const Parsed& options) {
  const DomainStore store;
  TRY_ASSIGN(const Domain one, one_domain(store, options, "inspect"));
  if (const auto* machine = std::get_if<Machine>(&one)) {
    auto out = nlohmann::ordered_json::parse(machine->spec.to_json(), nullptr, false);
    const domain::MachinePolicy policy = domain::MachinePolicy::read(*machine);
    if (policy != domain::MachinePolicy{}) out.update({{"restart", policy.restart.text()}, {"autostart", policy.autostart}});
    print(proto::print(out, 2) + "\n");
    return 0;
  }
  // Both are texts of our own: what was chosen, and what is.
  const auto& container = std::get<Container>(one);
  auto out = nlohmann::ordered_json::parse(container.definition.to_json(), nullptr, false);
  auto state = nlohmann::ordered_json::parse(store.containers().status(container).to_json(), nullptr, false);
  state["state"] = state_of(store, container);
  if (const std::string driver = domain::storage_driver(container); !driver.empty()) state["storage_driver"] = driver;
  out["status"] = std::move(state);
  print(proto::print(out, 2) + "\n");
  return 0;
}

CommandSpec inspect_command() {
  return {.name = "inspect",
          .summary = "print a machine's or container's definition as JSON",
          .examples = {{"nagaya inspect web", "image, memory, disks, shares, networks; of a container its state, too"}},
          .options = {name_argument()},
          .run = run_inspect};
}

Result<int> run_port(const Parsed& options) {
  const DomainStore store;
  TRY_ASSIGN(const Domain one, one_domain(store, options, "port"));
  const auto* machine = std::get_if<Machine>(&one);
  for (const std::string& text : machine != nullptr ? machine->spec.publish : std::get<Container>(one).definition.publish) {
    TRY_ASSIGN(const auto ports, net::parse_port_spec(text));
    for (const net::PortSpec& port : ports) print(fmt::format("{}/{} -> {}:{}\n", port.guest, port.udp ? "udp" : "tcp", port.address.text(), port.host));
  }
  return 0;
}

CommandSpec port_command() {
  return {.name = "port",
          .summary = "list the published ports of a machine or container",
          .examples = {{"nagaya port web", "80/tcp -> 0.0.0.0:8080"}},
          .options = {name_argument()},
          .run = run_port};
}

/// A process as /proc shows it.
std::vector<std::string> process_row(pid_t pid) {
  const auto text_of = [&](const char* file) {
    const auto bytes = host::read_file(fmt::format("/proc/{}/{}", pid, file), MiB);
    return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
  };
  std::string command = text_of("cmdline");
  while (command.ends_with('\0')) command.pop_back();
  for (char& c : command) c = static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  const std::string status = text_of("status");
  const host::ProcessStat stat = host::read_process_stat(pid).value_or(host::ProcessStat{});
  if (command.empty()) command = "[" + stat.name + "]";
  const auto field = [&](const char* name) {
    const std::size_t at = status.find(fmt::format("\n{}:\t", name));
    if (at == std::string::npos) return std::string();
    const std::size_t start = status.find_first_not_of(" \t", status.find(':', at) + 1);
    return status.substr(start, status.find_first_of("\t\n", start) - start);
  };
  const u64 ticks = stat.user_ticks + stat.system_ticks;
  const std::string inside = field("NSpid").empty() ? "" : status.substr(0);
  std::string numbers;
  if (const std::size_t line = inside.find("\nNSpid:"); line != std::string::npos) numbers = inside.substr(line + 8, inside.find('\n', line + 1) - line - 8);
  const std::string own = numbers.substr(numbers.find_last_of('\t') + 1);
  return {std::to_string(pid), own, field("Uid"), field("VmRSS"), fmt::format("{:.2f}", static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK))), command};
}

// What a guest calls its processes is for the guest to say: its own ps prints.
Result<int> top_of_machine(const Machine& machine, const Parsed& options) {
  if (options.has("output")) return not_for_machines(machine, "top --output", "leave it out: the guest's ps prints");
  constexpr int patience_ms = 3000;
  TRY_ASSIGN(agent::Channel channel, agent::connect(machine.places.vsock(), patience_ms));
  TRY_ASSIGN(const agent::Exited ended, agent::run_exec(channel, {.command = {"ps", "-e", "-o", "pid,ppid,user,args"}}, {}));
  return static_cast<int>(ended.signalled ? 128 + ended.value : ended.value);
}

Result<int> run_top(const Parsed& options) {
  const DomainStore store;
  TRY_ASSIGN(const Domain one, one_domain(store, options, "top"));
  if (const auto* machine = std::get_if<Machine>(&one)) return top_of_machine(*machine, options);
  TRY_ASSIGN(const auto processes, domain::container_processes(store.containers(), std::get<Container>(one)));
  Table table{{"pid", "inside", "user", "memory", "cpu-seconds", "command"}, {}};
  for (const pid_t pid : processes) table.rows.push_back(process_row(pid));
  print(render(table, options.last("output")));
  return 0;
}

CommandSpec top_command() {
  return {.name = "top",
          .summary = "list the processes of a machine or container",
          .examples = {{"nagaya top web", "as this host and as the container numbers them"}},
          .options = {format_option(), name_argument()},
          .run = run_top};
}

std::vector<std::string> stats_row(const std::string& name, const cgroup::Stats& now, double cpu_share) {
  u64 read = 0, written = 0;
  for (const auto& disk : now.disks) {
    read += disk.read_bytes;
    written += disk.write_bytes;
  }
  const bool limited = now.memory_limit < (u64{1} << 60);
  return {name, fmt::format("{:.1f}", cpu_share * 100), std::to_string(now.memory), limited ? std::to_string(now.memory_limit) : "", std::to_string(now.pids),
          fmt::format("{:.3f}", static_cast<double>(now.cpu_ns) / 1e9), std::to_string(read), std::to_string(written), std::to_string(now.oom_kills)};
}

Result<cgroup::Stats> stats_of(const DomainStore& store, const Domain& one) {
  if (const auto* machine = std::get_if<Machine>(&one)) return domain::machine_stats(store.machines(), *machine);
  return domain::container_stats(store.containers(), std::get<Container>(one));
}

Result<int> run_stats(const Parsed& options) {
  const DomainStore store;
  std::vector<Domain> wanted;
  if (options.has("NAME")) {
    for (const std::string& name : options.all("NAME")) {
      TRY_ASSIGN(Domain one, store.find(name));
      wanted.push_back(std::move(one));
    }
  } else {
    TRY_ASSIGN(const auto all, store.list());
    for (const Domain& one : all) {
      if (store.running(one)) wanted.push_back(one);
    }
  }
  // Use is a difference of two looks.
  constexpr unsigned between_us = 500'000;
  std::vector<u64> before;
  for (const Domain& one : wanted) {
    auto stats = stats_of(store, one);
    if (!stats && options.has("NAME")) return std::unexpected(std::move(stats.error()));
    before.push_back(stats ? stats->cpu_ns : 0);
  }
  if (!wanted.empty()) ::usleep(between_us);
  Table table{{"name", "cpu-percent", "memory", "memory-limit", "processes", "cpu-seconds", "read", "written", "oom-kills"}, {}};
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto stats = stats_of(store, wanted[i]);
    if (!stats) continue;  // it ended meanwhile
    table.rows.push_back(stats_row(domain::name_of(wanted[i]), *stats, static_cast<double>(stats->cpu_ns - before[i]) / (between_us * 1e3)));
  }
  print(render(table, options.last("output")));
  return 0;
}

CommandSpec stats_command() {
  return {.name = "stats",
          .summary = "show what machines and containers use: CPU, memory, processes, disks",
          .examples = {{"nagaya stats", "of all that run"}, {"nagaya stats -f json web", "of one, for a program"}},
          .options = {format_option(), names_argument()},
          .sections = {{"Units", "Memory and disks in bytes; CPU in percent of one CPU over half a second. A machine's are those of its process: threads, the memory it holds "
                                 "of this host, and as limit what the guest was given.", {}}},
          .run = run_stats};
}

/// Until it ends (its exit code), or until the user leaves (0).
Result<int> at_machine_console(const domain::MachineStore& store, const Machine& machine, bool input) {
  TRY(domain::has_console(machine));
  const bool terminal = input && host::is_terminal(STDIN_FILENO);
  TRY_ASSIGN(const host::SignalFd signals, host::SignalFd::create({SIGINT, SIGTERM, SIGHUP}));
  std::optional<host::RawTerminal> raw;
  if (terminal) {
    TRY_ASSIGN(host::RawTerminal entered, host::RawTerminal::enter(STDIN_FILENO));
    raw.emplace(std::move(entered));
  }
  const auto end = domain::visit_console(store, machine, {.input = input ? STDIN_FILENO : -1, .output = STDOUT_FILENO, .leave = signals.fd(),
                                                          .leave_key = terminal ? '\x1d' : '\0'});
  raw.reset();
  if (!end) return std::unexpected(end.error());
  if (*end == domain::VisitEnd::machine_ended) return domain::machine_exit_code(machine);
  if (terminal) fmt::print(stderr, "\nnagaya: '{0}' goes on; 'nagaya attach {0}' comes back\n", machine.spec.name);
  return 0;
}

CommandSpec attach_command() {
  return {.name = "attach",
          .summary = "make this terminal the console of a machine or container that runs",
          .examples = {{"nagaya attach web", "Ctrl-] leaves it running"}, {"nagaya attach --no-stdin web", "only look"}},
          .options = {{"--no-stdin", "", "give it no input"}, {"--no-signals", "", "keep signals to this command to itself"}, name_argument()},
          .run = [](const Parsed& options) -> Result<int> {
            const DomainStore store;
            TRY_ASSIGN(const Domain one, one_domain(store, options, "attach"));
            if (const auto* machine = std::get_if<Machine>(&one)) {
              return at_machine_console(store.machines(), *machine, !options.has("no-stdin"));
            }
            const auto& container = std::get<Container>(one);
            return at_console(container, {.input = container.definition.interactive && !options.has("no-stdin"),
                                          .terminal = container.definition.terminal,
                                          .relay_signals = !options.has("no-signals")});
          }};
}

}  // namespace

std::vector<CommandSpec> look_commands() {
  return {ps_command(), logs_command(), inspect_command(), port_command(), top_command(), stats_command(), attach_command()};
}

}  // namespace nagaya::cli
