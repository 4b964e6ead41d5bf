#include "block/create.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "base/scope.hpp"
#include "block/open_image.hpp"
#include "block/qcow2_image.hpp"

namespace nagaya::block {
namespace {

// Cluster 0 the header, then refcount table, refcount blocks, L1 table.
Result<> write_qcow2(const File& file, qcow2::Header h) {
  const u64 cluster = h.cluster_size();
  h.l1_entries = static_cast<u32>(h.l1_entries_for(h.size));
  const u64 l1_clusters = divide_up(std::max<u64>(h.l1_entries, 1) * 8, cluster);
  u64 blocks = 1, table = 1, total = 0;
  while (true) {
    total = 1 + table + blocks + l1_clusters;
    const u64 need_blocks = divide_up(total, h.refcounts_per_block()), need_table = divide_up(need_blocks * 8, cluster);
    if (need_blocks <= blocks && need_table <= table) break;
    blocks = need_blocks;
    table = need_table;
  }
  h.reftable_offset = cluster;
  h.reftable_clusters = static_cast<u32>(table);
  h.l1_offset = (1 + table + blocks) * cluster;
  std::vector<u8> raw((table + blocks) * cluster);
  for (u64 b = 0; b < blocks; ++b) store_be<u64>(&raw[b * 8], (1 + table + b) * cluster);
  for (u64 c = 0; c < total; ++c) store_be<u16>(&raw[table * cluster + c * 2], 1);
  int error = file.truncate(total * cluster);
  if (error == 0) error = file.write(cluster, raw.data(), raw.size());
  if (error == 0) error = file.sync();
  const std::vector<u8> header = qcow2::make_header(h);
  if (error == 0) error = file.write(0, header.data(), header.size());
  if (error == 0) error = file.sync();
  if (error != 0) return fail_errno(fmt::format("cannot write '{}'", file.name()), error);
  return {};
}

Result<qcow2::Header> plan_qcow2(const CreateOptions& options, u64 size) {
  const std::string what = fmt::format("cannot create '{}'", options.path);
  const u64 cluster = options.cluster_size;
  if (!std::has_single_bit(cluster) || cluster < 512 || cluster > 2 * MiB) {
    return fail(what, fmt::format("clusters of {} bytes", cluster), "a power of two, from 512 bytes to 2 MiB");
  }
  if (options.version != 2 && options.version != 3) return fail(what, fmt::format("qcow2 version {}", options.version), "2 or 3");
  const bool zstd = options.compression == qcow2::Compression::zstd;
  if (options.version == 2 && (options.lazy_refcounts || zstd)) {
    return fail(what, "lazy refcounts and zstd need qcow2 version 3");
  }
  qcow2::Header h{.version = options.version, .cluster_bits = static_cast<u32>(std::countr_zero(cluster)), .size = size};
  if (h.l1_entries_for(size) * 8 > qcow2::max_l1_bytes || size >> 62) {
    return fail(what, fmt::format("{} bytes are too many for clusters of {} bytes", size, cluster));
  }
  if (options.lazy_refcounts) h.compatible = qcow2::compatible_lazy_refcounts;
  if (zstd) h.incompatible = qcow2::incompatible_compression;
  h.compression = options.compression;
  if (options.backing_path.size() > 1023) return fail(what, "the backing file's name is longer than 1023 bytes");
  h.backing_path = options.backing_path;
  if (options.backing_format) h.backing_format = format_name(*options.backing_format);
  if (112 + 8 + 8 + 8 + h.backing_path.size() + h.backing_format.size() > cluster) {
    return fail(what, "the backing file's name does not fit into the header", "take a larger cluster size");
  }
  return h;
}

}  // namespace

Result<> create_image(const CreateOptions& options) {
  const std::string what = fmt::format("cannot create '{}'", options.path);
  if (import_only(options.format)) return fail(what, fmt::format("format '{}' is for import only", format_name(options.format)), "raw or qcow2");
  u64 size = options.size.value_or(0);
  if (!options.backing_path.empty()) {
    if (options.format != Format::qcow2) return fail(what, "only qcow2 images have backing files");
    if (!options.backing_format) return fail(what, "the backing file's format is not stated", "formats are never guessed");
    TRY_ASSIGN(const auto below, open_backing(options.path, options.backing_path, *options.backing_format, options.allowed_backing));
    if (!options.size) size = below->size();
  } else if (!options.size) {
    return fail(what, "its size is not stated");
  }
  if (size % sector_size != 0) return fail(what, fmt::format("{} bytes", size), "sizes are multiples of 512 bytes");
  qcow2::Header header;
  if (options.format == Format::qcow2) {
    TRY_ASSIGN(header, plan_qcow2(options, size));
  }
  TRY_ASSIGN(const File file, File::create(options.path));
  ScopeExit cleanup([&] { ::unlink(options.path.c_str()); });
  if (options.format == Format::qcow2) {
    TRY(write_qcow2(file, header));
  } else if (const int error = file.truncate(size); error != 0) {
    return fail_errno(what, error);
  }
  cleanup.release();
  return {};
}

namespace {

bool all_zero(std::span<const u8> data) {
  return data.empty() || (data[0] == 0 && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

// Whether [offset, offset+length) is known to be zeroes without reading it; `length` becomes that of the run.
Result<bool> known_zero(Image& image, u64 offset, u64& length) {
  for (Image* at = &image; at != nullptr; at = at->backing()) {
    if (offset >= at->size()) return true;
    length = std::min(length, at->size() - offset);
    TRY_ASSIGN(const Extent extent, at->map(offset, length));
    if (extent.length == 0) return fail("an image has a run of no length");
    length = extent.length;
    if (extent.kind == Extent::Kind::data) return false;
    if (extent.kind == Extent::Kind::zero) return true;
  }
  return true;
}

Result<> copy(Image& from, Image& to, qcow2::Qcow2Image* packing, const ConvertOptions& options) {
  const u64 total = from.size();
  const u64 step = packing != nullptr ? packing->header().cluster_size() : 1 * MiB;
  const u64 grain = packing != nullptr ? step : to.capabilities().optimal_io;
  std::vector<u8> buffer(step);
  for (u64 at = 0; at < total;) {
    u64 length = total - at;
    TRY_ASSIGN(const bool zero, known_zero(from, at, length));
    // Runs are cut at `step`, so that a cluster is written once.
    if (zero && (length >= step || at + length == total)) {
      at += at + length == total ? length : length / step * step;
    } else {
      length = std::min(step, total - at);
      const std::span<u8> data = std::span(buffer).first(length);
      if (const int error = from.read(at, OneBuffer(data.data(), data.size())); error != 0) {
        return fail_errno(fmt::format("cannot read '{}' at {}", options.from.path, at), error);
      }
      int error = 0;
      if (packing != nullptr) {
        if (!all_zero(data)) {
          std::ranges::fill(std::span(buffer).subspan(length), u8{0});
          error = length == step ? packing->write_compressed(at, buffer) : to.write(at, OneBuffer(data.data(), data.size()));
        }
      } else {
        for (u64 done = 0; done < length && error == 0;) {
          // Neighbouring grains of one kind at once.
          u64 count = std::min(grain, length - done);
          const bool hole = all_zero(data.subspan(done, count));
          while (done + count < length) {
            const u64 more = std::min(grain, length - done - count);
            if (all_zero(data.subspan(done + count, more)) != hole) break;
            count += more;
          }
          if (!hole) error = to.write(at + done, OneBuffer(data.data() + done, count));
          done += count;
        }
      }
      if (error != 0) return fail_errno(fmt::format("cannot write '{}' at {}", options.to.path, at), error);
      at += length;
    }
    if (options.progress) options.progress(at, total);
  }
  return {};
}

}  // namespace

Result<> convert_image(const ConvertOptions& options) {
  OpenOptions source = options.from;
  source.read_only = true;
  TRY_ASSIGN(const auto from, open_image(source));
  CreateOptions create = options.to;
  if (options.compress && create.format != Format::qcow2) return fail("cannot compress a raw image", "", "take qcow2");
  if (!create.size) create.size = from->size();
  if (*create.size < from->size()) {
    return fail(fmt::format("cannot convert to '{}'", create.path), fmt::format("{} bytes are less than the source's {}", *create.size, from->size()));
  }
  if (!create.backing_path.empty()) return fail("a converted image has no backing file");
  TRY(create_image(create));
  ScopeExit cleanup([&] { ::unlink(create.path.c_str()); });
  OpenOptions target{.path = create.path, .format = create.format};
  TRY_ASSIGN(const auto to, open_image(target));
  auto* packing = options.compress ? static_cast<qcow2::Qcow2Image*>(to.get()) : nullptr;
  TRY(copy(*from, *to, packing, options));
  TRY(to->close());
  cleanup.release();
  return {};
}

}  // namespace nagaya::block
