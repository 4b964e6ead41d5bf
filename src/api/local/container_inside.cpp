#include "api/local/container_inside.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "api/local/commands.hpp"
#include "domain/console_protocol.hpp"
#include "domain/container_attach.hpp"
#include "domain/container_log.hpp"
#include "host/thread.hpp"

namespace nagaya::api {
namespace {

using domain::ConsoleWord;

bool reader_gone(int fd) {
  pollfd reader{fd, 0, 0};
  return ::poll(&reader, 1, 0) > 0;
}

std::optional<int> wait_code(const std::atomic<int>& code) {
  for (int i = 0; i < 200 && code < 0; i++) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return code < 0 ? std::optional<int>() : code.load();
}

/// A connection to the monitor, and how the container ended.
struct Console {
  host::Fd monitor;
  std::atomic<int> code = -1;
};

// What a person who comes now wants to see first.
std::string last_of_log(const domain::Container& container) {
  std::string out;
  (void)domain::read_log(container.places.log(), {.tail = 40}, [] { return true; }, [&](domain::Stream, std::string_view text) -> Result<> {
    out += text;
    return {};
  });
  std::string lines;
  for (const char c : out.substr(out.size() > 16 * KiB ? out.size() - 16 * KiB : 0)) {
    if (c == '\n' && !lines.ends_with('\r')) lines += '\r';
    lines += c;
  }
  return lines;
}

void carry(Console& console, const host::Fd& stream) {
  bool input = true;
  std::array<char, 16 * KiB> bytes;
  for (;;) {
    std::array<pollfd, 2> watched{{{console.monitor.get(), POLLIN, 0}, {input ? stream.get() : -1, POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return;
    if (watched[0].revents != 0) {
      bool gone = false;
      const auto message = domain::receive_console(console.monitor.get(), false, &gone);
      if (gone) return;
      if (message && (message->word == ConsoleWord::out || message->word == ConsoleWord::err)) {
        if (!host::write_all(stream.get(), message->bytes)) return;
      } else if (message && (message->word == ConsoleWord::exit || message->word == ConsoleWord::failure)) {
        console.code = std::atoi(message->bytes.c_str());
        return;
      }
    }
    if (watched[1].revents != 0) {
      const ssize_t got = ::read(stream.get(), bytes.data(), bytes.size());
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      // Leaving is not the end of its input: the container goes on.
      if (got <= 0) return;
      if (!domain::send_console(console.monitor.get(), ConsoleWord::input, {bytes.data(), static_cast<std::size_t>(got)}, true)) return;
    }
  }
}

std::vector<std::string> exec_words(const domain::Container& container, const Json& exec, bool terminal, bool input) {
  std::vector<std::string> words = {"exec"};
  if (input) words.emplace_back("--interactive");
  if (terminal) words.emplace_back("--tty");
  for (const std::string& one : exec.value("env", std::vector<std::string>{})) words.push_back("--env=" + one);
  if (terminal) words.emplace_back("--env=TERM=xterm-256color");
  if (exec.contains("workdir")) words.push_back("--workdir=" + exec["workdir"].get<std::string>());
  if (exec.contains("user")) words.push_back("--user=" + exec["user"].get<std::string>());
  // A name begins with a letter or a digit; all behind it is the program's.
  words.push_back(container.definition.name);
  for (const Json& word : exec.at("command")) words.push_back(word);
  return words;
}

/// A program of ours whose end is waited for on a thread of its own.
struct Program {
  host::Process process;
  std::atomic<int> code = -1;
};

void await_end(const std::shared_ptr<Program>& program) {
  host::start_thread("program", [program] {
    pollfd ended{program->process.fd(), POLLIN, 0};
    while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
    }
    const auto status = program->process.wait();
    program->code = status ? status->shell_status() : 125;
  }).detach();
}

// Asked politely first: `nagaya exec` passes the signal on to the program.
void let_go(const std::shared_ptr<Program>& program) {
  if (program->code >= 0) return;
  program->process.send(SIGHUP);
  host::start_thread("program", [program] {
    for (int i = 0; i < 40 && program->code < 0; i++) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (program->code < 0) program->process.send(SIGKILL);
  }).detach();
}

struct Pty {
  host::Fd master, slave;
};

Result<Pty> open_pty() {
  Pty out;
  out.master = host::Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!out.master) return fail_errno("cannot make a terminal");
  std::array<char, 128> name{};
  if (::grantpt(out.master.get()) != 0 || ::unlockpt(out.master.get()) != 0 || ::ptsname_r(out.master.get(), name.data(), name.size()) != 0) {
    return fail_errno("cannot make a terminal");
  }
  TRY_ASSIGN(out.slave, host::Fd::open(name.data(), O_RDWR | O_NOCTTY));
  const winsize usual{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
  ::ioctl(out.master.get(), TIOCSWINSZ, &usual);
  return out;
}

// A terminal's master knows no end of one direction, and its end is EIO: a socket stands in front of it.
void carry_terminal(const host::Fd& master, const host::Fd& stream, const Program& program) {
  std::array<char, 16 * KiB> bytes;
  for (;;) {
    std::array<pollfd, 2> watched{{{master.get(), POLLIN, 0}, {stream.get(), POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), 200) < 0 && errno != EINTR) return;
    if ((watched[0].revents & POLLIN) != 0) {
      const ssize_t got = ::read(master.get(), bytes.data(), bytes.size());
      if (got <= 0 || !host::write_all(stream.get(), std::string_view(bytes.data(), static_cast<std::size_t>(got)))) return;
    } else if ((watched[0].revents & (POLLHUP | POLLERR)) != 0 || (watched[0].revents == 0 && program.code >= 0)) {
      return;
    }
    if (watched[1].revents != 0) {
      const ssize_t got = ::read(stream.get(), bytes.data(), bytes.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0 || !host::write_all(master.get(), std::string_view(bytes.data(), static_cast<std::size_t>(got)))) return;
    }
  }
}

}  // namespace

Result<ByteStream> container_logs(const domain::ContainerStore& store, const domain::Container& container, const LogOptions& options) {
  if (::access(container.places.log().c_str(), R_OK) != 0) return std::unexpected(Error{"there is no log", "it has not been started yet", {}, ENOENT});
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  domain::LogOptions wanted{.follow = options.follow, .timestamps = options.timestamps};
  if (options.tail) wanted.tail = static_cast<i64>(*options.tail);
  host::start_thread("log", [store, container, wanted, sink = std::make_shared<host::Fd>(std::move(pipe.second))] {
    (void)domain::read_log(container.places.log(), wanted, [&] { return !store.running(container) || reader_gone(sink->get()); },
                           [&](domain::Stream, std::string_view text) { return host::write_all(sink->get(), text); });
  }).detach();
  return ByteStream{.bytes = std::move(pipe.first)};
}

Result<Terminal> container_console(const domain::Container& container) {
  auto monitor = domain::connect_console(container);
  if (!monitor) {
    monitor.error().code = EBUSY;
    return std::unexpected(std::move(monitor.error()));
  }
  TRY_ASSIGN(auto pair, host::Fd::socketpair());
  auto console = std::make_shared<Console>(std::move(*monitor));
  (void)domain::send_console(console->monitor.get(), ConsoleWord::attach, {}, true);
  host::start_thread("console", [console, before = last_of_log(container), stream = std::make_shared<host::Fd>(std::move(pair.second))] {
    if (host::write_all(stream->get(), before)) carry(*console, *stream);
    ::shutdown(stream->get(), SHUT_RDWR);
  }).detach();
  return Terminal{.stream = std::move(pair.first),
                  .resize = [console](u16 columns, u16 rows) {
                    (void)domain::send_console(console->monitor.get(), ConsoleWord::resize, fmt::format("{} {}", columns, rows), false);
                  },
                  .exit_code = [console] { return console->code < 0 ? std::optional<int>() : std::optional<int>(console->code.load()); }};
}

Result<Terminal> container_exec(const domain::Container& container, const Json& exec) {
  const bool terminal = exec.value("terminal", true);
  auto program = std::make_shared<Program>();
  TRY_ASSIGN(auto pair, host::Fd::socketpair());
  Terminal out{.stream = std::move(pair.first)};
  if (terminal) {
    TRY_ASSIGN(Pty pty, open_pty());
    TRY_ASSIGN(program->process, start_nagaya(exec_words(container, exec, true, true), {pty.slave.get(), pty.slave.get(), pty.slave.get()}));
    pty.slave.reset();
    auto master = std::make_shared<host::Fd>(std::move(pty.master));
    out.resize = [master, program](u16 columns, u16 rows) {
      const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
      ::ioctl(master->get(), TIOCSWINSZ, &size);
      // The terminal is nobody's controlling one: the kernel tells nobody.
      if (program->code < 0) program->process.send(SIGWINCH);
    };
    host::start_thread("exec", [master, program, stream = std::make_shared<host::Fd>(std::move(pair.second))] { carry_terminal(*master, *stream, *program); }).detach();
  } else {
    TRY_ASSIGN(auto errors, host::Fd::pipe());
    TRY_ASSIGN(program->process, start_nagaya(exec_words(container, exec, false, true), {pair.second.get(), pair.second.get(), errors.second.get()}));
    out.errors = std::move(errors.first);
  }
  await_end(program);
  out.exit_code = [program] { return wait_code(program->code); };
  out.keep = std::shared_ptr<void>(nullptr, [program](void*) { let_go(program); });
  return out;
}

Result<Json> container_run(const domain::Container& container, const Json& exec, const std::stop_token& stop) {
  const std::string input = exec.value("input", "");
  TRY_ASSIGN(const host::Fd given, host::Fd::memfd("input", 0));
  TRY(host::write_all(given.get(), input));
  if (::lseek(given.get(), 0, SEEK_SET) != 0) return fail_errno("cannot hand over the input");
  std::stop_source ending;
  const std::stop_callback gone(stop, [&] { ending.request_stop(); });
  std::atomic<bool> late = false, done = false;
  std::jthread clock([&, seconds = exec.value("timeout", 60)] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!done && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    if (done) return;
    late = true;
    ending.request_stop();
  });
  const auto end = run_command(exec_words(container, exec, false, true), ending.get_token(), {}, {.input = given.get(), .most_output = MiB, .most_errors = MiB});
  done = true;
  clock.join();
  if (!end && late) return std::unexpected(Error{"the program took too long, and was ended", {}, "give it more time with 'timeout'", ETIMEDOUT});
  if (!end) return std::unexpected(end.error());
  return Json{{"exitCode", end->code}, {"stdout", end->output}, {"stderr", end->errors}, {"truncated", end->truncated}};
}

Result<ByteStream> container_get_files(const domain::Container& container, const std::string& path) {
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  TRY_ASSIGN(auto errors, host::Fd::pipe());
  auto program = std::make_shared<Program>();
  TRY_ASSIGN(program->process, start_nagaya({"cp", container.definition.name + ":" + path, "-"}, {-1, pipe.second.get(), errors.second.get()}));
  pipe.second.reset();
  errors.second.reset();
  await_end(program);
  // A tar stream that never began is an error, not an empty answer. What it says on its way nobody would see.
  pollfd watched{pipe.first.get(), POLLIN, 0};
  while (::poll(&watched, 1, -1) < 0 && errno == EINTR) {
  }
  if ((watched.revents & POLLIN) == 0) {
    const auto said = host::read_all(errors.first.get(), 64 * KiB, "what was said");
    CommandEnd end{.code = 1, .errors = said ? std::string(said->begin(), said->end()) : std::string()};
    auto error = succeed(fmt::format("cannot read '{}'", path), end);
    error.error().code = ENOENT;
    return std::unexpected(std::move(error.error()));
  }
  auto keep = std::shared_ptr<void>(nullptr, [program, said = std::make_shared<host::Fd>(std::move(errors.first))](void*) { let_go(program); });
  return ByteStream{.bytes = std::move(pipe.first), .keep = std::move(keep)};
}

Result<> container_put_files(const domain::Container& container, const std::string& path, int tar) {
  TRY_ASSIGN(const CommandEnd end, run_command({"cp", "-", container.definition.name + ":" + path}, {}, {}, {.input = tar}));
  return succeed(fmt::format("cannot write to '{}'", path), end);
}

}  // namespace nagaya::api
