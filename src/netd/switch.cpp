#include "netd/switch.hpp"

namespace nagaya::netd {
namespace {

u64 number_of(const u8* address) {
  u64 out = 0;
  for (unsigned i = 0; i < 6; ++i) out = out << 8 | address[i];
  return out;
}

}  // namespace

std::optional<unsigned> Switch::attach(Station& station) {
  for (unsigned i = 0; i < most_ports; ++i) {
    if (ports_[i].station != nullptr) continue;
    ports_[i].station = &station;
    ++attached_;
    return i;
  }
  return {};
}

void Switch::detach(unsigned port) {
  if (ports_[port].station == nullptr) return;
  ports_[port] = {};
  --attached_;
  std::erase_if(table_, [&](const auto& entry) { return entry.second.port == port; });
}

bool Switch::pin(unsigned port, const net::Mac& address) {
  const u64 key = number_of(address.data());
  if (const auto it = table_.find(key); it != table_.end()) {
    if (it->second.pinned) return it->second.port == port;
    std::erase(ports_[it->second.port].learned, key);
    ports_[it->second.port].oldest = 0;
  }
  table_[key] = {port, true};
  return true;
}

bool Switch::learn(unsigned port, u64 address) {
  auto [it, fresh] = table_.try_emplace(address, Place{port, false});
  if (!fresh && it->second.port == port) return true;
  Port& here = ports_[port];
  if (!fresh) {
    if (it->second.pinned) return false;
    // A station moved. It leaves a hole in the other ring's order of age, which is only a matter of fairness.
    std::erase(ports_[it->second.port].learned, address);
    ports_[it->second.port].oldest = 0;
    it->second.port = port;
  }
  if (here.learned.size() < most_addresses) {
    here.learned.push_back(address);
  } else {
    table_.erase(here.learned[here.oldest]);
    here.learned[here.oldest] = address;
    here.oldest = (here.oldest + 1) % most_addresses;
  }
  return true;
}

void Switch::input(unsigned from, const net::Header& header, std::span<u8> frame) {
  if (frame.size() < net::ethernet_size || ports_[from].station == nullptr) return;
  constexpr u8 group = 1;
  const u8* const to = frame.data();
  const u8* const source = frame.data() + 6;
  if (source[0] & group || !learn(from, number_of(source))) return;
  if (!(to[0] & group)) {
    if (const auto it = table_.find(number_of(to)); it != table_.end()) {
      const unsigned port = it->second.port;
      if (port != from) ports_[port].station->deliver(from, header, frame);
      return;
    }
  }
  // To all others. A station may change the frame as far as another may see it, too (a completed checksum): `header` says
  // what was true before, so each gets a copy of a frame that has something left to do.
  std::vector<u8> copy;
  for (unsigned port = 0; port < most_ports; ++port) {
    if (port == from || ports_[port].station == nullptr) continue;
    if (header.flags & net::flag::needs_csum) {
      copy.assign(frame.begin(), frame.end());
      ports_[port].station->deliver(from, header, copy);
    } else {
      ports_[port].station->deliver(from, header, frame);
    }
  }
}

}  // namespace nagaya::netd
