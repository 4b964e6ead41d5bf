// Commands to a running nagaya-vmm, over its control socket (VmConfig::control) or an inherited descriptor
// (--control-fd): one JSON object per line, one line of answer for each, in order.
//
//   {"command": "pause"}   pause, resume, reset, powerdown (ACPI button), nmi, quit, status, stats, registers
//   {"command": "save", "file": "path", "then_exit": false}   with an open, empty file (SCM_RIGHTS); its name is for messages
//   {"command": "resize_disk", "disk": "disk0", "size": 1073741824}   bytes; a disk only grows
//   {"command": "link", "card": "net0", "up": false}   plugs the cable of a network card in or out
//   {"command": "balloon", "target": BYTES}   asks the guest to do with so much memory; without a target: only tells
//   → {"ok": true, "status": "running", …}   or   {"ok": false, "error": "…"}
//
// "status" answers with status (running, paused), reason (why it is paused, when the machine did it by itself: a disk for
// which the host has no space), engine, vcpus, memory; "stats", "registers" and "balloon" with text for a person.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::proto {

inline constexpr std::size_t longest_command = 64 * 1024;  ///< bytes of a line; a longer one ends the connection

struct VmCommand {
  enum class Verb : u8 { pause, resume, reset, powerdown, nmi, quit, status, stats, registers, save, resize_disk, link, balloon };
  Verb verb = Verb::status;
  std::string file{};  ///< of save
  bool then_exit = false;
  std::string disk{};  ///< of resize_disk
  u64 size = 0;        ///< of resize_disk, bytes
  std::string card{};  ///< of link
  bool up = true;      ///< of link
  std::optional<u64> target{};  ///< of balloon

  [[nodiscard]] std::string to_json() const;
  [[nodiscard]] static Result<VmCommand> from_json(std::string_view line);
};

struct VmAnswer {
  bool ok = true;
  std::string error{};    ///< when not ok
  std::string status{};   ///< running, paused
  std::string reason{};   ///< why it is paused, when nobody asked
  std::string engine{};
  unsigned vcpus = 0;
  u64 memory = 0;
  std::string text{};     ///< of stats, registers and balloon

  [[nodiscard]] std::string to_json() const;
  [[nodiscard]] static Result<VmAnswer> from_json(std::string_view line);
};

}  // namespace nagaya::proto
