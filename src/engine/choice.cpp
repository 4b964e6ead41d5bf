#include "engine/choice.hpp"

#include <fmt/format.h>

namespace nagaya::engine {

Result<EnginePreference> parse_engine_preference(std::string_view text) {
  if (text == "auto") return EnginePreference::automatic;
  if (text == "kvm") return EnginePreference::kvm;
  if (text == "soft") return EnginePreference::soft;
  return fail(fmt::format("unknown engine '{}'", text), {}, "auto, kvm or soft");
}

Result<EngineChoice> choose_engine(EnginePreference preference, const ProbeResult& kvm) {
  switch (preference) {
    case EnginePreference::soft:
      return EngineChoice{"soft", "asked for"};
    case EnginePreference::kvm:
      if (!kvm.usable()) return fail("the KVM engine cannot be used", kvm.line(), "use --engine soft");
      return EngineChoice{"kvm", kvm.verdict == ProbeVerdict::fast ? "asked for" : "asked for, although " + kvm.line()};
    case EnginePreference::automatic:
      break;
  }
  return EngineChoice{kvm.verdict == ProbeVerdict::fast ? "kvm" : "soft", kvm.line()};
}

}  // namespace nagaya::engine
