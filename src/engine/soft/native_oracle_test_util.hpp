// The real CPU as an oracle: runs instructions natively with a chosen register state, at the same virtual addresses as the guest.
#pragma once
#include <array>
#include <vector>

#include "base/types.hpp"

namespace nagaya::engine::soft::testing {

/// Where code and data stand, in the host and in the guest.
inline constexpr u64 oracle_code = 0x2'0000'0000, oracle_data = 0x2'0001'0000;
inline constexpr u64 oracle_code_size = 0x1000, oracle_data_size = 0x4000;

struct OracleState {
  std::array<u64, 16> gpr{};
  u64 flags = 2;
  alignas(64) std::array<u8, 2752> xsave{};
};

struct OracleResult {
  int fault = -1;  ///< exception vector, or -1
  u64 rip = 0;     ///< of the fault
};

/// Maps the code and data areas (once). Null when the addresses are taken.
u8* oracle_area();
/// Runs `code` natively from `state`; the state after it replaces `state`. `xcr0`: components to load and save.
OracleResult run_native(const std::vector<u8>& code, OracleState& state, u64 xcr0);

}  // namespace nagaya::engine::soft::testing
