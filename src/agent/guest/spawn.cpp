#include "agent/guest/spawn.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>

#include "agent/guest/user.hpp"

namespace nagaya::agent::guest {
namespace {

constexpr const char* default_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the child tells before exec fails.
struct Complaint {
  int code;
  bool folder;  ///< it was the working folder
};

/// A login's few variables, then the host's own.
std::vector<std::string> environment_of(const ExecRequest& request, const User& user) {
  std::map<std::string, std::string> all{{"PATH", default_path}, {"HOME", user.home},   {"USER", user.name},
                                         {"LOGNAME", user.name}, {"SHELL", user.shell}, {"LANG", "C.UTF-8"}};
  if (request.terminal) all["TERM"] = "xterm";
  for (const std::string& item : request.environment) {
    const std::size_t equals = item.find('=');
    if (equals != 0 && equals != std::string::npos) all[item.substr(0, equals)] = item.substr(equals + 1);
  }
  std::vector<std::string> out;
  for (const auto& [key, value] : all) out.push_back(key + "=" + value);
  return out;
}

struct Ends {
  host::Fd theirs[3];
  Child ours;
  std::string terminal;
};

Result<> open_terminal(Ends& ends, const ExecRequest& request) {
  host::Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  char name[64];
  if (!master || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0 || ::ptsname_r(master.get(), name, sizeof name) != 0) {
    return fail_errno("cannot open a terminal in the guest");
  }
  TRY_ASSIGN(host::Fd slave, host::Fd::open(name, O_RDWR | O_NOCTTY));
  const winsize size{request.rows, request.columns, 0, 0};
  ::ioctl(master.get(), TIOCSWINSZ, &size);
  for (int i : {1, 2}) {
    TRY_ASSIGN(ends.theirs[i], host::Fd::duplicate(slave.get()));
  }
  ends.theirs[0] = std::move(slave);
  TRY_ASSIGN(ends.ours.input, host::Fd::duplicate(master.get()));
  ends.ours.output = std::move(master);
  return {};
}

Result<> open_pipes(Ends& ends, const ExecRequest& request) {
  if (request.input) {
    TRY_ASSIGN(auto pipe, host::Fd::pipe());
    ends.theirs[0] = std::move(pipe.first);
    ends.ours.input = std::move(pipe.second);
    TRY(host::set_nonblocking(ends.ours.input.get()));
  } else {
    TRY_ASSIGN(ends.theirs[0], host::Fd::open("/dev/null", O_RDONLY));
  }
  for (int i : {1, 2}) {
    TRY_ASSIGN(auto pipe, host::Fd::pipe());
    TRY(host::set_nonblocking(pipe.first.get()));
    (i == 1 ? ends.ours.output : ends.ours.errors) = std::move(pipe.first);
    ends.theirs[i] = std::move(pipe.second);
  }
  return {};
}

[[noreturn]] void become(const ExecRequest& request, const User& user, Ends& ends, int report) {
  const auto give_up = [&](bool folder) {
    const Complaint complaint{errno, folder};
    (void)!::write(report, &complaint, sizeof complaint);
    ::_exit(127);
  };
  ::setsid();
  for (int i = 0; i < 3; ++i) {
    // Numbers below 3 may be our own ends: not when 0 to 2 were open, as the server sees to.
    if (::dup2(ends.theirs[i].get(), i) < 0) give_up(false);
  }
  if (request.terminal) ::ioctl(0, TIOCSCTTY, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  ::umask(022);
  // The agent is spared when memory runs out; what it runs is not.
  if (const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); fd >= 0) (void)!::write(fd, "0", 1);
  if (::getuid() == 0) {
    if (::setgroups(user.groups.size(), user.groups.data()) != 0 || ::setresgid(user.gid, user.gid, user.gid) != 0 ||
        ::setresuid(user.uid, user.uid, user.uid) != 0) {
      give_up(false);
    }
  } else if (user.uid != ::getuid()) {
    errno = EPERM;
    give_up(false);
  }
  if (request.folder.empty()) {
    if (::chdir(user.home.c_str()) != 0 && ::chdir("/") != 0) give_up(true);
  } else if (::chdir(request.folder.c_str()) != 0) {
    give_up(true);
  }
  const std::vector<std::string> environment = environment_of(request, user);
  std::vector<char*> argv, envp;
  for (const std::string& word : request.command) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& item : environment) {
    envp.push_back(const_cast<char*>(item.c_str()));
    if (item.starts_with("PATH=")) ::setenv("PATH", item.c_str() + 5, 1);
  }
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  ::execvpe(argv[0], argv.data(), envp.data());
  give_up(false);
  ::_exit(127);
}

}  // namespace

Result<Child> spawn(const ExecRequest& request) {
  TRY_ASSIGN(const User user, find_user(request.user));
  Ends ends;
  if (request.terminal) {
    TRY(open_terminal(ends, request));
  } else {
    TRY(open_pipes(ends, request));
  }
  TRY_ASSIGN(auto report, host::Fd::pipe());
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("cannot start a process in the guest");
  if (pid == 0) become(request, user, ends, report.second.get());
  report.second.reset();
  Complaint complaint{};
  auto got = host::read_up_to(report.first.get(), std::span(reinterpret_cast<u8*>(&complaint), sizeof complaint));
  if (got && *got == sizeof complaint) {
    ::waitpid(pid, nullptr, 0);
    if (complaint.folder) {
      // No folder is not "no such command".
      auto error = fail_errno("cannot go to '" + request.folder + "' in the guest", complaint.code);
      error.error().code = 0;
      return error;
    }
    return fail_errno("cannot run '" + request.command[0] + "' in the guest", complaint.code);
  }
  ends.ours.pid = pid;
  ends.ours.ended = host::Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!ends.ours.ended) {
    ::kill(-pid, SIGKILL);
    return fail_errno("cannot watch a process in the guest");
  }
  return std::move(ends.ours);
}

}  // namespace nagaya::agent::guest
