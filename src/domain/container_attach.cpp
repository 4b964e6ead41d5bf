#include "domain/container_attach.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "domain/console_protocol.hpp"
#include "host/signal.hpp"
#include "host/terminal.hpp"

namespace nagaya::domain {
namespace {

void send_size(int socket) {
  const host::TerminalSize size = host::terminal_size(STDIN_FILENO);
  (void)send_console(socket, ConsoleWord::resize, fmt::format("{} {}", size.columns, size.rows), true);
}

/// One message from the monitor; true at the end.
bool take(const ConsoleMessage& message, AttachResult& result) {
  switch (message.word) {
    case ConsoleWord::out: (void)host::write_all(STDOUT_FILENO, message.bytes); return false;
    case ConsoleWord::err: (void)host::write_all(STDERR_FILENO, message.bytes); return false;
    case ConsoleWord::exit: result.exit_code = std::atoi(message.bytes.c_str()); return true;
    case ConsoleWord::failure: {
      const std::size_t space = message.bytes.find(' ');
      result.exit_code = std::atoi(message.bytes.c_str());
      result.failure = Error{space == std::string::npos ? message.bytes : message.bytes.substr(space + 1)};
      return true;
    }
    default: return false;
  }
}

/// What the user typed. False: nothing more is read.
bool forward_input(int socket, const AttachOptions& options, bool& detach) {
  std::array<char, 16 * KiB> buffer;
  const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  if (got == 0) {
    (void)send_console(socket, ConsoleWord::input_end, {}, true);
    return false;
  }
  std::string_view typed(buffer.data(), static_cast<std::size_t>(got));
  if (options.terminal) {
    if (const std::size_t at = typed.find(options.detach_key); at != typed.npos) {
      typed = typed.substr(0, at);
      detach = true;
    }
  }
  if (!typed.empty()) (void)send_console(socket, ConsoleWord::input, typed, true);
  return true;
}

}  // namespace

Result<host::Fd> connect_console(const Container& container) {
  auto socket = host::Fd::connect_unix(container.places.control(), SOCK_SEQPACKET);
  if (!socket) return fail(fmt::format("cannot reach container '{}'", container.definition.name), socket.error().why, "is it running? 'nagaya ps -a' tells");
  return socket;
}

Result<AttachResult> attach_console(const host::Fd& socket, const AttachOptions& options) {
  AttachResult result;
  TRY_ASSIGN(const host::SignalFd signals, options.relay_signals ? host::SignalFd::create({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH})
                                                                 : host::SignalFd::create({SIGWINCH}));
  std::optional<host::RawTerminal> raw;
  if (options.terminal && options.input && host::is_terminal(STDIN_FILENO)) {
    TRY_ASSIGN(host::RawTerminal entered, host::RawTerminal::enter(STDIN_FILENO));
    raw.emplace(std::move(entered));
  }
  (void)send_console(socket.get(), ConsoleWord::attach, {}, true);
  if (options.terminal) send_size(socket.get());
  if (options.start) (void)send_console(socket.get(), ConsoleWord::go, {}, true);
  if (!options.input && options.start) (void)send_console(socket.get(), ConsoleWord::input_end, {}, true);
  bool reading = options.input, detach = false;
  for (;;) {
    std::array<pollfd, 3> watched{{{socket.get(), POLLIN, 0}, {reading ? STDIN_FILENO : -1, POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return fail_errno("cannot wait for the container");
    if (watched[0].revents != 0) {
      bool gone = false;
      const auto message = receive_console(socket.get(), false, &gone);
      if (gone) return fail("the container's monitor has gone");
      if (message && take(*message, result)) return result;
    }
    if (watched[1].revents != 0) reading = forward_input(socket.get(), options, detach);
    if (detach) {
      result.detached = true;
      return result;
    }
    while (const int signal = signals.next()) {
      if (signal == SIGWINCH) {
        if (options.terminal) send_size(socket.get());
      } else {
        (void)send_console(socket.get(), ConsoleWord::signal, std::to_string(signal), true);
      }
    }
  }
}

}  // namespace nagaya::domain
