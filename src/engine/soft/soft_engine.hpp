// The software engine: unmodified x86-64 guests in a plain process. Design: docs/design/software-engine.md.
#pragma once
#include <memory>
#include <string>

#include "engine/engine.hpp"

namespace nagaya::engine::soft {

/// Whether programs of the guest run as they are, in processes of their own (direct.hpp).
enum class DirectExecution : u8 {
  automatic,  ///< where it pays and the host allows it
  off,
  always,     ///< wherever it is possible, however little it pays: for tests
};

struct SoftOptions {
  u64 code_cache_bytes = 128 * MiB;  ///< bound on translated code; far less is used while the oldest is not needed again
  DirectExecution direct = DirectExecution::automatic;
  bool precise_flags = false;        ///< arithmetic flags exact in fault frames even where the program cannot see them
  unsigned max_block_insns = 48;
  bool count_blocks = false;  ///< each block counts its executions, at the cost of four instructions
  bool perf_map = false;      ///< writes /tmp/perf-PID.map, from which perf(1) names translated code
  std::string log_file{};     ///< gets counters and translations, the hottest first, when the engine goes; empty: none
};

/// Error when the host lacks what the engine needs (AVX2/BMI2-class CPU, executable memory), with the reason.
Result<std::unique_ptr<Engine>> create_soft_engine(const SoftOptions& options = {});

}  // namespace nagaya::engine::soft
