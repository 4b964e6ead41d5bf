// The user's terminal in raw mode, restored whatever happens: on destruction, at exit, and when a fatal signal ends the
// process.
#pragma once
#include <memory>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::host {

/// Raw mode of a terminal while it lives; one at a time per process.
class RawTerminal {
 public:
  /// Error when `fd` is no terminal.
  static Result<RawTerminal> enter(int fd);
  RawTerminal(RawTerminal&& other) noexcept;
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();
  /// Puts the earlier mode back now (and after SIGTSTP-like pauses `enter_again` makes it raw again).
  void restore();
  void enter_again();

 private:
  explicit RawTerminal(int fd) : fd_(fd) {}
  int fd_ = -1;
};

[[nodiscard]] bool is_terminal(int fd);

struct TerminalSize {
  unsigned columns = 80, rows = 24;
};
[[nodiscard]] TerminalSize terminal_size(int fd);

}  // namespace nagaya::host
