// nagaya-net: one network in one process. Started by nagaya; usable by hand (nagaya-net --help).
// It gives up what it can before a machine's first packet: root, files but for the resolver's configuration, programs.
#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <climits>
#include <cstdlib>

#include "host/confine.hpp"
#include "host/jail.hpp"
#include "host/signal.hpp"
#include "net/link.hpp"
#include "netd/options.hpp"
#include "netd/splice.hpp"

namespace {

using namespace nagaya;

// Each connection costs a descriptor and up to 256 KiB of buffers: this bounds both.
constexpr rlim_t most_descriptors = 4096;

/// Where the resolver's configuration lies, also after it was replaced: libslirp reads it again when it changes.
std::vector<std::string> resolver_folders() {
  std::vector<std::string> out = {"/etc"};
  char real[PATH_MAX];
  if (::realpath("/etc/resolv.conf", real) != nullptr) {
    const std::string path = real;
    if (const std::string folder = path.substr(0, path.rfind('/')); !folder.empty() && folder != "/etc") out.push_back(folder);
  }
  return out;
}

Result<> give_up_rights(bool gateway) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = std::min(most_descriptors, limit.rlim_max);
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
  }
  TRY(host::drop_root());
  TRY(host::confine_to_reading(gateway ? resolver_folders() : std::vector<std::string>{}));
  return host::enter_jail({.network = gateway, .threads = false, .write_files = false});
}

Result<> ready(int status_fd) {
  if (status_fd < 0) return {};
  const host::Fd status(status_fd);
  return host::write_all(status.get(), "ready\n");
}

Result<> splice(const netd::Options& options, int stop_fd) {
  TRY_ASSIGN(auto first, net::adopt_link(host::Fd(options.splice_fds[0])));
  TRY_ASSIGN(auto second, net::adopt_link(host::Fd(options.splice_fds[1])));
  TRY(give_up_rights(false));
  TRY(ready(options.status_fd));
  netd::splice_links(*first, *second, stop_fd);
  return {};
}

Result<> serve(netd::Options& options) {
  host::ignore_sigpipe();
  TRY_ASSIGN(const host::SignalFd signals, host::SignalFd::create({SIGINT, SIGTERM, SIGHUP}));
  if (!options.splice_fds.empty()) return splice(options, signals.fd());
  TRY_ASSIGN(auto server, netd::Server::create(options.server));
  for (const int fd : options.port_fds) TRY(server->add_port(host::Fd(fd)));
  if (!options.listen.empty()) {
    TRY_ASSIGN(host::Fd listener, host::Fd::listen_unix(options.listen, SOCK_SEQPACKET));
    TRY(host::set_nonblocking(listener.get()));
    server->listen(std::move(listener));
  }
  TRY(give_up_rights(options.server.gateway.has_value()));
  TRY(ready(options.status_fd));
  server->run(signals.fd());
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  constexpr int failure = 125;
  auto options = netd::parse_options(argc, argv);
  if (!options) {
    fmt::print(stderr, "nagaya-net: {}\n", options.error().message());
    return failure;
  }
  if (options->help) return 0;
  const int status_fd = options->status_fd;
  if (auto served = serve(*options); !served) {
    fmt::print(stderr, "nagaya-net: {}\n", served.error().message());
    if (status_fd >= 0) (void)host::write_all(status_fd, served.error().message() + "\n");
    return failure;
  }
  return 0;
}
