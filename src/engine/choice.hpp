// Which engine a machine gets. A pure function of what the user asked for and what the probe found.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "engine/probe.hpp"

namespace nagaya::engine {

enum class EnginePreference : u8 { automatic, kvm, soft };

/// "auto", "kvm" or "soft"; anything else is an error that names the three.
[[nodiscard]] Result<EnginePreference> parse_engine_preference(std::string_view text);

struct EngineChoice {
  std::string name;    ///< "kvm" or "soft"
  std::string reason;  ///< one line for a person, without the name
};

/// Automatic prefers KVM only where it is fast and complete. Asking for KVM where it is absent or refused is an error;
/// where it is only slow or incomplete the user gets it, and the reason says what to expect.
[[nodiscard]] Result<EngineChoice> choose_engine(EnginePreference preference, const ProbeResult& kvm);

}  // namespace nagaya::engine
