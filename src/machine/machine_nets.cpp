// What can be done with the network cards of a machine, and what they did.
#include <fmt/format.h>

#include <algorithm>

#include "machine/machine.hpp"
#include "virtio/net/net.hpp"

namespace nagaya::machine {

Result<> Machine::set_link(const std::string& card, bool up) {
  const auto found = std::ranges::find(board_->nets, card, [](const virtio::Net* net) -> const std::string& { return net->name(); });
  if (found == board_->nets.end()) {
    return fail(fmt::format("no network card '{}'", card), {}, fmt::format("there are {}, net0 being the first", board_->nets.size()));
  }
  (*found)->set_link(up);
  return {};
}

std::string Machine::statistics() const {
  std::string out = engine_->statistics();
  for (const virtio::Net* net : board_->nets) {
    const auto counters = net->counters();
    out += fmt::format("{}: {} packets to the guest, {} dropped; {} packets from it, {} dropped; link {}\n", net->name(), counters.to_guest,
                       counters.to_guest_dropped, counters.from_guest, counters.from_guest_dropped, net->link_up() ? "up" : "down");
  }
  return out;
}

}  // namespace nagaya::machine
