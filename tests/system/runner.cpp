#include "runner.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace nagaya::system_test {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int timed_out = -2;

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) {
    std::fprintf(stderr, "%s is not set: run these tests through ctest\n", name);
    std::exit(2);
  }
  return value;
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::string file_text(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

Command::Command(const Words& words, Input input) {
  std::string program = nagaya();
  std::vector<char*> argv{program.data()};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);

  if (input == Input::terminal) {
    pid_ = ::forkpty(&in_, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      ::execv(program.c_str(), argv.data());
      ::_exit(127);
    }
    out_fd_ = ::fcntl(in_, F_DUPFD_CLOEXEC, 3);
  } else {
    int in[2], out[2], err[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      int source = input == Input::pipe ? in[0] : ::open("/dev/null", O_RDONLY);
      ::dup2(source, 0);
      ::dup2(out[1], 1);
      ::dup2(err[1], 2);
      ::execv(program.c_str(), argv.data());
      ::_exit(127);
    }
    for (int fd : {in[0], out[1], err[1]}) ::close(fd);
    in_ = in[1];
    out_fd_ = out[0];
    err_fd_ = err[0];
    if (input == Input::none) close_input();
  }
}

Command::~Command() {
  if (exit_code_ == -1) {
    ::kill(pid_, SIGTERM);
    if (!wait_end(10)) ::kill(pid_, SIGKILL);
    reap(true);
  }
  for (int fd : {in_, out_fd_, err_fd_})
    if (fd >= 0) ::close(fd);
}

bool Command::reap(bool block) {
  if (exit_code_ != -1) return true;
  int status = 0;
  pid_t got;
  do got = ::waitpid(pid_, &status, block ? 0 : WNOHANG);
  while (got < 0 && errno == EINTR);
  if (got != pid_) return false;
  exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return true;
}

bool Command::pump(double seconds) {
  pollfd watched[] = {{out_fd_, POLLIN, 0}, {err_fd_, POLLIN, 0}};
  if (out_fd_ < 0 && err_fd_ < 0) return false;
  ::poll(watched, 2, static_cast<int>(seconds * 1000));
  for (auto [at, fd, text] : {std::tuple{0, &out_fd_, &out_}, std::tuple{1, &err_fd_, &err_}}) {
    if (*fd < 0 || watched[at].revents == 0) continue;
    char buffer[65536];
    ssize_t got = ::read(*fd, buffer, sizeof buffer);
    if (got > 0) {
      // A guest that floods its port must not fill our memory; the end is what tests look at.
      if (text->size() > (64u << 20)) text->clear();
      text->append(buffer, static_cast<std::size_t>(got));
    } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {  // a terminal whose other side closed gives EIO
      ::close(*fd);
      *fd = -1;
    }
  }
  return true;
}

bool Command::wait_for(const std::string& text, double seconds, std::size_t from) {
  auto start = Clock::now();
  for (;;) {
    if (out_.size() >= from && out_.find(text, from) != std::string::npos) return true;
    double left = seconds - seconds_since(start);
    if (left <= 0 || !pump(std::min(left, 1.0))) return out_.size() >= from && out_.find(text, from) != std::string::npos;
  }
}

bool Command::wait_end(double seconds) {
  auto start = Clock::now();
  while (pump(0.2) && !reap(false)) {
    if (seconds_since(start) > seconds) {
      ::kill(pid_, SIGKILL);
      reap(true);
      exit_code_ = timed_out;
      return false;
    }
  }
  // What is left in the pipes. Streams that ended before the process: wait for it, with the same limit.
  while (!reap(false)) {
    if (seconds_since(start) > seconds) {
      ::kill(pid_, SIGKILL);
      reap(true);
      exit_code_ = timed_out;
      return false;
    }
    sleep_for(0.01);
  }
  auto end = Clock::now();
  while (seconds_since(end) < 2 && pump(0.1)) {
    std::size_t before = out_.size() + err_.size();
    pump(0.05);
    if (before == out_.size() + err_.size()) break;
  }
  return true;
}

void Command::send(const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    ssize_t put = ::write(in_, text.data() + at, text.size() - at);
    if (put < 0 && errno != EINTR) return;
    if (put > 0) at += static_cast<std::size_t>(put);
  }
}

void Command::close_input() {
  if (in_ >= 0) ::close(in_);
  in_ = -1;
}

void Command::signal(int number) const { ::kill(pid_, number); }

pid_t Command::vmm_pid() const {
  std::string children = file_text("/proc/" + std::to_string(pid_) + "/task/" + std::to_string(pid_) + "/children");
  pid_t child = static_cast<pid_t>(std::strtol(children.c_str(), nullptr, 10));
  return child > 0 ? child : -1;
}

Outcome run(const Words& words, double seconds) {
  Command command(words);
  bool ended = command.wait_end(seconds);
  return {ended ? command.exit_code() : -1, command.output(), command.errors()};
}

std::string nagaya() { return setting("NAGAYA"); }
std::string small_guest(const std::string& name) { return setting("NAGAYA_SMALL_GUESTS") + "/" + name + ".elf"; }
std::string debian(const std::string& name) { return setting("NAGAYA_DEBIAN") + "/" + name; }

Words small_run(const std::string& guest, const std::string& engine, const std::string& append, const Words& more) {
  Words words{"run", "--kernel", small_guest(guest), "--engine", engine, "--append", append, "-m", "32M", "--no-reboot", "--debug-exit"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

Words debian_run(const std::string& commands, const Words& more, const std::string& arch, const std::string& kernel) {
  std::string append = "console=ttyS0 quiet panic=-1";
  if (!commands.empty()) append += " guest_run=\"" + commands + "\"";
  Words words{"run", "--kernel", debian(kernel + "-" + arch), "--initrd", debian("initrd-" + arch), "--append", append, "--no-reboot"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

const std::vector<std::string>& engines() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out{"soft"};
    std::string health = run({"doctor", "-f", "csv"}, 30).output;
    if (health.find("engine-kvm,ok") != std::string::npos || health.find("engine-kvm,limited") != std::string::npos) out.push_back("kvm");
    return out;
  }();
  return names;
}

double cpu_seconds(pid_t pid) {
  std::string stat = file_text("/proc/" + std::to_string(pid) + "/stat");
  std::size_t at = stat.rfind(')');
  if (at == std::string::npos) return 0;
  // Fields 14 and 15 (proc(5)); field 3 follows the parenthesis.
  unsigned long user = 0, kernel = 0;
  std::sscanf(stat.c_str() + at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
  return static_cast<double>(user + kernel) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::string scratch(const std::string& name) {
  struct Folder {
    std::string path = (std::filesystem::temp_directory_path() / ("nagaya-test-" + std::to_string(::getpid()))).string();
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static const Folder folder;
  return folder.path + "/" + name;
}

void sleep_for(double seconds) {
  timespec time{static_cast<time_t>(seconds), static_cast<long>((seconds - static_cast<double>(static_cast<time_t>(seconds))) * 1e9)};
  ::nanosleep(&time, nullptr);
}

}  // namespace nagaya::system_test
