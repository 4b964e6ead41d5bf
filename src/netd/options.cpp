#include "netd/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

namespace nagaya::netd {

Result<Options> parse_options(int argc, char** argv) {
  CLI::App app("One network between machines: a switch, and with --user a way out. Ends with its last machine");
  Options out;
  GatewayConfig gateway;
  std::string subnet = gateway.subnet.text();
  bool user = false, no_ip6 = false, no_loopback = false;
  unsigned mtu = 0;
  app.add_option("--port-fd", out.port_fds, "connected SOCK_SEQPACKET socket of a machine (repeatable)")->check(CLI::NonNegativeNumber);
  app.add_option("--splice-fd", out.splice_fds, "two taps or sockets (given twice) that are joined to each other; nothing else is done")->check(CLI::NonNegativeNumber);
  app.add_option("--listen", out.listen, "UNIX SOCK_SEQPACKET socket at which machines join");
  app.add_option("--status-fd", out.status_fd, "descriptor that gets one line: 'ready', or why not")->check(CLI::NonNegativeNumber);
  app.add_option("--idle", out.server.idle_seconds, "with --listen: seconds without a machine after which it ends")->check(CLI::Range(0, 86400));
  app.add_option("--mtu", mtu, "largest IP packet")->check(CLI::Range(576, 65520));
  app.add_flag("--user", user, "give addresses, DNS and a way out through this process's own sockets");
  app.add_option("--subnet", subnet, "user: the IPv4 subnet, at least /28");
  app.add_flag("--no-ip6", no_ip6, "user: IPv4 only");
  app.add_flag("--restrict", gateway.restricted, "user: no connections out; published ports still work");
  app.add_flag("--no-host-loopback", no_loopback, "user: the gateway's address does not stand for the host's loopback");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (app.exit(error) != 0) return fail("bad usage", error.what());
    out.help = true;
    return out;
  }
  if (!out.splice_fds.empty()) {
    if (out.splice_fds.size() != 2 || !out.port_fds.empty() || !out.listen.empty() || user) return fail("--splice-fd", "it is given twice, and alone");
    return out;
  }
  if (out.port_fds.empty() && out.listen.empty()) return fail("nobody could use this network", "neither --port-fd nor --listen is given");
  out.server.mtu = mtu != 0 ? mtu : user ? gateway.mtu : 1500;
  if (user) {
    TRY_ASSIGN(gateway.subnet, net::Net4::parse(subnet));
    if (gateway.subnet.prefix > 28) return fail(fmt::format("the subnet {} is too small", subnet), "/28 is the least");
    gateway.mtu = out.server.mtu;
    gateway.ip6 = !no_ip6;
    gateway.host_loopback = !no_loopback;
    out.server.gateway = gateway;
  }
  return out;
}

}  // namespace nagaya::netd
