// A container's console on our standard streams.
#pragma once
#include "domain/container_attach.hpp"

namespace nagaya::cli {

/// Until it ends (its exit code), or until the user leaves (0, and `left` is set).
[[nodiscard]] Result<int> at_console(const domain::Container& container, const domain::AttachOptions& options, bool* left = nullptr);

}  // namespace nagaya::cli
