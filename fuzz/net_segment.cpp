// Packets that a guest or another machine sent: a header of 12 bytes and a frame, checked and cut. No segment may reach
// outside the frame, be larger than was asked for, or get lost.
#include "net/segment.hpp"

#include <cstdlib>
#include <cstring>

#include "fuzz.hpp"

namespace {

using namespace nagaya;

std::vector<u8> packet(const net::Header& header, bool ip6, bool udp, bool vlan, std::size_t payload) {
  std::vector<u8> out(net::header_size + 14 + (vlan ? 4 : 0) + (ip6 ? 40 : 20) + (udp ? 8 : 20) + payload);
  std::memcpy(out.data(), &header, net::header_size);
  u8* type = out.data() + net::header_size + 12;
  if (vlan) {
    type[0] = 0x81;
    type += 4;
  }
  type[0] = ip6 ? 0x86 : 0x08;
  type[1] = ip6 ? 0xdd : 0x00;
  u8* ip = type + 2;
  ip[0] = ip6 ? 0x60 : 0x45;
  if (!ip6) ip[9] = udp ? 17 : 6;
  if (!udp) ip[(ip6 ? 40 : 20) + 12] = 0x50;
  return out;
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  using namespace net;
  std::vector<std::vector<u8>> out = {packet({}, false, false, false, 100)};
  for (const bool vlan : {false, true}) {
    const u16 more = vlan ? 4 : 0;
    const auto start = [&](unsigned at) { return static_cast<u16>(at + more); };
    out.push_back(packet({.flags = flag::needs_csum, .csum_start = start(34), .csum_offset = 6}, false, true, vlan, 99));
    out.push_back(packet({.flags = flag::needs_csum, .gso_type = gso::tcp4, .gso_size = 100, .csum_start = start(34), .csum_offset = 16},
                         false, false, vlan, 950));
    out.push_back(packet({.flags = flag::needs_csum, .gso_type = gso::tcp6, .gso_size = 7, .csum_start = start(54), .csum_offset = 16}, true,
                         false, vlan, 300));
    out.push_back(packet({.flags = flag::needs_csum, .gso_type = gso::udp, .gso_size = 64, .csum_start = start(54), .csum_offset = 6}, true,
                         true, vlan, 640));
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size < net::header_size) return 0;
  net::Header header;
  std::memcpy(&header, data, net::header_size);
  // Memory of its own of just this size, so that a step outside is seen.
  std::vector<u8> frame(data + net::header_size, data + size);
  const auto good = net::checked(header, frame.size());
  if (!good) return 0;
  net::Segmenter cut;
  if (!cut.begin(*good, frame)) return 0;
  std::size_t payload = 0, headers = 0;
  for (; cut.active(); cut.advance()) {
    const auto parts = cut.current();
    volatile u8 last = 0;
    for (const iovec& part : parts) {
      if (part.iov_len > 0) last = static_cast<const u8*>(part.iov_base)[part.iov_len - 1];
    }
    (void)last;
    if (good->gso_type == net::gso::none) {
      if (parts.size() != 1 || parts[0].iov_len != frame.size()) std::abort();
      continue;
    }
    if (parts.size() != 2 || parts[1].iov_len > good->gso_size) std::abort();
    headers = parts[0].iov_len;
    payload += parts[1].iov_len;
  }
  if (good->gso_type != net::gso::none && headers + payload != frame.size()) std::abort();
  return 0;
}
