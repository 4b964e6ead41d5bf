#include "api/local/commands.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "host/process.hpp"

namespace nagaya::api {
namespace {

std::string own_folder() {
  const std::string path = host::own_program_path();
  return path.substr(0, path.rfind('/'));
}

// Beside the server's own binary, or in bin/ when that is in libexec/nagaya.
Result<std::string> command_path() {
  for (const std::string& path : {own_folder() + "/nagaya", own_folder() + "/../../bin/nagaya"}) {
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return fail("cannot find the program 'nagaya'", {}, "it belongs beside the server's");
}

class Collected {
 public:
  explicit Collected(host::Fd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// What has come; false and closed at the end.
  bool read(const std::function<void(std::string_view)>& take) {
    std::array<char, 4096> bytes;
    const ssize_t got = ::read(fd_.get(), bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) {
      fd_.reset();
      return false;
    }
    take({bytes.data(), static_cast<std::size_t>(got)});
    return true;
  }

 private:
  host::Fd fd_;
};

}  // namespace

Result<host::Process> start_nagaya(const std::vector<std::string>& words, const CommandStreams& streams) {
  TRY_ASSIGN(const std::string program, command_path());
  TRY_ASSIGN(const host::Fd nothing, host::Fd::open("/dev/null", O_RDWR));
  const auto or_nothing = [&](int fd) { return fd < 0 ? nothing.get() : fd; };
  // Not "dies with parent": what it starts in the background outlives us anyhow, and its own child must not be cut off half-way.
  return host::Process::spawn({.program = program,
                               .args = words,
                               .fds = {{or_nothing(streams.input), 0}, {or_nothing(streams.output), 1}, {or_nothing(streams.errors), 2}},
                               .die_with_parent = false,
                               .new_session = true});
}

Result<CommandEnd> run_command(const std::vector<std::string>& words, const std::stop_token& stop, const std::function<void(const std::string&)>& on_line,
                               const CommandOptions& options) {
  TRY_ASSIGN(auto out_pipe, host::Fd::pipe());
  TRY_ASSIGN(auto err_pipe, host::Fd::pipe());
  TRY_ASSIGN(host::Process process, start_nagaya(words, {options.input, out_pipe.second.get(), err_pipe.second.get()}));
  out_pipe.second.reset();
  err_pipe.second.reset();
  Collected out(std::move(out_pipe.first)), err(std::move(err_pipe.first));
  CommandEnd end;
  std::string line;
  using Clock = std::chrono::steady_clock;
  Clock::time_point kill_at{};
  bool asked = false, ended = false;
  // A monitor it left behind may hold the pipes: its own end is what counts.
  while (!ended) {
    if (stop.stop_requested() && !asked) {
      asked = true;
      kill_at = Clock::now() + std::chrono::seconds(10);
      process.send(SIGINT);
    }
    if (asked && Clock::now() > kill_at) process.send(SIGKILL);
    std::array<pollfd, 3> watched = {{{out.fd(), POLLIN, 0}, {err.fd(), POLLIN, 0}, {process.fd(), POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), 100) < 0 && errno != EINTR) return fail_errno("cannot wait");
    if (watched[0].revents != 0) {
      out.read([&](std::string_view bytes) {
        const std::size_t fits = std::min(options.most_output - end.output.size(), bytes.size());
        end.output += bytes.substr(0, fits);
        end.truncated = end.truncated || fits < bytes.size();
      });
    }
    if (watched[1].revents != 0) {
      err.read([&](std::string_view bytes) {
        for (const char c : bytes) {
          if (c != '\n' && c != '\r') {
            if (line.size() < options.most_errors) line += c;
          } else if (!line.empty()) {
            if (on_line) on_line(line);
            line.clear();
          }
        }
        end.errors += bytes;
        if (end.errors.size() > options.most_errors) {
          end.errors.erase(0, end.errors.size() - options.most_errors);
          end.truncated = true;
        }
      });
    }
    ended = watched[2].revents != 0 && watched[0].revents == 0 && watched[1].revents == 0;
  }
  TRY_ASSIGN(const host::ExitStatus status, process.wait());
  if (asked) return std::unexpected(Error{"cancelled", {}, {}, ECANCELED});
  end.code = status.shell_status();
  return end;
}

Result<CommandEnd> apply_by_command(const nlohmann::json& document, const std::vector<std::string>& options, const std::stop_token& stop,
                                    const std::function<void(const std::string&)>& on_line) {
  TRY_ASSIGN(const host::Fd given, host::Fd::memfd("definition", 0));
  TRY(host::write_all(given.get(), document.dump()));
  if (::lseek(given.get(), 0, SEEK_SET) != 0) return fail_errno("cannot hand over the definition");
  std::vector<std::string> words = {"apply", "-f", "-"};
  words.insert(words.end(), options.begin(), options.end());
  return run_command(words, stop, on_line, {.input = given.get()});
}

Result<> succeed(const std::string& what, const CommandEnd& end) {
  if (end.code == 0) return {};
  std::string said = end.errors;
  while (said.ends_with('\n')) said.pop_back();
  said = said.substr(said.rfind('\n') + 1);
  if (said.starts_with("nagaya: ")) said = said.substr(8);
  return std::unexpected(Error{what, said, {}, EINVAL});
}

}  // namespace nagaya::api
