// Names of blocks for people and tools.
#pragma once
#include <string>

#include "engine/soft/light/mode.hpp"

namespace nagaya::engine::soft {

/// Code size and privilege: "64k" (kernel), "64u" (user), "64a" (kernel, user memory open by AC); 's' at the end: single steps.
std::string mode_name(Mode mode);
/// "guest:64k:1a2b3c:ffffffff81001b3c": mode, guest-physical address, RIP when it was translated.
std::string block_name(Mode mode, u64 gpa, u64 rip);

}  // namespace nagaya::engine::soft
