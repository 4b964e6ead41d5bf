#include "machine/net_links.hpp"

#include "host/fd.hpp"
#include "net/tap.hpp"

namespace nagaya::machine {
namespace {

Result<std::vector<std::unique_ptr<net::Link>>> open_links(const proto::NetConfig& wanted) {
  if (!wanted.tap.empty()) return net::open_tap(wanted.tap, wanted.queues);
  std::vector<std::unique_ptr<net::Link>> links;
  if (!wanted.socket.empty()) {
    TRY_ASSIGN(auto link, net::connect_link(wanted.socket));
    links.push_back(std::move(link));
  } else if (wanted.fd >= 0) {
    TRY_ASSIGN(auto link, net::adopt_link(host::Fd(wanted.fd)));
    links.push_back(std::move(link));
  } else {
    return fail("a network card of the saved machine has no link here", {}, "give it one: a descriptor, a socket or a tap");
  }
  return links;
}

}  // namespace

Result<NetLinks> open_net_links(const proto::VmConfig& config) {
  NetLinks out;
  for (const proto::NetConfig& wanted : config.nets) {
    TRY_ASSIGN(auto links, open_links(wanted));
    out.push_back(std::move(links));
  }
  return out;
}

}  // namespace nagaya::machine
