#include "api/http/listen.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace nagaya::api {

Result<Listening> inherited_sockets() {
  Listening out;
  const char *pid = std::getenv("LISTEN_PID"), *count = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || std::atoi(pid) != ::getpid()) return out;
  const int n = std::atoi(count);
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_FDNAMES");
  if (n < 0 || n > 64) return fail("LISTEN_FDS", "it must be a small number");
  for (int fd = 3; fd < 3 + n; fd++) {
    host::Fd socket(fd);
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    int listens = 0;
    socklen_t listens_size = sizeof listens;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
        ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) != 0 || listens == 0) {
      return fail(fmt::format("descriptor {} from systemd", fd), "it is no listening socket");
    }
    if (address.ss_family == AF_UNIX) {
      out.unix_sockets.push_back(std::move(socket));
    } else if (address.ss_family == AF_INET || address.ss_family == AF_INET6) {
      out.tcp_sockets.push_back(std::move(socket));
    } else {
      return fail(fmt::format("descriptor {} from systemd", fd), "it is neither a Unix socket nor one of TCP");
    }
  }
  return out;
}

Result<host::Fd> listen_local(const std::string& path, int group) {
  std::error_code error;
  const std::string folder = std::filesystem::path(path).parent_path().string();
  if (!folder.empty() && !std::filesystem::exists(folder, error)) {
    std::filesystem::create_directories(folder, error);
    if (error) return fail(fmt::format("cannot make '{}'", folder), error.message());
    ::chmod(folder.c_str(), 0755);
  }
  // Nobody else may connect before the mode is right.
  const mode_t before = ::umask(0177);
  auto socket = host::Fd::listen_unix(path);
  ::umask(before);
  if (!socket) return socket;
  if (group >= 0) {
    if (::lchown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(group)) != 0) return fail_errno(fmt::format("cannot give '{}' to the group", path));
    if (::chmod(path.c_str(), 0660) != 0) return fail_errno(fmt::format("cannot open '{}' for the group", path));
  }
  return socket;
}

Result<host::Fd> listen_tcp(const std::string& where) {
  const std::size_t colon = where.rfind(':');
  std::string host = where.substr(0, colon == std::string::npos ? 0 : colon);
  const std::string port = colon == std::string::npos ? where : where.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  unsigned number = 0;
  const auto [end, bad] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (bad != std::errc{} || end != port.data() + port.size() || number > 65535) return fail(fmt::format("--listen {}", where), "it must be ADDRESS:PORT");
  if (host.empty()) return fail(fmt::format("--listen {}", where), "the address is missing", "127.0.0.1 is this host alone, 0.0.0.0 all addresses");
  addrinfo hints{.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  if (const int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); code != 0) return fail(fmt::format("--listen {}", where), ::gai_strerror(code));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> keep(found, ::freeaddrinfo);
  host::Fd socket(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno("cannot make a socket");
  const int on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.get(), found->ai_addr, found->ai_addrlen) != 0) return fail_errno(fmt::format("cannot listen on {}", where));
  if (::listen(socket.get(), 256) != 0) return fail_errno(fmt::format("cannot listen on {}", where));
  return socket;
}

void notify_manager(const std::string& state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{.sun_family = AF_UNIX};
  if (path == nullptr || (path[0] != '/' && path[0] != '@') || std::strlen(path) >= sizeof address.sun_path) return;
  const std::size_t length = std::strlen(path);
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract name
  const host::Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // Whether anybody hears it is not our business.
  (void)::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address),
                 static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

}  // namespace nagaya::api
