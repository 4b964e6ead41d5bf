// IPv4 addresses and networks, as text and numbers.
#pragma once
#include <compare>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::net {

/// An IPv4 address; `value` in the host's byte order.
struct Ip4 {
  u32 value = 0;
  auto operator<=>(const Ip4&) const = default;
  [[nodiscard]] std::string text() const;
  static Result<Ip4> parse(std::string_view text);
};

/// An IPv4 network: "10.0.2.0/24", from /8 to /29, no bits set behind the prefix.
struct Net4 {
  Ip4 base{};
  unsigned prefix = 24;
  auto operator<=>(const Net4&) const = default;
  [[nodiscard]] std::string text() const;
  [[nodiscard]] u32 mask() const { return ~u32{0} << (32 - prefix); }
  [[nodiscard]] bool contains(Ip4 a) const { return (a.value & mask()) == base.value; }
  [[nodiscard]] bool overlaps(const Net4& o) const { return contains(o.base) || o.contains(base); }
  /// The n-th address in it.
  [[nodiscard]] Ip4 at(u32 n) const { return {base.value + n}; }
  [[nodiscard]] u32 size() const { return ~mask() + 1; }
  static Result<Net4> parse(std::string_view text);
};

}  // namespace nagaya::net
