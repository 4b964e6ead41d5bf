// The FUSE protocol as the kernel's own header gives it. Source: linux/fuse.h (7.38), Linux Documentation/filesystems/fuse.rst.
#pragma once
#include <linux/fuse.h>

#include "base/types.hpp"

namespace nagaya::fuse {

/// The oldest client we speak to: virtio-fs began with it (Linux 5.4).
inline constexpr u32 least_minor = 31;
inline constexpr u64 header_size = sizeof(fuse_in_header), reply_header_size = sizeof(fuse_out_header);
/// Bytes of one READ or WRITE: what one chain of 4 KiB pages can carry with room for headers.
inline constexpr u32 most_pages = 256, most_transfer = most_pages * 4096;
/// Everything but file content: names, targets, attribute values, lists of forgotten nodes.
inline constexpr u64 most_arguments = 128 * KiB;
inline constexpr u64 longest_name = 255, longest_target = 4095, longest_attribute = 64 * KiB;

}  // namespace nagaya::fuse
