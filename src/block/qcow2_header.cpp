#include "block/qcow2_header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "block/bytes.hpp"

namespace nagaya::block::qcow2 {
namespace {

constexpr u32 ext_end = 0, ext_backing_format = 0xe2792aca, ext_feature_names = 0x6803f857;

struct FeatureName {
  u8 kind, bit;  // kind: 0 incompatible, 1 compatible, 2 autoclear
  const char* name;
};
constexpr std::array feature_names{FeatureName{0, 0, "dirty bit"},        FeatureName{0, 1, "corrupt bit"},
                                   FeatureName{0, 2, "external data file"}, FeatureName{0, 3, "compression type"},
                                   FeatureName{0, 4, "extended L2 entries"}, FeatureName{1, 0, "lazy refcounts"},
                                   FeatureName{2, 0, "bitmaps"}};

std::unexpected<Error> corrupt(const File& file, std::string why) {
  return fail(fmt::format("cannot use qcow2 image '{}'", file.name()), std::move(why));
}

Result<> read_extensions(const File& file, Header& header, const std::vector<u8>& raw, u64 at, u64 end) {
  while (at + 8 <= end) {
    const u32 type = load_be<u32>(&raw[at]), length = load_be<u32>(&raw[at + 4]);
    at += 8;
    if (type == ext_end) return {};
    if (length > end - at) return corrupt(file, "a header extension is longer than the header");
    if (type == ext_backing_format) {
      header.backing_format.assign(reinterpret_cast<const char*>(&raw[at]), length);
    }
    at += round_up(length, 8);
  }
  return {};
}

Result<> check(const File& file, const Header& h) {
  if (h.refcount_order > 6) return corrupt(file, fmt::format("refcounts of 2^{} bits", h.refcount_order));
  const u64 mask = h.cluster_size() - 1;
  if (h.l1_offset & mask || h.reftable_offset & mask || h.snapshots_offset & mask) {
    return corrupt(file, "a table is not at a cluster's start");
  }
  if (h.l1_offset >> 56 || h.reftable_offset >> 56 || h.snapshots_offset >> 56) {
    return corrupt(file, "a table lies beyond any file");
  }
  if (u64{h.l1_entries} * 8 > max_l1_bytes) return corrupt(file, fmt::format("{} L1 entries", h.l1_entries));
  if (h.size >> 62 || h.l1_entries_for(h.size) > h.l1_entries) {
    return corrupt(file, fmt::format("{} L1 entries cannot hold a disk of {} bytes", h.l1_entries, h.size));
  }
  if (h.reftable_clusters == 0 || u64{h.reftable_clusters} > max_reftable_bytes >> h.cluster_bits) {
    return corrupt(file, fmt::format("a refcount table of {} clusters", h.reftable_clusters));
  }
  if (h.reftable_offset == 0) return corrupt(file, "no refcount table");
  if (h.l1_offset == 0 && h.l1_entries != 0) return corrupt(file, "no L1 table");
  if (h.snapshots > max_snapshots) return corrupt(file, fmt::format("{} snapshots", h.snapshots));
  if (h.snapshots != 0 && h.snapshots_offset == 0) return corrupt(file, "no snapshot table");
  return {};
}

}  // namespace

u64 Header::l1_entries_for(u64 bytes) const { return divide_up(divide_up(bytes, cluster_size()), l2_entries()); }

Result<Header> read_header(const File& file) {
  std::array<u8, 112> fixed{};
  if (const int error = file.read(0, fixed.data(), fixed.size()); error != 0) {
    return fail_errno(fmt::format("cannot read '{}'", file.name()), error);
  }
  const u8* p = fixed.data();
  if (load_be<u32>(p) != magic) return corrupt(file, "it has no qcow2 header; is its format another?");
  Header h;
  h.version = load_be<u32>(p + 4);
  if (h.version != 2 && h.version != 3) return corrupt(file, fmt::format("version {}; versions 2 and 3 are known", h.version));
  const u64 backing_at = load_be<u64>(p + 8);
  const u32 backing_length = load_be<u32>(p + 16);
  h.cluster_bits = load_be<u32>(p + 20);
  if (h.cluster_bits < 9 || h.cluster_bits > 21) return corrupt(file, fmt::format("clusters of 2^{} bytes", h.cluster_bits));
  h.size = load_be<u64>(p + field::size);
  if (load_be<u32>(p + 32) != 0) return corrupt(file, "it is encrypted, which is not supported");
  h.l1_entries = load_be<u32>(p + field::l1_entries);
  h.l1_offset = load_be<u64>(p + field::l1_offset);
  h.reftable_offset = load_be<u64>(p + field::reftable_offset);
  h.reftable_clusters = load_be<u32>(p + 56);
  h.snapshots = load_be<u32>(p + field::snapshots);
  h.snapshots_offset = load_be<u64>(p + 64);
  u64 header_length = 72;
  if (h.version >= 3) {
    h.incompatible = load_be<u64>(p + field::incompatible);
    h.compatible = load_be<u64>(p + field::compatible);
    h.autoclear = load_be<u64>(p + field::autoclear);
    h.refcount_order = load_be<u32>(p + 96);
    header_length = load_be<u32>(p + 100);
    if (header_length < 104 || header_length > h.cluster_size()) {
      return corrupt(file, fmt::format("a header of {} bytes", header_length));
    }
    if (h.incompatible & incompatible_data_file) return corrupt(file, "its data is in another file, which is not supported");
    if (h.incompatible & incompatible_extended_l2) return corrupt(file, "extended L2 entries are not supported");
    const u64 known = incompatible_dirty | incompatible_corrupt | incompatible_compression;
    if (h.incompatible & ~known) return corrupt(file, fmt::format("unknown features {:#x}", h.incompatible & ~known));
    if (h.incompatible & incompatible_compression) {
      if (header_length < 105 || p[104] > 1) return corrupt(file, "unknown compression type");
      h.compression = static_cast<Compression>(p[104]);
    }
  }
  TRY(check(file, h));

  std::vector<u8> first(h.cluster_size());
  if (const int error = file.read(0, first.data(), first.size()); error != 0) {
    return fail_errno(fmt::format("cannot read '{}'", file.name()), error);
  }
  u64 extensions_end = first.size();
  if (backing_at != 0) {
    if (backing_length > 1023 || backing_length == 0 || backing_at < header_length ||
        !(backing_at <= first.size() && backing_length <= first.size() - backing_at)) {
      return corrupt(file, "the backing file's name lies outside the header");
    }
    h.backing_path.assign(reinterpret_cast<const char*>(&first[backing_at]), backing_length);
    if (h.backing_path.find('\0') != std::string::npos) return corrupt(file, "the backing file's name has a zero byte");
    extensions_end = backing_at;
  }
  TRY(read_extensions(file, h, first, header_length, extensions_end));
  return h;
}

std::vector<u8> make_header(const Header& h) {
  std::vector<u8> out(h.cluster_size());
  u8* p = out.data();
  const u64 length = h.version >= 3 ? 112 : 72;
  store_be<u32>(p, magic);
  store_be<u32>(p + 4, h.version);
  store_be<u32>(p + 20, h.cluster_bits);
  store_be<u64>(p + field::size, h.size);
  store_be<u32>(p + field::l1_entries, h.l1_entries);
  store_be<u64>(p + field::l1_offset, h.l1_offset);
  store_be<u64>(p + field::reftable_offset, h.reftable_offset);
  store_be<u32>(p + 56, h.reftable_clusters);
  if (h.version >= 3) {
    store_be<u64>(p + field::incompatible, h.incompatible);
    store_be<u64>(p + field::compatible, h.compatible);
    store_be<u32>(p + 96, h.refcount_order);
    store_be<u32>(p + 100, static_cast<u32>(length));
    p[104] = static_cast<u8>(h.compression);
  }
  u64 at = length;
  if (!h.backing_path.empty()) {
    store_be<u32>(p + at, ext_backing_format);
    store_be<u32>(p + at + 4, static_cast<u32>(h.backing_format.size()));
    std::ranges::copy(h.backing_format, p + at + 8);
    at += 8 + round_up(h.backing_format.size(), 8);
  }
  // The names of features help other programs to explain what they do not know. Clusters of 512 bytes have no room
  // for them beside a long path.
  if (h.version >= 3 && h.cluster_size() >= 4096) {
    store_be<u32>(p + at, ext_feature_names);
    store_be<u32>(p + at + 4, static_cast<u32>(feature_names.size() * 48));
    at += 8;
    for (const FeatureName& feature : feature_names) {
      p[at] = feature.kind;
      p[at + 1] = feature.bit;
      std::memcpy(p + at + 2, feature.name, std::strlen(feature.name));
      at += 48;
    }
  }
  at += 8;  // end of extensions: zeroes
  if (!h.backing_path.empty()) {
    store_be<u64>(p + 8, at);
    store_be<u32>(p + 16, static_cast<u32>(h.backing_path.size()));
    std::ranges::copy(h.backing_path, p + at);
  }
  return out;
}

}  // namespace nagaya::block::qcow2
