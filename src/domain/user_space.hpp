// Users other than root keep files of many owners in a user namespace of theirs, with their subordinate ranges (subuid(5)).
#pragma once
#include <functional>

#include "base/result.hpp"

namespace nagaya::domain {

/// The calling process (one thread) becomes root of a new user namespace with all of its user's ranges, and of a new mount namespace.
Result<> enter_user_namespace();
/// Runs `work` in a child in such a namespace, so that it can make and remove files of all those owners; for root simply here.
Result<> in_user_namespace(const std::function<Result<>()>& work);

}  // namespace nagaya::domain
