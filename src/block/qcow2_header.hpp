// The qcow2 header, its extensions and limits. Format: QEMU docs/interop/qcow2.txt, versions 2 and 3.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "block/file.hpp"

namespace nagaya::block::qcow2 {

inline constexpr u32 magic = 0x514649fb;  // "QFI\xfb"

// Bits of a header from version 3 on.
inline constexpr u64 incompatible_dirty = 1, incompatible_corrupt = 2, incompatible_data_file = 4,
                     incompatible_compression = 8, incompatible_extended_l2 = 16;
inline constexpr u64 compatible_lazy_refcounts = 1;
inline constexpr u64 autoclear_bitmaps = 1;

// Limits, so that no count in a file costs us more memory than this; those of QEMU.
inline constexpr u64 max_l1_bytes = 32 * MiB, max_reftable_bytes = 8 * MiB, max_snapshot_bytes = 64 * MiB;
inline constexpr u32 max_snapshots = 65536;

// Entries of L1, L2 and refcount tables.
inline constexpr u64 offset_mask = 0x00ff'ffff'ffff'fe00, flag_copied = u64{1} << 63, flag_compressed = u64{1} << 62,
                     flag_zero = 1;

enum class Compression : u8 { zlib = 0, zstd = 1 };

struct Header {
  u32 version = 3;
  u32 cluster_bits = 16;
  u64 size = 0;  ///< of the disk, bytes
  u32 l1_entries = 0;
  u64 l1_offset = 0;
  u64 reftable_offset = 0;
  u32 reftable_clusters = 0;
  u32 snapshots = 0;
  u64 snapshots_offset = 0;
  u64 incompatible = 0, compatible = 0, autoclear = 0;
  u32 refcount_order = 4;  ///< a refcount has 1 << order bits
  Compression compression = Compression::zlib;
  std::string backing_path, backing_format;

  [[nodiscard]] u64 cluster_size() const { return u64{1} << cluster_bits; }
  [[nodiscard]] u64 l2_entries() const { return cluster_size() / 8; }
  /// L1 entries that a disk of `bytes` needs.
  [[nodiscard]] u64 l1_entries_for(u64 bytes) const;
  [[nodiscard]] u64 refcounts_per_block() const { return cluster_size() * 8 >> refcount_order; }
  [[nodiscard]] u64 max_refcount() const { return refcount_order == 6 ? ~u64{0} >> 1 : (u64{1} << (1u << refcount_order)) - 1; }
};

/// Offsets of the fields that are rewritten in place.
namespace field {
inline constexpr u64 size = 24, l1_entries = 36, l1_offset = 40, reftable_offset = 48, snapshots = 60, incompatible = 72,
                     compatible = 80, autoclear = 88;
}

/// Reads and checks all counts, sizes and alignments. Features that we do not know, encryption, external data files
/// and extended L2 entries are errors that say so.
Result<Header> read_header(const File& file);
/// The first cluster of a new image.
[[nodiscard]] std::vector<u8> make_header(const Header& header);

}  // namespace nagaya::block::qcow2
