#include "cli/launch.hpp"

#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "cli/signal_save.hpp"
#include "domain/machine_control.hpp"
#include "host/fd.hpp"
#include "host/signal.hpp"
#include "host/terminal_mode.hpp"
#include "proto/exit_codes.hpp"

namespace nagaya::cli {

namespace {

// Descriptors the machine's process gets beside 0, 1, 2.
constexpr int config_fd = 3, status_fd = 4;
constexpr int first_given_fd = 5;

std::string folder_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

Result<host::Fd> as_file(const std::string& text) {
  TRY_ASSIGN(host::Fd file, host::Fd::memfd("config", 0));
  TRY(host::write_all(file.get(), text));
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return fail_errno("cannot hand over the configuration");
  return file;
}

// What came of a save by signal.
void go_on_saving(SignalSave& save, bool quiet) {
  const auto line = save.proceed();
  if (!line) return complain(line.error());
  if (*line && !quiet) std::fprintf(stderr, "nagaya: %s\n", (*line)->c_str());
}

// Passes signals on until the child has ended. Gives the first signal that asked for the end, or 0.
int relay_signals(const host::Process& child, const host::SignalFd& signals, SignalSave& save, bool quiet) {
  using Clock = std::chrono::steady_clock;
  constexpr auto patience = std::chrono::seconds(5);
  int ended_by = 0;
  Clock::time_point kill_at{};
  for (;;) {
    int timeout = -1;
    if (ended_by != 0) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(kill_at - Clock::now()).count();
      if (left <= 0) child.send(SIGKILL);
      timeout = left <= 0 ? 1000 : static_cast<int>(left) + 1;
    }
    pollfd watched[] = {{child.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}, {save.fd(), POLLIN, 0}};
    if (::poll(watched, 3, timeout) < 0 && errno != EINTR) return ended_by;
    // First: a machine that ends with its save has answered before.
    if (watched[2].revents != 0) go_on_saving(save, quiet);
    if (watched[0].revents != 0) return ended_by;
    while (int signal = signals.next()) {
      if (signal == SIGUSR1) {
        if (auto begun = save.begin(); !begun) complain(begun.error());
      } else if (ended_by == 0) {
        // The first asks; a machine that does not answer is killed after a while, or at once when asked again.
        ended_by = signal;
        kill_at = Clock::now() + patience;
        child.send(SIGTERM);
      } else {
        child.send(SIGKILL);
      }
    }
  }
}

int tell_outcome(const host::ExitStatus& status, const LaunchEnd& end, bool quiet) {
  if (end.signal != 0) return 128 + end.signal;
  if (const auto& outcome = end.outcome) {
    if (outcome->outcome == proto::Outcome::failed) {
      complain(Error{outcome->detail.empty() ? outcome->sentence() : outcome->detail});
    } else if (!quiet) {
      std::fprintf(stderr, "nagaya: %s\n", outcome->sentence().c_str());
    }
    return outcome->exit_code();
  }
  if (status.signalled) {
    complain(Error{"the machine's process was killed", fmt::format("signal {} ({})", status.value, ::strsignal(status.value)), {}});
    return status.shell_status();
  }
  // It ended before there was a machine, and has said why itself.
  return status.value == 0 ? 0 : int{proto::exit_failure};
}

}  // namespace

void complain(const Error& error) { std::fprintf(stderr, "nagaya: %s\n", error.message().c_str()); }

Result<std::string> vmm_path() { return helper_path("nagaya-vmm"); }

Result<std::string> helper_path(const std::string& name) {
  std::string folder = folder_of(host::own_program_path());
  for (const std::string& path : {folder + "/" + name, folder_of(folder) + "/libexec/nagaya/" + name}) {
    if (::access(path.c_str(), X_OK) == 0) return path;
    if (errno != ENOENT && errno != ENOTDIR) return fail_errno(fmt::format("cannot run '{}'", path));
  }
  return fail_errno(fmt::format("cannot find {} beside '{}/nagaya'", name, folder), ENOENT, "install both, or build them with 'make build'");
}

int start_failure_code(const Error& error) { return error.code == ENOENT ? 127 : 126; }

Result<int> run_machine(const proto::VmConfig& wanted, const LaunchOptions& launch) {
  auto program = vmm_path();
  if (!program) {
    complain(program.error());
    return start_failure_code(program.error());
  }
  TRY_ASSIGN(SignalSave save, SignalSave::create(wanted.save_file, wanted.save_then_exit));
  host::Fd save_end = save.take_other_end();
  proto::VmConfig config = wanted;
  config.save_file.clear();
  config.save_then_exit = false;
  TRY_ASSIGN(host::Fd config_file, as_file(config.to_json()));
  TRY_ASSIGN(auto status_pipe, host::Fd::pipe());
  TRY_ASSIGN(host::SignalFd signals, host::SignalFd::create({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1}));
  host::TerminalMode terminal(STDIN_FILENO);

  host::SpawnOptions options{
      .program = *program,
      .args = {"--config-fd", std::to_string(config_fd), "--status-fd", std::to_string(status_fd)},
      .fds = {{config_file.get(), config_fd}, {status_pipe.second.get(), status_fd}},
      // Should we be killed, it still ends in order and gives the terminal back.
      .death_signal = SIGTERM,
      .in_child = launch.in_child,
  };
  int control_fd = first_given_fd;
  for (const host::ChildFd& given : launch.fds) control_fd = std::max(control_fd, given.theirs + 1);
  options.fds.insert(options.fds.end(), launch.fds.begin(), launch.fds.end());
  options.fds.push_back({save_end.get(), control_fd});
  options.args.insert(options.args.end(), {"--control-fd", std::to_string(control_fd)});
  if (launch.quiet) options.args.push_back("--quiet");
  auto child = host::Process::spawn(options);
  if (!child) {
    complain(child.error());
    return start_failure_code(child.error());
  }
  status_pipe.second.reset();
  save_end.reset();

  LaunchEnd end;
  end.signal = relay_signals(*child, signals, save, launch.quiet);
  TRY_ASSIGN(host::ExitStatus status, child->wait());
  domain::remove_sockets(config);
  terminal.restore();
  if (const auto line = host::read_all(status_pipe.first.get(), 64 * KiB, "the machine's outcome"); line && !line->empty()) {
    if (auto told = proto::VmOutcome::from_json(std::string(line->begin(), line->end()))) end.outcome = std::move(*told);
  }
  if (launch.end != nullptr) *launch.end = end;
  return tell_outcome(status, end, launch.quiet);
}

Result<std::string> ask_vmm(const std::string& argument) {
  TRY_ASSIGN(std::string program, vmm_path());
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  host::SpawnOptions options{.program = program, .args = {argument}, .fds = {{pipe.second.get(), STDOUT_FILENO}}};
  TRY_ASSIGN(host::Process child, host::Process::spawn(options));
  pipe.second.reset();
  TRY_ASSIGN(std::vector<u8> said, host::read_all(pipe.first.get(), MiB, "nagaya-vmm's answer"));
  TRY_ASSIGN(host::ExitStatus status, child.wait());
  if (status.shell_status() != 0) return fail(fmt::format("nagaya-vmm {}", argument), fmt::format("it ended with status {}", status.shell_status()));
  return std::string(said.begin(), said.end());
}

}  // namespace nagaya::cli
