// A learning Ethernet switch (IEEE 802.1D, without its protocols). Single-threaded; knows nothing of sockets.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "net/mac.hpp"
#include "net/wire.hpp"

namespace nagaya::netd {

/// What hangs on a port. A frame is dropped when there is no room for it.
class Station {
 public:
  virtual ~Station() = default;
  /// `from` is the port the frame came from. Its bytes may be changed for the receiver only as offload::fit does.
  virtual void deliver(unsigned from, const net::Header& header, std::span<u8> frame) = 0;
};

class Switch {
 public:
  static constexpr unsigned most_ports = 64;
  /// Addresses learned behind one port; more replace the oldest, so that flooding costs only the flooder.
  static constexpr std::size_t most_addresses = 64;

  /// The port's number, or nothing when all are taken.
  [[nodiscard]] std::optional<unsigned> attach(Station& station);
  /// Forgets the port and what was learned behind it.
  void detach(unsigned port);
  /// From now on the address belongs to that port: frames that claim it elsewhere are dropped. False: another has it.
  bool pin(unsigned port, const net::Mac& address);

  /// A frame for one port alone, whatever addresses it bears.
  void reply(unsigned from, unsigned to, const net::Header& header, std::span<u8> frame) {
    if (ports_[to].station != nullptr) ports_[to].station->deliver(from, header, frame);
  }
  /// A frame came in. The header was checked against the frame's size.
  void input(unsigned from, const net::Header& header, std::span<u8> frame);

  [[nodiscard]] std::size_t learned() const { return table_.size(); }
  [[nodiscard]] std::size_t ports() const { return attached_; }

 private:
  struct Place {
    unsigned port;
    bool pinned;
  };
  struct Port {
    Station* station = nullptr;
    std::vector<u64> learned{};  // a ring once it is full: `oldest` is replaced next
    std::size_t oldest = 0;
  };
  bool learn(unsigned port, u64 address);

  std::array<Port, most_ports> ports_;
  std::size_t attached_ = 0;
  std::unordered_map<u64, Place> table_;
};

}  // namespace nagaya::netd
