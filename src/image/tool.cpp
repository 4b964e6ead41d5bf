#include "image/tool.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "host/process.hpp"

namespace nagaya::image {
namespace {

/// The last few lines of a log, on one line.
std::string last_words(const std::string& path) {
  auto bytes = host::read_file(path, 64 * MiB);
  if (!bytes) return {};
  std::string text(bytes->begin(), bytes->end());
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  std::size_t start = text.size();
  for (int lines = 0; lines < 4 && start != 0 && start != std::string::npos; ++lines) start = start == 0 ? 0 : text.rfind('\n', start - 1);
  text = text.substr(start == std::string::npos ? 0 : start);
  if (text.size() > 1000) text = "…" + text.substr(text.size() - 1000);
  std::string out;
  for (const char c : text) {
    if (c == '\n') {
      if (!out.empty()) out += " | ";
    } else {
      out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    }
  }
  return out;
}

Result<host::ExitStatus> wait_for(host::Process& child, const Interrupt* interrupt) {
  if (interrupt == nullptr) return child.wait();
  for (bool asked = false;;) {
    pollfd watched[] = {{child.fd(), POLLIN, 0}, {interrupt->fd(), POLLIN, 0}};
    if (::poll(watched, asked ? 1 : 2, -1) < 0 && errno != EINTR) return fail_errno("cannot wait for a process");
    if (watched[0].revents != 0) break;
    if (!asked && !interrupt->check()) {
      child.send(SIGTERM);
      asked = true;
    }
  }
  TRY_ASSIGN(const host::ExitStatus status, child.wait());
  TRY(interrupt->check());
  return status;
}

}  // namespace

Result<Interrupt> Interrupt::create() {
  TRY_ASSIGN(host::SignalFd signals, host::SignalFd::create({SIGINT, SIGTERM, SIGHUP}));
  return Interrupt(std::move(signals));
}

Result<> Interrupt::check() const {
  if (const int signal = signals_.next(); signal != 0) came_ = signal;
  if (came_ != 0) return std::unexpected(Error{"interrupted", "nothing is left behind", {}, EINTR});
  return {};
}

std::optional<std::string> find_tool(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string folders = std::string(path != nullptr ? path : "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";
  for (std::size_t start = 0; start < folders.size();) {
    std::size_t end = folders.find(':', start);
    if (end == std::string::npos) end = folders.size();
    const std::string file = folders.substr(start, end - start) + "/" + name;
    if (file.starts_with('/') && ::access(file.c_str(), X_OK) == 0) return file;
    start = end + 1;
  }
  return std::nullopt;
}

Result<> run_tool(const ToolRun& run, const Work& work) {
  TRY(work.check());
  const auto program = find_tool(run.name);
  if (!program) {
    return std::unexpected(Error{fmt::format("cannot run {}", run.name), "it is not installed",
                                 fmt::format("{}apt-get install {}", ::geteuid() == 0 ? "" : "sudo ", run.package), ENOENT});
  }
  const std::string log = run.scratch + "/" + run.name + ".log";
  TRY_ASSIGN(const host::Fd said, host::Fd::open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600));
  TRY_ASSIGN(const host::Fd nothing, host::Fd::open("/dev/null", O_RDONLY));
  host::Fd out;
  if (run.output) {
    TRY_ASSIGN(out, host::Fd::open(*run.output, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  }
  host::SpawnOptions options{.program = *program, .args = run.args, .fds = {{nothing.get(), 0}}, .death_signal = SIGTERM};
  options.fds.push_back({out ? out.get() : work.verbose ? 2 : said.get(), 1});
  if (!work.verbose) options.fds.push_back({said.get(), 2});
  TRY_ASSIGN(host::Process child, host::Process::spawn(options));
  TRY_ASSIGN(const host::ExitStatus status, wait_for(child, work.interrupt));
  if (status.shell_status() == 0) return {};
  std::string why = work.verbose ? fmt::format("it ended with status {}", status.shell_status()) : last_words(log);
  return fail(fmt::format("{} failed", run.name), std::move(why), work.verbose ? "" : "--verbose shows all it prints");
}

}  // namespace nagaya::image
