// Ways between a guest and a device that do not pass through a vCPU's thread: the engine signals and hears eventfds itself.
// Only where the engine can (engine::Capabilities::eventfds); each may be refused, and the ordinary way then goes on.
#pragma once
#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::bus {

/// Thread-safe. Descriptors stay their owner's, who takes them back before closing them.
class EventPaths {
 public:
  virtual ~EventPaths() = default;
  /// Signals `eventfd` when the guest writes to this guest-physical address, whatever and how wide; no device hears of it.
  virtual Result<> add_notification(u64 address, int eventfd) = 0;
  virtual void remove_notification(u64 address, int eventfd) = 0;
  /// Sends this message at each signal of `eventfd`; again to change the message.
  virtual Result<> set_message(int eventfd, u64 address, u32 data) = 0;
  virtual void remove_message(int eventfd) = 0;
};

}  // namespace nagaya::bus
