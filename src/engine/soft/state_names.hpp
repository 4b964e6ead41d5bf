// What translated code means by gs:[offset], in words.
#pragma once
#include <optional>
#include <string>

#include "engine/soft/cpu.hpp"

namespace nagaya::engine::soft {

/// "pc_base", "gpr.r10", "tlb[user].negtag_read", "thunk mem_slow" …; empty when nobody names that offset.
std::string state_name(u64 offset);
/// The thunk whose address is at that offset.
std::optional<Thunk> thunk_at(u64 offset);

}  // namespace nagaya::engine::soft
