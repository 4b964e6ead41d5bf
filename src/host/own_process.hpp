// Work that changes its process for good (it joins namespaces, for one) is done by a child, and its error comes back.
#pragma once
#include <functional>

#include "base/result.hpp"

namespace nagaya::host {

/// Runs `work` in a child and waits for it. The caller forks: what other threads hold stays held in the child, so call it from a process with
/// one thread, or do only what needs no lock. Errors: those of `work`, all their parts; or that the child ended early.
[[nodiscard]] Result<> in_own_process(const std::function<Result<>()>& work);

}  // namespace nagaya::host
