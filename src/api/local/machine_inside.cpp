#include "api/local/machine_inside.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <mutex>
#include <sstream>
#include <thread>

#include "agent/client.hpp"
#include "agent/copy/copy.hpp"
#include "agent/exec_client.hpp"
#include "api/local/log_stream.hpp"
#include "base/log.hpp"
#include "domain/machine_console.hpp"
#include "domain/machine_control.hpp"
#include "host/thread.hpp"

namespace nagaya::api {
namespace {

constexpr int patience_ms = 3000;
constexpr std::size_t most_output = MiB;

Result<agent::Channel> connect(const domain::Machine& machine) {
  auto channel = agent::connect(machine.places.vsock(), patience_ms);
  if (!channel) {
    Error error = std::move(channel.error()).within(fmt::format("machine '{}'", machine.spec.name));
    error.code = ENOTCONN;
    return std::unexpected(std::move(error));
  }
  return channel;
}

agent::ExecRequest request_of(const Json& exec, bool terminal, bool input) {
  agent::ExecRequest out{.command = exec.at("command").get<std::vector<std::string>>(),
                         .environment = exec.value("env", std::vector<std::string>{}),
                         .folder = exec.value("workdir", ""),
                         .user = exec.value("user", ""),
                         .terminal = terminal,
                         .input = input};
  if (terminal) out.environment.insert(out.environment.begin(), "TERM=xterm-256color");
  return out;
}

int code_of(const agent::Exited& exited) { return static_cast<int>(exited.signalled ? 128 + exited.value : exited.value); }

/// A program and the thread that carries its bytes. Whoever holds it lets it go by closing the streams.
struct Running {
  Running(agent::Channel c, host::Fd w) : channel(std::move(c)), wake(std::move(w)) {}
  agent::Channel channel;
  host::Fd wake;
  std::atomic<u32> size = 0;  // columns << 16 | rows
  std::atomic<int> code = -1;
};

void carry(Running& running, const agent::ExecRequest& request, const host::Fd& stream, const host::Fd& errors) {
  const int err = errors ? errors.get() : stream.get();
  agent::ExecStreams streams{.input = stream.get(), .output = stream.get(), .errors = err, .signals = running.wake.get()};
  streams.on_signals = [&running] {
    host::drain_eventfd(running.wake.get());
    std::vector<agent::Frame> out;
    if (const u32 size = running.size.exchange(0)) {
      out.push_back({agent::Kind::resize, agent::encode(agent::Resize{static_cast<u16>(size >> 16), static_cast<u16>(size)})});
    }
    return out;
  };
  const auto ended = agent::run_exec(running.channel, request, streams);
  if (!ended) log::info("{}", ended.error().message());
  // Codes as a shell's: 127 there is no such program, 126 it cannot be run.
  running.code = ended ? code_of(*ended) : ended.error().code == ENOENT ? 127 : ended.error().code == EACCES ? 126 : 125;
  if (!ended) (void)host::write_all(stream.get(), ended.error().message() + "\r\n");
}

}  // namespace

Result<ByteStream> machine_logs(const domain::MachineStore& store, const domain::Machine& machine, const LogOptions& options) {
  if (options.timestamps) return std::unexpected(Error{"timestamps", "a machine's console keeps none", {}, EOPNOTSUPP});
  return stream_log(machine.places.console_log(), options, [store, machine] { return store.running(machine); });
}

Result<Terminal> machine_console(const domain::MachineStore& store, const domain::Machine& machine) {
  TRY(domain::has_console(machine));
  TRY_ASSIGN(auto pair, host::Fd::socketpair());
  auto code = std::make_shared<std::atomic<int>>(-1);
  host::start_thread("console", [store, machine, code, stream = std::make_shared<host::Fd>(std::move(pair.second))] {
    const auto end = domain::visit_console(store, machine, {.input = stream->get(), .output = stream->get(), .terminal = true, .input_end_leaves = true});
    if (!end) log::info("{}", end.error().message());
    if (end && *end == domain::VisitEnd::machine_ended) *code = domain::machine_exit_code(machine);
    ::shutdown(stream->get(), SHUT_RDWR);
  }).detach();
  return Terminal{.stream = std::move(pair.first), .exit_code = [code] { return *code < 0 ? std::optional<int>() : std::optional<int>(*code); }};
}

Result<Terminal> machine_exec(const domain::Machine& machine, const Json& exec) {
  const bool terminal = exec.value("terminal", true);
  TRY_ASSIGN(agent::Channel channel, connect(machine));
  TRY_ASSIGN(auto pair, host::Fd::socketpair());
  TRY_ASSIGN(host::Fd wake, host::Fd::eventfd());
  host::Fd errors_in, errors_out;
  if (!terminal) {
    TRY_ASSIGN(auto pipe, host::Fd::pipe());
    errors_in = std::move(pipe.first);
    errors_out = std::move(pipe.second);
  }
  auto running = std::make_shared<Running>(std::move(channel), std::move(wake));
  host::start_thread("exec", [running, request = request_of(exec, terminal, true), stream = std::make_shared<host::Fd>(std::move(pair.second)),
                              errors = std::make_shared<host::Fd>(std::move(errors_out))] {
    carry(*running, request, *stream, *errors);
  }).detach();
  // The program ends with its connection: the destructor of what is kept cuts it.
  auto keep = std::shared_ptr<void>(nullptr, [running](void*) { ::shutdown(running->channel.fd(), SHUT_RDWR); });
  return Terminal{.stream = std::move(pair.first),
                  .errors = std::move(errors_in),
                  .resize =
                      [running](u16 columns, u16 rows) {
                        running->size = u32{columns} << 16 | rows;
                        host::signal_eventfd(running->wake.get());
                      },
                  .exit_code = [running]() -> std::optional<int> {
                    for (int i = 0; i < 200 && running->code < 0; i++) std::this_thread::sleep_for(std::chrono::milliseconds(10));
                    return running->code < 0 ? std::optional<int>() : running->code.load();
                  },
                  .keep = std::move(keep)};
}

namespace {

/// Reads a pipe to its end on a thread of its own and keeps the first MiB.
class Capture {
 public:
  explicit Capture(host::Fd fd) : thread_([this, fd = std::make_shared<host::Fd>(std::move(fd))] {
      std::array<char, 16 * KiB> bytes;
      for (ssize_t got = 0; (got = ::read(fd->get(), bytes.data(), bytes.size())) != 0;) {
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return;
        const std::size_t fits = std::min(most_output - text.size(), static_cast<std::size_t>(got));
        text.append(bytes.data(), fits);
        truncated = truncated || fits < static_cast<std::size_t>(got);
      }
    }) {}
  void finish() { thread_.join(); }
  std::string text;        // after finish()
  bool truncated = false;  // after finish()

 private:
  std::jthread thread_;
};

}  // namespace

Result<Json> machine_run(const domain::Machine& machine, const Json& exec, const std::stop_token& stop) {
  const std::string input = exec.value("input", "");
  TRY_ASSIGN(agent::Channel channel, connect(machine));
  TRY_ASSIGN(const host::Fd given, host::Fd::memfd("input", 0));
  TRY(host::write_all(given.get(), input));
  if (::lseek(given.get(), 0, SEEK_SET) != 0) return fail_errno("cannot hand over the input");
  TRY_ASSIGN(auto out_pipe, host::Fd::pipe());
  TRY_ASSIGN(auto err_pipe, host::Fd::pipe());
  Capture out(std::move(out_pipe.first)), err(std::move(err_pipe.first));
  // Time and caller are watched beside; both end the connection, and the program with it.
  std::atomic<bool> late = false;
  std::optional<Result<agent::Exited>> ended;
  {
    std::jthread watch([&](const std::stop_token& done) {
      const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(exec.value("timeout", 60));
      while (!done.stop_requested()) {
        late = std::chrono::steady_clock::now() > end;
        if (late || stop.stop_requested()) {
          ::shutdown(channel.fd(), SHUT_RDWR);
          return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
    ended = agent::run_exec(channel, request_of(exec, false, !input.empty()),
                            {.input = input.empty() ? -1 : given.get(), .output = out_pipe.second.get(), .errors = err_pipe.second.get()});
  }
  out_pipe.second.reset();
  err_pipe.second.reset();
  out.finish();
  err.finish();
  if (!*ended) {
    if (stop.stop_requested()) return std::unexpected(Error{"nobody waits for it any more", {}, {}, ECANCELED});
    if (late) return std::unexpected(Error{"the program took too long, and was ended", {}, "give it more time with 'timeout'", ETIMEDOUT});
    // As a shell's, and as of a container.
    const int code = ended->error().code;
    if (code == ENOENT || code == EACCES) {
      return Json{{"exitCode", code == ENOENT ? 127 : 126}, {"stdout", ""}, {"stderr", ended->error().message() + "\n"}, {"truncated", false}};
    }
    return std::unexpected(std::move(ended->error()));
  }
  return Json{{"exitCode", code_of(**ended)}, {"stdout", out.text}, {"stderr", err.text}, {"truncated", out.truncated || err.truncated}};
}

Result<Json> machine_processes(const domain::Machine& machine, const std::stop_token& stop) {
  TRY_ASSIGN(Json ran, machine_run(machine, {{"command", {"ps", "-eo", "pid=,ppid=,cputimes=,rss=,user:32=,args="}}, {"timeout", 10}}, stop));
  // A small guest's (busybox) knows less; its line of headings has no numbers.
  const bool small = ran["exitCode"] != 0 && ran["exitCode"] != 127;
  if (small) {
    TRY_ASSIGN(ran, machine_run(machine, {{"command", {"ps", "-o", "pid,ppid,user,args"}}, {"timeout", 10}}, stop));
  }
  if (ran["exitCode"] != 0) return std::unexpected(Error{"cannot list its processes", ran["stderr"].get<std::string>(), {}, EOPNOTSUPP});
  Json out = Json::array();
  std::istringstream lines(ran["stdout"].get<std::string>());
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    i64 pid = 0, parent = 0, seconds = 0, kilobytes = 0;
    std::string user, command;
    if (!(small ? words >> pid >> parent >> user : words >> pid >> parent >> seconds >> kilobytes >> user)) continue;
    std::getline(words >> std::ws, command);
    Json one = {{"pid", pid}, {"ppid", parent}, {"user", user}, {"command", command}};
    if (!small) one.update({{"cpuNs", seconds * 1'000'000'000}, {"memory", kilobytes * 1024}});
    out.push_back(std::move(one));
  }
  return out;
}

Result<ByteStream> machine_get_files(const domain::Machine& machine, const std::string& path) {
  TRY_ASSIGN(agent::Channel opened, connect(machine));
  // Whether there is anything is known before the answer begins.
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  host::start_thread("files", [channel = std::make_shared<agent::Channel>(std::move(opened)), path, sink = std::make_shared<host::Fd>(std::move(pipe.second))] {
    const auto done = agent::copy_out_tar(*channel, path, sink->get(), [](const std::string& text) { log::info("{}", text); });
    if (!done) log::info("{}", done.error().message());
  }).detach();
  // A tar stream that never began is an error, not an empty answer.
  pollfd watched{pipe.first.get(), POLLIN, 0};
  while (::poll(&watched, 1, -1) < 0 && errno == EINTR) {
  }
  if ((watched.revents & POLLIN) == 0) return std::unexpected(Error{fmt::format("cannot read '{}'", path), "there is no such file, or its guest did not give it", {}, ENOENT});
  return ByteStream{.bytes = std::move(pipe.first)};
}

Result<> machine_put_files(const domain::Machine& machine, const std::string& path, int tar) {
  TRY_ASSIGN(agent::Channel channel, connect(machine));
  auto done = agent::copy_in_tar(channel, tar, path, [](const std::string& text) { log::info("{}", text); });
  if (done) return {};
  if (done.error().code == 0) done.error().code = EINVAL;
  return std::unexpected(std::move(done.error()));
}

}  // namespace nagaya::api
