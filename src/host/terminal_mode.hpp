// A terminal's mode, remembered by one process while another changes it.
#pragma once
#include <memory>

#include "base/result.hpp"

struct termios;

namespace nagaya::host {

/// Remembers the mode of a terminal and puts it back on destruction. For a parent whose child makes the terminal raw: a
/// child that is killed cannot restore anything itself. Does nothing when `fd` is no terminal.
class TerminalMode {
 public:
  explicit TerminalMode(int fd);
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;
  ~TerminalMode();
  void restore() const;

 private:
  int fd_;
  std::unique_ptr<termios> mode_;  // null: no terminal
};

}  // namespace nagaya::host
