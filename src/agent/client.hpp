// The host's side: connections to the agent of a guest, and its short operations.
#pragma once
#include "agent/channel.hpp"

namespace nagaya::agent {

/// An answer that says that the operation failed in the guest; its code is the guest's errno.
[[nodiscard]] std::unexpected<Error> failure_of(const Frame& frame);

/// Connects through a machine's socket ("<runtime>/vm/NAME/vsock.sock") to its agent. A guest that is still starting is
/// given `patience_ms`.
[[nodiscard]] Result<Channel> connect(const std::string& socket, int patience_ms = 0);
/// Sends the request and waits for its acceptance, whose payload is given.
[[nodiscard]] Result<std::vector<u8>> ask(Channel& channel, const Request& request);

/// "key=value": version, protocol, hostname, kernel.
[[nodiscard]] Result<std::vector<std::string>> ping(const std::string& socket, int patience_ms = 0);
/// Gives the guest this host's time.
Result<> set_time(const std::string& socket, int patience_ms = 0);
Result<> power(const std::string& socket, Power kind);
/// One line for each interface: name, hardware address, addresses with their prefix.
[[nodiscard]] Result<std::vector<std::string>> addresses(const std::string& socket);

}  // namespace nagaya::agent
