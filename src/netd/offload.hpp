// What a receiver gets of a packet: the packet itself, or what software makes of it when the receiver cannot do what the
// packet's header asks of it.
#pragma once
#include <functional>
#include <span>

#include "net/segment.hpp"
#include "net/wire.hpp"

namespace nagaya::netd {

/// At most as many pieces come of one packet; what wants more is dropped. Linux sends none below 48 bytes of payload.
inline constexpr std::size_t most_segments = 1400;

/// Gives `out` the frame, in one piece or several, or the frames it is cut into. The header was checked. The frame may be
/// changed.
template <class Out>
void fit(const net::Header& header, std::span<u8> frame, u32 offloads, Out out) {
  const bool segments = header.gso_type != net::gso::none;
  const u32 wanted = net::wanted_offloads(header);
  if ((wanted & ~offloads) == 0) {
    const iovec whole{frame.data(), frame.size()};
    return out(header, std::span(&whole, 1));
  }
  if (segments && frame.size() / header.gso_size > most_segments) return;
  net::Segmenter cut;
  for (cut.begin(header, frame); cut.active(); cut.advance()) out(net::Header{}, cut.current());
}

}  // namespace nagaya::netd
