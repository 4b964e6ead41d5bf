#include "container/environment.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "host/fd.hpp"

namespace nagaya::container {
namespace {

constexpr std::string_view program_error = "executable file `";

/// The home folder that /etc/passwd has for `uid`, or "/". Field 6 of 7 (passwd(5)).
std::string home_of(u32 uid) {
  // Not blocking: the image may have put a FIFO there.
  const host::Fd file(::open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat facts{};
  if (!file || ::fstat(file.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) return "/";
  std::string text(static_cast<std::size_t>(std::min<off_t>(facts.st_size, 1 << 20)), '\0');
  const auto count = host::read_up_to(file.get(), {reinterpret_cast<u8*>(text.data()), text.size()});
  if (!count) return "/";
  std::string_view rest(text.data(), *count);
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    std::string_view fields[6];
    std::size_t found = 0;
    for (; found < 6; ++found) {
      const std::size_t colon = line.find(':');
      fields[found] = line.substr(0, colon);
      if (colon == line.npos) break;
      line.remove_prefix(colon + 1);
    }
    u32 number = 0;
    const auto [end, code] = std::from_chars(fields[2].data(), fields[2].data() + fields[2].size(), number);
    if (found >= 5 && code == std::errc{} && end == fields[2].data() + fields[2].size() && number == uid) {
      return fields[5].empty() ? "/" : std::string(fields[5]);
    }
  }
  return "/";
}

const std::string* find_variable(const std::vector<std::string>& env, std::string_view name) {
  for (const std::string& item : env) {
    if (item.size() > name.size() && item[name.size()] == '=' && item.starts_with(name)) return &item;
  }
  return nullptr;
}

/// 0 when `path` is a file that may be executed; else why not.
int executable(const std::string& path) {
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0) return errno;
  if (!S_ISREG(facts.st_mode)) return EACCES;
  return ::access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

}  // namespace

std::vector<std::string> environment_of(const Process& process, int listen_fds) {
  std::vector<std::string> env = process.env;
  if (find_variable(env, "HOME") == nullptr) env.push_back("HOME=" + home_of(process.user.uid));
  if (listen_fds > 0) {
    env.push_back("LISTEN_FDS=" + std::to_string(listen_fds));
    env.push_back("LISTEN_PID=1");
    if (const char* names = ::getenv("LISTEN_FDNAMES"); names != nullptr)
      env.push_back(std::string("LISTEN_FDNAMES=") + names);
  }
  return env;
}

Error exec_error(const std::string& program, int code) {
  const bool in_path = code == ENOENT && program.find('/') == program.npos;
  return Error{std::string(program_error) + program + (in_path ? "` not found in $PATH" : "` cannot be run"),
               std::strerror(code), "", code};
}

Result<std::string> find_program(const std::string& name, const std::vector<std::string>& env) {
  if (name.find('/') != name.npos) {
    if (const int code = executable(name); code != 0) return std::unexpected(exec_error(name, code));
    return name;
  }
  const std::string* path = find_variable(env, "PATH");
  std::string_view rest = path != nullptr ? std::string_view(*path).substr(5) : std::string_view("/bin:/usr/bin");
  int code = ENOENT;
  for (;;) {
    const std::size_t colon = rest.find(':');
    const std::string_view folder = rest.substr(0, colon);
    std::string candidate = std::string(folder.empty() ? "." : folder) + "/" + name;
    const int problem = name.empty() ? ENOENT : executable(candidate);
    if (problem == 0) return candidate;
    if (problem == EACCES) code = EACCES;
    if (colon == rest.npos) break;
    rest.remove_prefix(colon + 1);
  }
  return std::unexpected(exec_error(name, code));
}

int start_status(const Error& error) {
  if (error.what.find(program_error) == std::string::npos) return 125;
  return error.code == ENOENT ? 127 : 126;
}

}  // namespace nagaya::container
