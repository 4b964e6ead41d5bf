// The engine of a machine: looks at the host, chooses, creates.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "proto/engine_config.hpp"

namespace nagaya::machine {

struct SelectedEngine {
  std::unique_ptr<engine::Engine> engine;
  std::string line;  ///< "engine soft: /dev/kvm emulates guest kernel code (1.1 MIPS)"
  /// Features to show: all that the engine has, or what the host's other engine has, too.
  std::vector<x86::CpuidEntry> cpuid;
};

/// `preference`, `cpu` and `soft` as in proto::VmConfig.
[[nodiscard]] Result<SelectedEngine> select_engine(const std::string& preference, const std::string& cpu, const proto::SoftEngineConfig& soft = {});

}  // namespace nagaya::machine
