// What this host offers for running machines, for "nagaya doctor".
#pragma once
#include <string>

namespace nagaya::vmm {

/// One JSON object: {"kvm": {"verdict": "fast", "line": "…", "why": "…", "mips": 0.0, "missing": "…"},
/// "auto": {"engine": "kvm", "reason": "…"}}. Verdicts: absent, refused, emulates_kernel, incomplete, fast.
[[nodiscard]] std::string probe_host();

}  // namespace nagaya::vmm
