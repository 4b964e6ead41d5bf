// Names of signals, as people and configurations write them.
#pragma once
#include <string>

namespace nagaya {

/// The number of "9", "KILL", "SIGKILL", "sigkill", "RTMIN+3", "SIGRTMAX-2"; -1 when it is none. "0" is 0: it asks whether a process is
/// there. Realtime signals count from 34 to 64, as C libraries show them to programs.
[[nodiscard]] int signal_of_name(const std::string& text);

}  // namespace nagaya
