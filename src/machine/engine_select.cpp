#include "machine/engine_select.hpp"

#include <fmt/format.h>

#include "base/log.hpp"
#include "engine/choice.hpp"
#include "engine/kvm/kvm_engine.hpp"
#include "engine/kvm/probe_kvm.hpp"
#include "engine/soft/soft_engine.hpp"

namespace nagaya::machine {
namespace {

Result<std::unique_ptr<engine::Engine>> create(const std::string& name, const proto::SoftEngineConfig& soft = {}) {
  if (name == "kvm") return engine::kvm::create_kvm_engine();
  engine::soft::SoftOptions options{.count_blocks = soft.count_blocks, .perf_map = soft.perf_map, .log_file = soft.log};
  if (soft.code_cache) options.code_cache_bytes = soft.code_cache;
  if (soft.direct == "off") options.direct = engine::soft::DirectExecution::off;
  if (soft.direct == "always") options.direct = engine::soft::DirectExecution::always;
  return engine::soft::create_soft_engine(options);
}

/// The same features on either engine, so that a saved machine finds under the other what it had.
Result<std::vector<x86::CpuidEntry>> limited_to(std::vector<x86::CpuidEntry> table, const std::string& other) {
  TRY_ASSIGN(const auto engine, create(other));
  TRY_ASSIGN(const auto theirs, engine->supported_cpuid());
  return x86::intersect_cpuid(table, theirs);
}

}  // namespace

Result<SelectedEngine> select_engine(const std::string& preference, const std::string& cpu, const proto::SoftEngineConfig& soft) {
  TRY_ASSIGN(const auto wanted, engine::parse_engine_preference(preference));
  // Even a machine that is to run on the software engine wants to know whether it could move.
  const engine::ProbeResult probe = engine::kvm::probe_kvm();
  TRY_ASSIGN(auto choice, engine::choose_engine(wanted, probe));
  // Whoever wants to look inside wants the engine that can be looked into.
  if (soft.observes() && choice.name == "kvm") choice = {"soft", "its log or map is wanted"};
  auto made = create(choice.name, soft);
  if (!made && wanted == engine::EnginePreference::automatic && choice.name == "kvm") {
    choice = {"soft", made.error().message()};
    made = create("soft", soft);
  }
  if (!made) return std::unexpected(std::move(made.error()));

  SelectedEngine out;
  out.engine = std::move(*made);
  out.line = fmt::format("engine {}: {}", choice.name, choice.reason);
  TRY_ASSIGN(out.cpuid, out.engine->supported_cpuid());
  const std::string other = choice.name == "kvm" ? "soft" : "kvm";
  // An emulating KVM lacks half the instruction set: only who asks for it gets that little.
  const bool other_counts = other == "soft" || probe.verdict == engine::ProbeVerdict::fast || (cpu == "common" && probe.usable());
  if (cpu != "host" && other_counts) {
    auto common = limited_to(out.cpuid, other);
    if (common) {
      out.cpuid = std::move(*common);
    } else {
      log::info("CPU features are not limited to those of engine {}: {}", other, common.error().message());
    }
  }
  return out;
}

}  // namespace nagaya::machine
