// What a look at the host's hardware virtualization found: plain data, the same for every engine that can be probed.
#pragma once
#include <string>

#include "base/types.hpp"

namespace nagaya::engine {

enum class ProbeVerdict : u8 {
  absent,           ///< there is no such device
  refused,          ///< it is there, but we may not use it or it lacks something the machine needs
  emulates_kernel,  ///< works, but guest kernel code crawls (emulated one instruction at a time)
  incomplete,       ///< fast enough, but instructions every kernel uses are refused
  fast,             ///< guest kernel code runs at the host's speed
};

struct ProbeResult {
  ProbeVerdict verdict = ProbeVerdict::absent;
  std::string why{};        ///< cause in a few words; empty when fast
  double mips = 0;          ///< measured instructions per microsecond of guest ring 0 (0: not measured)
  std::string missing{};    ///< kernel instructions this host refuses, names separated by spaces
  unsigned host_errno = 0;  ///< of the failed open or request, else 0

  /// True when engine tests can run small guests on it at all.
  [[nodiscard]] bool usable() const { return verdict >= ProbeVerdict::emulates_kernel; }
  /// One line for a person: "KVM emulates guest kernel code (1.1 MIPS) and lacks INT3 XSAVE".
  [[nodiscard]] std::string line() const;
};

}  // namespace nagaya::engine
