// The console of a machine in the background: what it writes is in its log (MachinePlaces::console_log), what it reads comes through a named
// pipe (MachinePlaces::console_input). So any number of people may look and type, nobody's slowness holds the guest, and nothing
// beside the machine's process is needed for it.
#pragma once
#include "base/result.hpp"
#include "domain/machine_store.hpp"
#include "host/fd.hpp"

namespace nagaya::domain {

/// The machine's own ends, for as long as it runs.
struct ConsoleEnds {
  host::Fd input;   ///< has a writer always: its own descriptor
  host::Fd output;  ///< the log, appended to
};
/// Makes both; a log that is there is emptied when `fresh`.
[[nodiscard]] Result<ConsoleEnds> make_console_ends(const Machine& machine, bool fresh);

/// Where the last `lines` lines of a file begin.
[[nodiscard]] Result<u64> tail_offset(int file, u64 lines);

struct ConsoleVisit {
  int input = -1;   ///< what is typed; -1: nobody types. A socket may be both
  int output = -1;  ///< where the console goes
  int leave = -1;   ///< readable: the visitor goes
  char leave_key = 0;  ///< typed: the visitor goes; 0: there is none
  bool terminal = false;            ///< each new line begins at the left
  bool input_end_leaves = false;    ///< else one goes on looking
  u64 tail = 40;                    ///< lines of what was written before, for whoever comes
};
enum class VisitEnd : u8 { left, machine_ended };

/// EOPNOTSUPP: its console is the terminal that it was started at.
[[nodiscard]] Result<VisitEnd> visit_console(const MachineStore& store, const Machine& machine, const ConsoleVisit& visit);
/// Whether `visit_console` would find one; the same error.
[[nodiscard]] Result<> has_console(const Machine& machine);

}  // namespace nagaya::domain
