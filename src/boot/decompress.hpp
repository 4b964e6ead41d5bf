// Decompresses kernels: the formats that Linux's build offers for its payload (lib/decompress.c), apart from LZO.
#pragma once
#include <span>

#include "base/result.hpp"
#include "base/types.hpp"
#include "boot/unpacked.hpp"

namespace nagaya::boot {

enum class Compression : u8 { unknown, gzip, bzip2, lzma, xz, lz4, zstd, lzo };
[[nodiscard]] const char* name(Compression compression);

/// By the first bytes.
[[nodiscard]] Compression detect_compression(std::span<const u8> data);

/// Decompresses one stream; bytes that follow its end (Linux appends the size) are ignored. Output of more than `limit`
/// bytes is an error, found before more memory than about `limit` is used.
Result<Unpacked> decompress(std::span<const u8> data, u64 limit);

}  // namespace nagaya::boot
