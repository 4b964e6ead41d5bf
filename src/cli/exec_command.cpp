#include "cli/exec_command.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "agent/client.hpp"
#include "agent/exec_client.hpp"
#include "cli/run_container.hpp"
#include "domain/container_control.hpp"
#include "domain/domain_store.hpp"
#include "host/dirs.hpp"
#include "host/signal.hpp"
#include "host/terminal.hpp"
#include "proto/device_config.hpp"

namespace nagaya::cli {

namespace {

/// A guest that has just been started gets so long until its agent answers.
constexpr int patience_ms = 60'000;
/// Signals that a command may ignore before we go without it.
constexpr int most_ignored = 3;

// "K=V", or "K" with our own value.
Result<std::vector<std::string>> environment_of(const Parsed& options, bool terminal) {
  std::vector<std::string> out;
  if (const char* term = std::getenv("TERM"); terminal && term != nullptr) out.push_back(fmt::format("TERM={}", term));
  for (const std::string& item : options.all("env")) {
    const std::size_t equals = item.find('=');
    if (equals == 0 || item.empty()) return fail(fmt::format("--env {}", item), "the name is missing", "write NAME=VALUE");
    if (equals != std::string::npos) {
      out.push_back(item);
    } else if (const char* value = std::getenv(item.c_str())) {
      out.push_back(item + "=" + value);
    }
  }
  return out;
}

// What a shell says of a command that could not be started; 125 for anything else.
int start_code(int code) {
  switch (code) {
    case ENOENT: return 127;
    case EACCES:
    case EPERM:
    case ENOEXEC:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ETXTBSY:
    case E2BIG: return 126;
    default: return 0;
  }
}

struct Relay {
  const host::SignalFd& signals;
  int connection;
  bool terminal;
  int last = 0, count = 0;

  std::vector<agent::Frame> frames() {
    std::vector<agent::Frame> out;
    while (const int signal = signals.next()) {
      if (signal == SIGWINCH) {
        if (!terminal) continue;
        const host::TerminalSize size = host::terminal_size(STDIN_FILENO);
        out.push_back({agent::Kind::resize, agent::encode(agent::Resize{static_cast<u16>(size.columns), static_cast<u16>(size.rows)})});
      } else {
        last = signal;
        // The connection's end takes the command with it.
        if (++count > most_ignored) ::shutdown(connection, SHUT_RDWR);
        out.push_back({agent::Kind::signal, {static_cast<u8>(signal)}});
      }
    }
    return out;
  }
};

Result<int> exec_inside(const domain::DomainStore& store, const domain::Container& container, std::vector<std::string> command, const Parsed& options) {
  const bool terminal = options.has("tty"), input = options.has("interactive"), detach = options.has("detach");
  if (terminal && input && !host::is_terminal(STDIN_FILENO)) return fail("-t", "standard input is no terminal", "leave -t out");
  if (detach && (terminal || input)) return fail("-d", "a program in the background has no terminal and no input", "leave -t and -i out");
  domain::ExecRequest request{.command = std::move(command), .user = options.last("user"), .workdir = options.last("workdir"), .terminal = terminal, .detach = detach,
                              .privileged = options.has("privileged")};
  TRY_ASSIGN(request.env, environment_of(options, terminal));
  if (!input || detach) {
    TRY_ASSIGN(const host::Fd nothing, host::Fd::open("/dev/null", O_RDONLY));
    if (!terminal) ::dup2(nothing.get(), STDIN_FILENO);
  }
  auto code = domain::exec_in_container(store.containers(), container, image_config(container.definition), request);
  if (code) return code;
  const int told = start_code(code.error().code);
  if (told == 0) return std::unexpected(std::move(code.error()));
  fmt::print(stderr, "nagaya: {}\n", code.error().message());
  return told;
}

Result<int> run_exec_command(const Parsed& options) {
  const std::vector<std::string>& words = options.all("COMMAND");
  if (words.empty()) return fail("nagaya exec", "nothing is named", "write nagaya exec NAME COMMAND");
  if (words.size() < 2) return fail("nagaya exec", "no command is given", fmt::format("write nagaya exec {} COMMAND", words[0]));
  const domain::DomainStore store;
  // A machine need not be one of ours by name: its sockets tell.
  if (const auto one = store.find(words[0])) {
    if (const auto* container = std::get_if<domain::Container>(&*one)) return exec_inside(store, *container, {words.begin() + 1, words.end()}, options);
  }
  for (const char* option : {"detach", "privileged"}) {
    if (options.has(option)) return fail(fmt::format("--{}", option), "containers have this");
  }
  return exec_in_machine(words[0], {words.begin() + 1, words.end()}, options, patience_ms);
}

}  // namespace

Result<int> exec_in_machine(const std::string& name, std::vector<std::string> command, const Parsed& options, int patience_ms) {
  TRY_ASSIGN(const std::string socket, agent_socket(name));
  const bool terminal = options.has("tty"), input = options.has("interactive");
  if (terminal && input && !host::is_terminal(STDIN_FILENO)) {
    return fail("-t", "standard input is no terminal", "leave -t out");
  }
  agent::ExecRequest request{.command = std::move(command),
                             .folder = options.last("workdir"),
                             .user = options.last("user"),
                             .terminal = terminal,
                             .input = input || terminal};
  TRY_ASSIGN(request.environment, environment_of(options, terminal));
  if (terminal) {
    const host::TerminalSize size = host::terminal_size(host::is_terminal(STDIN_FILENO) ? STDIN_FILENO : STDOUT_FILENO);
    request.columns = static_cast<u16>(size.columns);
    request.rows = static_cast<u16>(size.rows);
  }

  TRY_ASSIGN(agent::Channel channel, agent::connect(socket, patience_ms));
  TRY_ASSIGN(const host::SignalFd signals, host::SignalFd::create({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH}));
  std::optional<host::RawTerminal> raw;
  if (terminal && input) {
    TRY_ASSIGN(auto entered, host::RawTerminal::enter(STDIN_FILENO));
    raw.emplace(std::move(entered));
  }
  Relay relay{signals, channel.fd(), terminal};
  const agent::ExecStreams streams{.input = input ? STDIN_FILENO : -1, .signals = signals.fd(), .on_signals = [&] { return relay.frames(); }};
  auto ended = agent::run_exec(channel, request, streams);
  raw.reset();
  if (!ended) {
    if (relay.count > most_ignored) return 128 + relay.last;
    const int code = start_code(ended.error().code);
    if (code == 0) return std::unexpected(std::move(ended.error()));
    fmt::print(stderr, "nagaya: {}\n", ended.error().message());
    return code;
  }
  return static_cast<int>(ended->signalled ? 128 + ended->value : ended->value);
}

Result<std::string> agent_socket(const std::string& name) {
  if (!proto::plain_name(name)) return fail(fmt::format("'{}' is no machine's name", name), "names have letters, digits, '-', '_' and '.'");
  return fmt::format("{}/vm/{}/vsock.sock", host::runtime_dir(), name);
}

CommandSpec exec_command() {
  return {
      .name = "exec",
      .summary = "run a command inside a running machine or container",
      .examples = {{"nagaya exec web uname -a", "in the machine or container called web"},
                   {"nagaya exec -i -t web bash", "a shell, on this terminal"},
                   {"nagaya exec -u www-data -w /srv -e LANG=C web ls -l", "as another user, in a folder, with a variable"},
                   {"tar c site | nagaya exec -i web tar x -C /srv", "standard input goes along"}},
      .options = {{"-i,--interactive", "", "give it our standard input"},
                  {"-t,--tty", "", "give it a terminal"},
                  {"-e,--env", "K=V", "set a variable; K alone takes our value", Completes::nothing, {}, false, true},
                  {"-w,--workdir", "DIR", "folder to run in (default: in a machine the user's home, in a container its working folder)"},
                  {"-u,--user", "USER", "user, by name or number, also USER:GROUP (default: root)"},
                  {"-d,--detach", "", "in a container: in the background"},
                  {"--privileged", "", "in a container: with all rights of its user namespace"},
                  {.flags = "COMMAND", .value = "NAME COMMAND", .help = "the machine or container, then the command with its arguments", .rest = true}},
      .sections = {{"Agent", "A machine needs a vsock, and nagaya-agent running inside; images made by nagaya build have it.", {}},
                   {"Exit codes of exec", {},
                    {{"n", "the command's own"},
                     {"125", "our own error: no such machine or container, no agent"},
                     {"126", "the command cannot be run"},
                     {"127", "there is no such command"},
                     {"128+n", "the command was killed by signal n"}}}},
      .run = run_exec_command,
  };
}

}  // namespace nagaya::cli
