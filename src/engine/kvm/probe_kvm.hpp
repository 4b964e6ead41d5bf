// Is /dev/kvm there, complete, and fast for guest kernel code? Takes about a millisecond where it is fast, some twenty
// where it is not, and never hangs: every guest it runs is ended by a timer.
#pragma once
#include <string>

#include "engine/probe.hpp"

namespace nagaya::engine::kvm {

[[nodiscard]] ProbeResult probe_kvm(const std::string& device = "/dev/kvm");

}  // namespace nagaya::engine::kvm
