// One request while it is served: its header and arguments, copied once, and its reply in the making.
#pragma once
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "fuse/buffers.hpp"
#include "fuse/protocol.hpp"

namespace nagaya::fuse {

struct Call {
  fuse_in_header head{};
  std::span<const u8> rest;      ///< arguments not yet taken
  std::span<const iovec> in;     ///< the request as it lies in the client's memory
  std::span<const iovec> out;    ///< room for header and reply
  u64 in_bytes = 0, room = 0;    ///< of the request, as its header says; for the reply without its header
  std::vector<u8>& reply;        ///< what follows the reply's header
  u64 direct = 0;                ///< bytes that were written to `out` behind the header already

  /// The next argument; false when the request is too short.
  template <class T>
  [[nodiscard]] bool take(T& value) {
    if (rest.size() < sizeof value) return false;
    std::memcpy(&value, rest.data(), sizeof value);
    rest = rest.subspan(sizeof value);
    return true;
  }
  /// A string up to its zero byte, of at most `longest` bytes; an errno value or 0.
  [[nodiscard]] int take_string(std::string& out_text, u64 longest);
  /// One name in a folder: no path, nothing that leads elsewhere. An errno value or 0.
  [[nodiscard]] int take_name(std::string& name);

  template <class T>
  void put(const T& value) {
    const auto* bytes = reinterpret_cast<const u8*>(&value);
    reply.insert(reply.end(), bytes, bytes + sizeof value);
  }
};

}  // namespace nagaya::fuse
