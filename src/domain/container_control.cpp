#include "domain/container_control.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/signal_name.hpp"
#include "container/spec/parse.hpp"
#include "domain/console_protocol.hpp"
#include "domain/container_attach.hpp"
#include "domain/container_spec.hpp"

namespace nagaya::domain {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto start_patience = std::chrono::seconds(30);

Result<ContainerStatus> running(const ContainerStore& store, const Container& container) {
  ContainerStatus status = store.status(container);
  if (status.phase == ContainerStatus::Phase::running && status.pid > 0) return status;
  return fail(fmt::format("container '{}' does not run", container.definition.name), {}, fmt::format("'nagaya start {}' starts it", container.definition.name));
}

bool ended(const host::Fd& process, int timeout_ms) {
  pollfd wait{process.get(), POLLIN, 0};
  return !process || ::poll(&wait, 1, timeout_ms) > 0;
}

/// Others than root have their containers in a user namespace: what is done to one is done from there.
Result<> enter_monitor(const ContainerStatus& status) {
  if (::geteuid() == 0) return {};
  const host::Fd process = status.monitor_process();
  if (!process || ::syscall(SYS_setns, process.get(), CLONE_NEWUSER | CLONE_NEWNS) != 0) return fail_errno("cannot join the container's user namespace");
  return {};
}

}  // namespace

Result<int> parse_signal(const std::string& text) {
  const int number = signal_of_name(text);
  if (number <= 0) return fail(fmt::format("there is no signal '{}'", text));
  return number;
}

Result<> ask_container_to_stop(const ContainerStore& store, const Container& container, const image::OciConfig& image) {
  TRY_ASSIGN(const host::Fd console, connect_console(container));
  (void)send_console(console.get(), ConsoleWord::no_restart, {}, true);
  const std::string& said = !container.definition.stop_signal.empty() ? container.definition.stop_signal : image.stop_signal;
  // systemd takes this one for a shutdown; on SIGTERM it would start itself anew.
  TRY_ASSIGN(const int signal, said.empty() ? Result<int>(container.definition.system ? SIGRTMIN + 3 : SIGTERM) : parse_signal(said));
  if (container_paused(container)) (void)resume_container(store, container);
  (void)send_console(console.get(), ConsoleWord::signal, std::to_string(signal), true);
  return {};
}

Result<> stop_container(const ContainerStore& store, const Container& container, const image::OciConfig& image, unsigned seconds) {
  ContainerStatus status = store.status(container);
  if (!store.running(container)) {
    // Its monitor may have been killed: then what it has left goes now.
    if (auto held = store.lock(container)) {
      store.clear_leftovers(container);
      status.stopped = true;
      (void)store.write_status(container, status);
    }
    return {};
  }
  // Just starting or ending it listens not yet, or not any more.
  Result<> asked = ask_container_to_stop(store, container, image);
  for (const auto end = Clock::now() + start_patience; !asked && store.running(container) && Clock::now() < end;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    asked = ask_container_to_stop(store, container, image);
  }
  if (!asked && store.running(container)) return asked;
  TRY_ASSIGN(auto code, wait_container(store, container, static_cast<int>(std::min(seconds, 86400u)) * 1000));
  if (code) return {};
  if (const auto console = connect_console(container)) (void)send_console(console->get(), ConsoleWord::signal, std::to_string(SIGKILL), true);
  TRY_ASSIGN(code, wait_container(store, container, 10'000));
  if (code) return {};
  return fail(fmt::format("container '{}' does not end", container.definition.name), "a process in it hangs in the kernel");
}

Result<> kill_container(const ContainerStore& store, const Container& container, int signal) {
  TRY_ASSIGN(const ContainerStatus status, running(store, container));
  TRY(enter_monitor(status));
  return container::kill(container.places.oci, container.definition.name, signal, false);
}

Result<> pause_container(const ContainerStore& store, const Container& container) {
  TRY(running(store, container));
  return container::pause(container.places.oci, container.definition.name);
}

Result<> resume_container(const ContainerStore& store, const Container& container) {
  TRY(running(store, container));
  return container::resume(container.places.oci, container.definition.name);
}

bool container_paused(const Container& container) {
  const auto state = container::state(container.places.oci, container.definition.name);
  return state && state->status == container::Status::paused;
}

Result<> update_container(const ContainerStore& store, Container& container, const DomainLimits& limits, const std::optional<RestartPolicy>& restart) {
  TRY(limits.validate());
  Container changed = container;
  changed.definition.limits = limits;
  if (restart) changed.definition.restart = *restart;
  TRY(changed.definition.validate());
  if (running(store, container)) {
    TRY_ASSIGN(const auto resources, limits_as_resources(limits));
    TRY(container::update(container.places.oci, container.definition.name, resources));
  }
  TRY(store.save(changed));
  container = std::move(changed);
  return {};
}

Result<std::optional<int>> wait_container(const ContainerStore& store, const Container& container, int timeout_ms) {
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms < 0 ? 0 : timeout_ms);
  while (store.running(container)) {
    const ContainerStatus status = store.status(container);
    const host::Fd monitor = status.monitor > 0 ? status.monitor_process() : host::Fd();
    if (monitor) {
      if (!ended(monitor, timeout_ms)) return std::optional<int>();
    } else {
      if (timeout_ms >= 0 && Clock::now() >= end) return std::optional<int>();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  return std::optional<int>(store.status(container).exit_code);
}

Result<cgroup::Stats> container_stats(const ContainerStore& store, const Container& container) {
  TRY(running(store, container));
  TRY_ASSIGN(const auto state, container::state(container.places.oci, container.definition.name));
  TRY_ASSIGN(const auto group, container::group_of(state));
  return group.stats();
}

Result<std::vector<pid_t>> container_processes(const ContainerStore& store, const Container& container) {
  TRY(running(store, container));
  return container::processes(container.places.oci, container.definition.name);
}

Result<int> exec_in_container(const ContainerStore& store, const Container& container, const image::OciConfig& image, const ExecRequest& request) {
  TRY_ASSIGN(const ContainerStatus status, running(store, container));
  TRY(enter_monitor(status));
  TRY_ASSIGN(const std::string text, container::configuration(container.places.oci, container.definition.name));
  TRY_ASSIGN(const container::Spec spec, container::parse_spec(text));
  container::ExecOptions options;
  options.state_root = container.places.oci;
  options.id = container.definition.name;
  options.process = spec.process.value_or(container::Process{});
  options.detach = request.detach;
  options.pid_file = request.pid_file;
  auto& process = options.process;
  process.args = request.command;
  process.terminal = request.terminal;
  process.console_size.reset();
  if (!request.workdir.empty()) process.cwd = request.workdir;
  ContainerUser user{.uid = process.user.uid, .gid = process.user.gid, .groups = process.user.additional_gids};
  if (!request.user.empty()) {
    TRY_ASSIGN(user, resolve_user(fmt::format("/proc/{}/root", status.pid), request.user));
    process.user.uid = user.uid;
    process.user.gid = user.gid;
    process.user.additional_gids = user.groups;
    if (process.capabilities) {
      auto& caps = *process.capabilities;
      caps.effective = caps.permitted = user.uid == 0 ? caps.bounding : std::vector<std::string>{};
    }
  }
  ContainerDefinition definition = container.definition;
  definition.terminal = request.terminal;
  definition.env.insert(definition.env.end(), request.env.begin(), request.env.end());
  process.env = container_env(definition, image, user);
  return container::exec(options);
}

}  // namespace nagaya::domain
