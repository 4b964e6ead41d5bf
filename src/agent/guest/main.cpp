// nagaya-agent: listens inside a guest for its host. Started by systemd, or by hand as root: needs nothing beside the
// kernel's virtio socket driver.
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "agent/guest/mounts.hpp"
#include "agent/guest/service.hpp"
#include "agent/guest/unit.hpp"

namespace {

using namespace nagaya;
using agent::guest::mount_shares;

constexpr unsigned most_connections = 64;

/// 0, 1 and 2 are open afterwards, so that no socket gets one of these numbers.
void open_standard_streams() {
  while (true) {
    const int fd = ::open("/dev/null", O_RDWR);
    if (fd < 0 || fd > 2) {
      if (fd > 2) ::close(fd);
      return;
    }
  }
}

host::Fd listen() {
  host::Fd fd(::socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = VMADDR_CID_ANY;
  address.svm_port = agent::vsock_port;
  if (!fd || ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(fd.get(), 16) != 0) return {};
  return fd;
}

void serve_one(host::Fd connection, const sockaddr_vm& from) {
  // Only the host may give orders: on this machine every user can connect to a socket of this kind.
  if (from.svm_cid != VMADDR_CID_HOST) return;
  agent::Channel channel(std::move(connection));
  agent::guest::serve(channel);
}

int run() {
  ::signal(SIGPIPE, SIG_IGN);
  mount_shares();
  host::Fd listener = listen();
  for (bool told = false; !listener; listener = listen()) {
    if (errno == EADDRINUSE || errno == EACCES || errno == EPERM) {
      std::fprintf(stderr, "nagaya-agent: cannot listen on virtio port %u: %s\n", agent::vsock_port, std::strerror(errno));
      return 1;
    }
    // The driver comes when the device is found.
    if (!told) std::fprintf(stderr, "nagaya-agent: waiting for virtio sockets: %s\n", std::strerror(errno));
    told = true;
    ::sleep(1);
  }
  unsigned connections = 0;
  while (true) {
    while (connections != 0 && ::waitpid(-1, nullptr, connections < most_connections ? WNOHANG : 0) > 0) --connections;
    pollfd wait{listener.get(), POLLIN, 0};
    if (::poll(&wait, 1, connections != 0 ? 1000 : -1) <= 0) continue;
    sockaddr_vm from{};
    socklen_t size = sizeof from;
    host::Fd connection(::accept4(listener.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_CLOEXEC));
    if (!connection) {
      if (errno != EINTR && errno != ECONNABORTED) ::sleep(1);
      continue;
    }
    const pid_t pid = ::fork();
    if (pid == 0) {
      listener.reset();
      serve_one(std::move(connection), from);
      ::_exit(0);
    }
    if (pid > 0) ++connections;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view word = argc == 2 ? argv[1] : "";
  if (argc == 1) {
    open_standard_streams();
    return run();
  }
  if (word == "--print-unit") {
    std::fputs(agent::guest::unit, stdout);
    return 0;
  }
  if (word == "--version") {
    std::puts(NAGAYA_VERSION);
    return 0;
  }
  std::fputs("usage: nagaya-agent [--print-unit | --version]\n", stderr);
  return 2;
}
