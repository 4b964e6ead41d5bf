#include "init/service.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/signal_name.hpp"
#include "init/dhcp.hpp"
#include "init/files.hpp"
#include "init/report.hpp"
#include "init/user.hpp"

namespace nagaya::init {
namespace {

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> out;
  if (DIR* folder = ::opendir(path.c_str()); folder != nullptr) {
    while (const dirent* entry = ::readdir(folder)) {
      if (entry->d_name[0] != '.') out.emplace_back(entry->d_name);
    }
    ::closedir(folder);
  }
  return out;
}

Result<> mount_all(const proto::InitConfig& config) {
  TRY(mount_at("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"));
  TRY(mount_at("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"));
  TRY(mount_at("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC));
  TRY(mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC));
  for (const auto& [target, name] : {std::pair{"/proc/self/fd", "/dev/fd"}, std::pair{"/proc/self/fd/0", "/dev/stdin"},
                                     std::pair{"/proc/self/fd/1", "/dev/stdout"}, std::pair{"/proc/self/fd/2", "/dev/stderr"}}) {
    (void)::symlink(target, name);
  }
  for (const proto::InitMount& mount : config.mounts) {
    TRY(mount_at(mount.tag, mount.place, "virtiofs", mount.read_only ? MS_RDONLY : 0));
  }
  return {};
}

/// The console as programs or people want it.
void set_console(bool terminal) {
  termios mode{};
  if (::tcgetattr(STDIN_FILENO, &mode) != 0) return;
  if (terminal) {
    mode.c_iflag = ICRNL | IXON | IUTF8;
    mode.c_oflag = OPOST | ONLCR;
    mode.c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | IEXTEN | ECHOCTL | ECHOKE;
  } else {
    // A pipe on the host: no echo, no carriage returns.
    mode.c_oflag &= ~static_cast<tcflag_t>(OPOST);
    mode.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHOE | ECHOK | ECHOCTL);
  }
  ::tcsetattr(STDIN_FILENO, TCSANOW, &mode);
}

/// The console's device has a session of its own; /dev/console itself cannot control one.
void take_console() {
  const auto active = read_text("/sys/class/tty/console/active");
  if (!active) return;
  std::string name = active->substr(0, active->find('\n'));
  name = name.substr(name.rfind(' ') + 1);
  const int fd = ::open(("/dev/" + name).c_str(), O_RDWR);
  if (fd < 0) return;
  for (int i = 0; i < 3; ++i) ::dup2(fd, i);
  if (fd > 2) ::close(fd);
}

[[noreturn]] void child_failed(int report) {
  const int code = errno;
  (void)!::write(report, &code, sizeof code);
  ::_exit(127);
}

struct Prepared {
  Identity who;
  std::vector<std::string> env;
  std::string workdir;
};

Result<Prepared> prepare(const proto::InitConfig& config) {
  Prepared out;
  TRY_ASSIGN(out.who, identity_of(config.user, read_text("/etc/passwd").value_or(""), read_text("/etc/group").value_or("")));
  out.env = config.env;
  const auto has = [&](const std::string& name) { return std::ranges::any_of(out.env, [&](const auto& one) { return one.starts_with(name + "="); }); };
  if (!has("PATH")) out.env.emplace_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  if (!has("HOME")) out.env.push_back("HOME=" + out.who.home);
  if (!has("HOSTNAME") && !config.hostname.empty()) out.env.push_back("HOSTNAME=" + config.hostname);
  if (config.terminal && !has("TERM")) out.env.emplace_back("TERM=xterm-256color");
  out.workdir = config.workdir.empty() ? "/" : config.workdir;
  TRY(make_folder(out.workdir));
  return out;
}

/// Gives errno of a start that failed through `report`.
[[noreturn]] void become(const proto::InitConfig& config, const Prepared& prepared, int report) {
  std::vector<char*> argv, envp;
  for (const std::string& one : config.args) argv.push_back(const_cast<char*>(one.c_str()));
  for (const std::string& one : prepared.env) envp.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  ::setsid();
  take_console();
  ::ioctl(STDIN_FILENO, TIOCSCTTY, 0);
  set_console(config.terminal);
  // Programs open /dev/stdout again.
  for (int i = 0; i < 3; ++i) (void)!::fchown(i, prepared.who.uid, static_cast<gid_t>(-1));
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<gid_t> groups(prepared.who.groups.begin(), prepared.who.groups.end());
  if (::setgroups(groups.size(), groups.data()) != 0 || ::setgid(prepared.who.gid) != 0 || ::setuid(prepared.who.uid) != 0 ||
      ::chdir(prepared.workdir.c_str()) != 0)
    child_failed(report);
  // PATH is that of the image, which execvpe would not look at.
  ::clearenv();
  for (char* one : envp) {
    if (one != nullptr) ::putenv(one);
  }
  ::execvp(argv[0], argv.data());
  child_failed(report);
}

void start_agent(int program) {
  if (program < 0) return;
  const pid_t pid = ::fork();
  if (pid != 0) return;
  ::setsid();
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const char* argv[] = {"nagaya-agent", nullptr};
  const char* envp[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", nullptr};
  ::syscall(SYS_execveat, program, "", const_cast<char**>(argv), const_cast<char**>(envp), AT_EMPTY_PATH);
  ::_exit(127);
}

/// Descriptors of input devices, one of which may be the power button.
std::vector<int> open_buttons() {
  std::vector<int> out;
  for (const std::string& name : names_in("/dev/input")) {
    if (!name.starts_with("event")) continue;
    const int fd = ::open(("/dev/input/" + name).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) out.push_back(fd);
  }
  return out;
}

bool power_pressed(int fd) {
  bool pressed = false;
  input_event event{};
  while (::read(fd, &event, sizeof event) == sizeof event) pressed |= event.type == EV_KEY && event.code == KEY_POWER && event.value == 1;
  return pressed;
}

/// Waits for the program, passes signals on and buries orphans. Gives its exit code as a shell tells it.
int supervise(pid_t program, int signals, int stop_signal) {
  std::vector<pollfd> watched{{signals, POLLIN, 0}};
  for (const int fd : open_buttons()) watched.push_back({fd, POLLIN, 0});
  for (;;) {
    for (int status = 0;;) {
      const pid_t ended = ::waitpid(-1, &status, WNOHANG);
      if (ended <= 0) break;
      if (ended == program) return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) return 255;
    signalfd_siginfo info{};
    while (::read(signals, &info, sizeof info) == sizeof info) {
      if (info.ssi_signo != SIGCHLD) ::kill(program, static_cast<int>(info.ssi_signo));
    }
    for (std::size_t i = 1; i < watched.size(); ++i) {
      if (watched[i].revents != 0 && power_pressed(watched[i].fd)) ::kill(program, stop_signal);
    }
  }
}

std::string line_of(const char* kind, int code, const std::string& text = {}) {
  return std::string(kind) + " " + std::to_string(code) + (text.empty() ? "" : " " + text.substr(0, 1000)) + "\n";
}

}  // namespace

std::string run_service(const proto::InitConfig& config, int agent) {
  const auto give_up = [](const Error& error, int code) { return line_of("error", code, error.message()); };
  if (!config.hostname.empty() && ::sethostname(config.hostname.data(), config.hostname.size()) != 0) say("cannot set the host name");
  if (auto done = mount_all(config); !done) return give_up(done.error(), 125);
  if (config.network) {
    // Many programs need none: it is told, and no reason to stop.
    if (auto done = set_up_network(config.hostname); !done) say(done.error().message());
  }
  const auto prepared = prepare(config);
  if (!prepared) return give_up(prepared.error(), 126);

  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  const int signals = ::signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  start_agent(agent);
  int report[2] = {-1, -1};
  if (signals < 0 || ::pipe2(report, O_CLOEXEC) != 0) return give_up(Error{"cannot watch a program", std::strerror(errno)}, 125);
  const pid_t program = ::fork();
  if (program < 0) return give_up(Error{"cannot start " + config.args[0], std::strerror(errno)}, 125);
  if (program == 0) become(config, *prepared, report[1]);
  ::close(report[1]);
  int code = 0;
  const ssize_t got = ::read(report[0], &code, sizeof code);
  ::close(report[0]);
  if (got == sizeof code) {
    return give_up(Error{"cannot start " + config.args[0], std::strerror(code)}, code == ENOENT || code == ENOTDIR ? 127 : 126);
  }
  int stop = signal_of_name(config.stop_signal);
  if (stop <= 0) stop = SIGTERM;
  return line_of("exit", supervise(program, signals, stop));
}

bool tell_status(const std::string& line) {
  // The console's last words are the program's, not the kernel's "Power down".
  (void)write_text("/proc/sys/kernel/printk", "0\n");
  bool told = false;
  for (const std::string& port : names_in("/sys/class/virtio-ports")) {
    const auto name = read_text("/sys/class/virtio-ports/" + port + "/name");
    if (!name || name->substr(0, name->find('\n')) != proto::status_port_name) continue;
    const int fd = ::open(("/dev/" + port).c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) continue;
    told |= ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
    ::close(fd);
  }
  return told;
}

}  // namespace nagaya::init
