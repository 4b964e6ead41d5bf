// Numbers as libvirt writes them.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::definition::libvirt {

/// Decimal digits and nothing else.
[[nodiscard]] std::optional<u64> whole_number(std::string_view text);
/// "1048576" with the unit "KiB" ("b", "bytes", "KB", "k", "KiB", "MB", "M", "MiB" … "EiB"; empty: KiB) in bytes.
[[nodiscard]] Result<u64> memory_size(std::string_view number, std::string_view unit);
/// A list of CPUs or nodes, "0-3,^2,8", as "0-1,3,8".
[[nodiscard]] Result<std::string> cpu_set(std::string_view text);

/// libvirt's word for no limit, in bytes (2^53 - 1 KiB); what is above it is none, too.
inline constexpr u64 unlimited_memory = u64{9007199254740991} * KiB;

}  // namespace nagaya::definition::libvirt
