// Test guests as the files in guests/ describe themselves:
//   ;@ MODE [vcpus=N] [end=shutdown] [needs=FEATURE]…    first line; MODE: real, protected32, long64
//   ;= TEXT                                              a line of the log that the guest must leave, in order
#pragma once
#include <string>
#include <vector>

#include "guest.hpp"

namespace nagaya::conformance {

struct Case {
  std::string name;
  Mode mode = Mode::real;
  unsigned vcpus = 1;
  End end = End::finished;
  std::vector<std::string> needs;
  std::vector<std::string> log;
};

/// All of them, by name. A file that does not describe itself well is a case with an empty log.
[[nodiscard]] const std::vector<Case>& cases();
/// The first of `needs` that a CPUID table does not have, or empty.
[[nodiscard]] std::string lacking(const Case& which, std::span<const x86::CpuidEntry> cpuid);

/// Empty when the guest did what its file says, else what differs.
[[nodiscard]] std::string difference(const Case& which, End end, const std::string& detail,
                                     const std::vector<std::string>& log);

/// known_failures.txt: the reason why `test` ("runs/smp") fails on an engine of class `engine_class`, or empty.
[[nodiscard]] std::string known_failure(const std::string& engine_class, const std::string& test);

}  // namespace nagaya::conformance
