// Capabilities of the calling thread (capabilities(7)). The kernel keeps them per thread: what a whole process gives up, each of
// its threads has to give up.
#pragma once
#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::host {

/// Bit 1 << CAP_… for each one.
using Capabilities = u64;
inline constexpr Capabilities all_capabilities = ~Capabilities{0};

/// What this thread may use or take up.
[[nodiscard]] Result<Capabilities> own_capabilities();
/// Gives up all but `keep` (what it does not have it does not get), for good, and those that a program could bring it.
Result<> keep_capabilities(Capabilities keep);

}  // namespace nagaya::host
