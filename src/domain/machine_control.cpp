#include "domain/machine_control.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

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

}  // namespace

Result<proto::VmAnswer> command_machine(const Machine& machine, const proto::VmCommand& command, unsigned timeout_ms) {
  const std::string what = fmt::format("machine '{}'", machine.spec.name);
  auto socket = host::Fd::connect_unix(machine.places.control());
  if (!socket) {
    return fail(what, "it does not run, or is just starting or ending", fmt::format("'nagaya start {}' starts it", machine.spec.name));
  }
  TRY(host::write_all(socket->get(), command.to_json() + "\n"));
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

Result<> stop_machine(const MachineStore& store, const Machine& machine, unsigned seconds) {
  using Verb = proto::VmCommand::Verb;
  if (!store.running(machine)) return fail(fmt::format("machine '{}'", machine.spec.name), "it does not run");
  if (seconds > 0) {
    TRY(command_machine(machine, {.verb = Verb::powerdown}));
    if (ended_within(store, machine, std::chrono::seconds(seconds))) return {};
  }
  // The socket may go away under us, which is what we want.
  (void)command_machine(machine, {.verb = Verb::quit});
  if (ended_within(store, machine, std::chrono::seconds(10))) return {};
  return fail(fmt::format("machine '{}'", machine.spec.name), "its process does not end");
}

}  // namespace nagaya::domain
