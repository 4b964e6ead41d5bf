// How a machine's process (nagaya-vmm) ends, and how `nagaya run` ends after it: the same numbers.
//
// A debug exit gives (value << 1) | 1, so it is always odd; the outcomes below that a guest can cause are even, so that
// the two are never mixed up. Our own failure is 125, as with docker run; who needs to tell it from a guest's debug exit
// of 62 reads the outcome line (see VmOutcome).
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::proto {

enum ExitCode : int {
  exit_power_off = 0,        ///< the guest switched itself off, or the user left (Ctrl-], quit)
  exit_reset = 96,           ///< the guest asked for a reset and no_reboot was set
  exit_triple_fault = 98,    ///< the guest crashed so hard that a PC would reset
  exit_guest_internal = 100, ///< the engine cannot go on with this guest (KVM internal error, unsupported instruction)
  exit_saved = 0,            ///< saved to a file on demand and ended
  exit_failure = 125,        ///< our error: bad options, files, host; nothing was lost by the guest
};

/// Why a machine ended.
enum class Outcome : u8 {
  power_off,
  reset,           ///< only with no_reboot; else the machine restarts in its process
  debug_exit,      ///< `value` is the exit status, (guest value << 1) | 1
  triple_fault,    ///< only with no_reboot or halt_on_triple_fault
  internal_error,  ///< `detail` says what
  killed,          ///< quit command, Ctrl-], or a signal
  saved,           ///< saved to a file and told to end then
  failed,          ///< never ran, or the host failed it; `detail` says what
};

/// What nagaya-vmm writes as one JSON line to its status descriptor just before it ends:
/// {"outcome":"debug_exit","value":33,"detail":""}
struct VmOutcome {
  Outcome outcome = Outcome::failed;
  int value = 0;
  std::string detail{};

  [[nodiscard]] int exit_code() const;
  /// One sentence for a person: "the guest powered off".
  [[nodiscard]] std::string sentence() const;
  [[nodiscard]] std::string to_json() const;
  [[nodiscard]] static Result<VmOutcome> from_json(std::string_view line);
};

[[nodiscard]] std::string_view outcome_name(Outcome outcome);

}  // namespace nagaya::proto
