#include "domain/machine_control.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "domain/machine_policy.hpp"
#include "host/new_file.hpp"
#include "host/passing.hpp"

namespace nagaya::domain {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Until the machine's lock is free, at most that long.
bool ended_within(const MachineStore& store, const Machine& machine, milliseconds limit) {
  const auto end = Clock::now() + limit;
  while (store.running(machine)) {
    if (Clock::now() >= end) return false;
    std::this_thread::sleep_for(milliseconds(20));
  }
  return true;
}

/// One command, with an open file unless `file` is -1, and its answer.
Result<proto::VmAnswer> ask(const Machine& machine, const proto::VmCommand& command, int file, unsigned timeout_ms) {
  const std::string what = fmt::format("machine '{}'", machine.spec.name);
  auto socket = host::Fd::connect_unix(machine.places.control());
  if (!socket) {
    return fail(what, "it does not run, or is just starting or ending", fmt::format("'nagaya start {}' starts it", machine.spec.name));
  }
  const std::string text = command.to_json() + "\n";
  TRY(file < 0 ? host::write_all(socket->get(), text) : host::send_with_file(socket->get(), text, file));
  const auto end = Clock::now() + milliseconds(timeout_ms);
  std::string line;
  while (line.find('\n') == std::string::npos) {
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now()).count();
    pollfd wait{socket->get(), POLLIN, 0};
    const int ready = left > 0 ? ::poll(&wait, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail(what, "no answer from its process");
    char buffer[4096];
    const ssize_t got = ::read(socket->get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fail(what, "its process ended meanwhile");
    line.append(buffer, static_cast<std::size_t>(got));
    if (line.size() > 4 * MiB) return fail(what, "its process answers without end");
  }
  TRY_ASSIGN(auto answer, proto::VmAnswer::from_json(line.substr(0, line.find('\n'))));
  if (!answer.ok) return fail(what, answer.error);
  return answer;
}

void remove_socket(const std::string& path) {
  struct stat info {};
  if (path.empty() || ::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
  // Another process may listen there by now.
  if (auto other = host::Fd::connect_unix(path); !other && other.error().code == ECONNREFUSED) ::unlink(path.c_str());
}

}  // namespace

Result<proto::VmAnswer> command_machine(const Machine& machine, const proto::VmCommand& command, unsigned timeout_ms) {
  return ask(machine, command, -1, timeout_ms);
}

Result<> save_machine(const Machine& machine, const std::string& path, bool then_exit, unsigned timeout_ms) {
  TRY_ASSIGN(auto file, host::NewFile::create(path));
  TRY(ask(machine, {.verb = proto::VmCommand::Verb::save, .file = path, .then_exit = then_exit}, file.fd(), timeout_ms));
  return file.commit();
}

void remove_sockets(const proto::VmConfig& config) {
  using Type = proto::CharConfig::Type;
  remove_socket(config.control);
  if (config.vsock) remove_socket(config.vsock->path);
  for (const auto& port : config.serial) {
    if (port.type == Type::socket) remove_socket(port.path);
  }
  for (const auto& port : config.consoles) {
    if (port.where.type == Type::socket) remove_socket(port.where.path);
  }
}

Result<> hold_machine(const Machine& machine, bool pause) {
  using Verb = proto::VmCommand::Verb;
  TRY_ASSIGN(const auto now, command_machine(machine, {}));
  if (now.status != (pause ? "running" : "paused")) {
    return std::unexpected(Error{fmt::format("machine '{}'", machine.spec.name), fmt::format("it is {}", now.status), {}, EBUSY});
  }
  TRY(command_machine(machine, {.verb = pause ? Verb::pause : Verb::resume}));
  return {};
}

int machine_exit_code(const Machine& machine) {
  if (const auto bytes = host::read_file(machine.places.ended(), 64)) return std::atoi(std::string(bytes->begin(), bytes->end()).c_str());
  return ::access(machine.places.console_log().c_str(), F_OK) == 0 ? 128 + SIGKILL : 0;
}

Result<> signal_machine(const MachineStore& store, const Machine& machine, int signal) {
  using Verb = proto::VmCommand::Verb;
  const std::string what = fmt::format("machine '{}'", machine.spec.name);
  if (!store.running(machine)) return std::unexpected(Error{what, "it does not run", fmt::format("'nagaya start {}' starts it", machine.spec.name), EBUSY});
  if (signal == SIGKILL) {
    TRY(command_machine(machine, {.verb = Verb::quit}));
    // One with a policy may be started again at once.
    if (MachinePolicy::read(machine).restart.when != RestartPolicy::When::no) return {};
    return ended_within(store, machine, std::chrono::seconds(10)) ? Result<>() : fail(what, "its process does not end");
  }
  if (signal == SIGTERM || signal == SIGINT) {
    TRY(command_machine(machine, {.verb = Verb::powerdown}));
    return {};
  }
  return std::unexpected(Error{fmt::format("signal {} to {}", signal, what), "a machine knows KILL (its end at once), TERM and INT (its power button)",
                               fmt::format("'nagaya exec {} kill' sends signals to processes in it", machine.spec.name), EOPNOTSUPP});
}

Result<> ask_machine_to_stop(const MachineStore& store, const Machine& machine) {
  constexpr auto patience = std::chrono::seconds(5);
  TRY(mark_stopped(machine));
  for (const auto end = Clock::now() + patience;;) {
    auto asked = command_machine(machine, {.verb = proto::VmCommand::Verb::powerdown});
    if (asked || !store.running(machine)) return {};
    if (Clock::now() >= end) return std::unexpected(std::move(asked.error()));
    std::this_thread::sleep_for(milliseconds(20));
  }
}

Result<> stop_machine(const MachineStore& store, const Machine& machine, unsigned seconds) {
  if (!store.running(machine)) return fail(fmt::format("machine '{}'", machine.spec.name), "it does not run");
  TRY(mark_stopped(machine));
  if (seconds > 0) {
    TRY(ask_machine_to_stop(store, machine));
    if (ended_within(store, machine, std::chrono::seconds(seconds))) return {};
  }
  // The socket may go away under us, which is what we want.
  (void)command_machine(machine, {.verb = proto::VmCommand::Verb::quit});
  if (ended_within(store, machine, std::chrono::seconds(10))) return {};
  return fail(fmt::format("machine '{}'", machine.spec.name), "its process does not end");
}

}  // namespace nagaya::domain
