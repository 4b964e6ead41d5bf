// Compressed clusters of qcow2: raw deflate streams, or zstd frames.
#pragma once
#include <optional>
#include <span>
#include <vector>

#include "block/qcow2_header.hpp"

namespace nagaya::block::qcow2 {

/// Nothing when the result would not be smaller than `in`.
[[nodiscard]] std::optional<std::vector<u8>> compress(Compression kind, std::span<const u8> in);
/// Fills `out` exactly; bytes of `in` behind the stream's end are ignored, and nothing beyond `out` is made of it.
/// False for a stream that is damaged or too short.
[[nodiscard]] bool decompress(Compression kind, std::span<const u8> in, std::span<u8> out);

}  // namespace nagaya::block::qcow2
