#include "vmm/probe.hpp"

#include <nlohmann/json.hpp>

#include "engine/choice.hpp"
#include "engine/kvm/probe_kvm.hpp"
#include "vmm/jail.hpp"

namespace nagaya::vmm {
namespace {

std::string_view verdict_name(engine::ProbeVerdict verdict) {
  switch (verdict) {
    case engine::ProbeVerdict::absent: return "absent";
    case engine::ProbeVerdict::refused: return "refused";
    case engine::ProbeVerdict::emulates_kernel: return "emulates_kernel";
    case engine::ProbeVerdict::incomplete: return "incomplete";
    case engine::ProbeVerdict::fast: return "fast";
  }
  return "";
}

}  // namespace

std::string probe_host() {
  const engine::ProbeResult kvm = engine::kvm::probe_kvm();
  nlohmann::ordered_json out;
  out["kvm"] = {{"verdict", verdict_name(kvm.verdict)},
                {"line", kvm.line()},
                {"why", kvm.why},
                {"mips", kvm.mips},
                {"missing", kvm.missing}};
  if (auto choice = engine::choose_engine(engine::EnginePreference::automatic, kvm)) {
    out["auto"] = {{"engine", choice->name}, {"reason", choice->reason}};
  }
  out["jail"] = {{"lacks", jail_lacks()}};  // last: nothing can be asked of the host after this
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace nagaya::vmm
