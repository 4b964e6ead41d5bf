// What translated code means by gs:[offset], in words.
#pragma once
#include <string>

#include "engine/soft/cpu.hpp"

namespace nagaya::engine::soft {

/// "pc_base", "gpr.r10", "tlb[user].negtag_read", "thunk mem_slow" …; empty when nobody names that offset.
std::string state_name(u64 offset);
std::string thunk_name(Thunk thunk);

}  // namespace nagaya::engine::soft
