// A container must not be able to write the program file of the runtime through /proc/PID/exe of a process that enters
// it (CVE-2019-5736).
#pragma once
#include "base/result.hpp"

namespace nagaya::oci {

/// Makes sure that this program runs from a file that nobody can open for writing: executes itself again from a
/// read-only mount of its own that no namespace shows, or from a sealed copy in memory. `argv` ends with a null
/// pointer.
Result<> protect_own_program(char** argv);

}  // namespace nagaya::oci
