#include "engine/probe.hpp"

#include <fmt/format.h>

namespace nagaya::engine {

std::string ProbeResult::line() const {
  switch (verdict) {
    case ProbeVerdict::absent:
      return fmt::format("no KVM here: {}", why);
    case ProbeVerdict::refused:
      return fmt::format("KVM is refused: {}", why);
    case ProbeVerdict::emulates_kernel:
      return fmt::format("KVM emulates guest kernel code ({:.1f} MIPS){}{}", mips, missing.empty() ? "" : " and lacks ",
                         missing);
    case ProbeVerdict::incomplete:
      return fmt::format("KVM is incomplete ({:.0f} MIPS): it lacks {}", mips, missing);
    case ProbeVerdict::fast:
      break;
  }
  return fmt::format("KVM runs guest kernel code at speed ({:.0f} MIPS)", mips);
}

}  // namespace nagaya::engine
