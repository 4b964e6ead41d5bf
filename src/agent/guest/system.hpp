// The short operations: who are you, set the clock, switch off, addresses.
#pragma once
#include "agent/channel.hpp"

namespace nagaya::agent::guest {

/// Agent's version, protocol, host name, kernel; as "key=value".
[[nodiscard]] std::vector<std::string> describe_self();
Result<> set_time(u64 ns);
Result<> power(Power kind);
/// "eth0 52:54:00:12:34:56 10.0.2.15/24 fe80::1/64", one for each interface but the loopback.
[[nodiscard]] Result<std::vector<std::string>> addresses();

}  // namespace nagaya::agent::guest
