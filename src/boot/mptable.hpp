// The MP table, by which systems older than ACPI find processors and interrupt routes.
#pragma once
#include "boot/bytes.hpp"
#include "boot/platform.hpp"

namespace nagaya::boot {

/// Floating pointer structure followed by the configuration table, for placing at guest-physical `base` (a multiple of
/// 16 in F0000h..FFFFFh). Source: Intel MultiProcessor Specification 1.4, chapter 4.
Bytes build_mp_table(const Platform& platform, u32 base);

}  // namespace nagaya::boot
