// The host ends of a machine's character devices, opened as its configuration says. Standard input on a terminal becomes
// raw; there the key Ctrl-] is ours.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "devices/char_backend.hpp"
#include "host/event_loop.hpp"
#include "host/terminal.hpp"
#include "machine/board.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::machine {

class OpenEnds {
 public:
  /// `on_escape` is called on the loop's thread when the user types Ctrl-].
  static Result<std::unique_ptr<OpenEnds>> open(host::EventLoop& loop, const proto::VmConfig& config,
                                                std::function<void()> on_escape);
  [[nodiscard]] const CharEnds& ends() const { return ends_; }
  /// Waits a little until what the guest wrote has left.
  void drain();
  /// One line for each end a person has to find ("serial0 is at /dev/pts/7").
  [[nodiscard]] const std::vector<std::string>& places() const { return places_; }
  [[nodiscard]] bool raw() const { return terminal_.has_value(); }

 private:
  OpenEnds() = default;
  Result<devices::CharBackend*> open_one(host::EventLoop& loop, const proto::CharConfig& config,
                                         const std::function<void()>& on_escape);
  std::optional<host::RawTerminal> terminal_;
  std::vector<std::unique_ptr<devices::CharBackend>> backends_;
  std::vector<std::string> places_;
  CharEnds ends_;
};

}  // namespace nagaya::machine
