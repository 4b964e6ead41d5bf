// What the kernel tells of a process in one line: /proc/PID/stat, proc(5).
#pragma once
#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/types.hpp"

namespace nagaya::host {

struct ProcessStat {
  std::string name;  ///< at most 15 bytes of what it calls itself, any bytes
  char state = 'X';
  pid_t parent = 0;
  u64 user_ticks = 0, system_ticks = 0;  ///< of sysconf(_SC_CLK_TCK)
  u64 start_ticks = 0;                   ///< since the host's start
  u64 resident_pages = 0;
};

/// Nothing: there is no such process.
[[nodiscard]] std::optional<ProcessStat> read_process_stat(pid_t pid);
/// The line itself.
[[nodiscard]] std::optional<ProcessStat> parse_process_stat(std::string_view line);

}  // namespace nagaya::host
