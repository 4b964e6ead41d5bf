// At a container's console: the client's side of console_protocol.hpp.
#pragma once
#include <optional>
#include <string>

#include "base/result.hpp"
#include "domain/container_store.hpp"

namespace nagaya::domain {

struct AttachOptions {
  bool input = false;             ///< our standard input goes to it
  bool terminal = false;          ///< our terminal becomes raw; Ctrl-] (or `detach_keys`) leaves
  bool start = false;             ///< says go first (ContainerStart::wait_for_client)
  bool relay_signals = true;      ///< SIGINT, SIGTERM … that reach us go to the program
  char detach_key = 0x1d;
};

struct AttachResult {
  bool detached = false;  ///< the user left; the container goes on
  int exit_code = 0;
  std::optional<Error> failure{};  ///< it could not be started
};

/// Connects to the monitor.
[[nodiscard]] Result<host::Fd> connect_console(const Container& container);
/// Carries our standard streams until the container ends or the user leaves. The terminal is as before afterwards.
[[nodiscard]] Result<AttachResult> attach_console(const host::Fd& socket, const AttachOptions& options);

}  // namespace nagaya::domain
