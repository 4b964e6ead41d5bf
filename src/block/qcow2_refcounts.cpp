#include "block/qcow2_refcounts.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

namespace nagaya::block::qcow2 {
namespace {


constexpr u64 block_cache_bytes = 8 * MiB;

}  // namespace

Refcounts::Refcounts(const File& file, Header& header)
    : file_(file), header_(header), blocks_(file, header.cluster_size(), block_cache_bytes) {}

void Refcounts::forget() {
  blocks_.drop_all();
  later_.clear();
  reserved_.clear();
  table_dirty_ = false;
  cursor_ = 0;
}

int Refcounts::load() {
  const u64 bytes = u64{header_.reftable_clusters} << header_.cluster_bits;
  auto size = file_.size();
  if (!size) return EIO;
  if (!(header_.reftable_offset <= *size)) return EIO;
  std::vector<u8> raw(bytes);
  if (const int error = file_.read(header_.reftable_offset, raw.data(), bytes); error != 0) return error;
  table_.resize(bytes / 8);
  for (u64 i = 0; i < table_.size(); ++i) table_[i] = load_be<u64>(&raw[i * 8]);
  virgin_ = divide_up(*size, header_.cluster_size());
  for (const u64 entry : table_)
    if (entry != 0) reserve(entry >> header_.cluster_bits, 1);
  reserve(header_.reftable_offset >> header_.cluster_bits, header_.reftable_clusters);
  reserve(0, 1);
  return 0;
}

void Refcounts::reserve(u64 first, u64 count) {
  for (u64 i = 0; i < count; ++i) reserved_.insert(first + i);
}

void Refcounts::unreserve(u64 first, u64 count) {
  for (u64 i = 0; i < count; ++i) reserved_.erase(first + i);
}

bool Refcounts::overlaps_reserved(u64 offset, u64 length) const {
  const u64 last = (offset + length - 1) >> header_.cluster_bits;
  for (u64 cluster = offset >> header_.cluster_bits; cluster <= last; ++cluster)
    if (reserved_.contains(cluster)) return true;
  return false;
}

u64 Refcounts::value_in(const Table& block, u64 slot) const {
  const u8* at = block.bytes.data();
  switch (header_.refcount_order) {
    case 3: return at[slot];
    case 4: return load_be<u16>(at + slot * 2);
    case 5: return load_be<u32>(at + slot * 4);
    case 6: return load_be<u64>(at + slot * 8);
    default: {  // less than a byte: the first refcount is in the lowest bits
      const u64 bit = slot << header_.refcount_order;
      return at[bit / 8] >> (bit % 8) & header_.max_refcount();
    }
  }
}

void Refcounts::store_in(Table& block, u64 slot, u64 value) const {
  u8* at = block.bytes.data();
  block.dirty = true;
  switch (header_.refcount_order) {
    case 3: at[slot] = static_cast<u8>(value); break;
    case 4: store_be<u16>(at + slot * 2, static_cast<u16>(value)); break;
    case 5: store_be<u32>(at + slot * 4, static_cast<u32>(value)); break;
    case 6: store_be<u64>(at + slot * 8, value); break;
    default: {
      const u64 bit = slot << header_.refcount_order;
      const u64 mask = header_.max_refcount() << (bit % 8);
      at[bit / 8] = static_cast<u8>((at[bit / 8] & ~mask) | value << (bit % 8));
    }
  }
}

std::vector<u8> Refcounts::pack(std::span<const u32> counts, u64 limit) const {
  Table block;
  block.bytes.resize(header_.cluster_size());
  for (u64 i = 0; i < counts.size(); ++i) store_in(block, i, std::min<u64>(counts[i], limit));
  return std::move(block.bytes);
}

std::expected<TablePtr, int> Refcounts::block_for(u64 index, bool make) {
  if (index >= table_.size()) {
    if (!make) return TablePtr{};
    if (const int error = grow_table(index); error != 0) return std::unexpected(error);
  }
  const u64 entry = table_[index];
  if (entry != 0) {
    if (entry & ~offset_mask || entry & (header_.cluster_size() - 1)) return std::unexpected(EIO);
    return blocks_.get(entry);
  }
  if (!make) return TablePtr{};
  // A new block takes the first cluster of the range it describes. That nothing else is there is known, for the whole
  // range has been free so far, unless the image is corrupt.
  const u64 home = index * header_.refcounts_per_block();
  if (reserved_.contains(home) || home >> (56 - header_.cluster_bits)) return std::unexpected(EIO);
  TablePtr block = blocks_.fresh(home << header_.cluster_bits);
  store_in(*block, 0, 1);
  table_[index] = home << header_.cluster_bits;
  table_dirty_ = true;
  reserve(home, 1);
  touched(home, 1);
  return block;
}

// The table gets a new place behind everything it describes so far, with the blocks that describe that place.
int Refcounts::grow_table(u64 index) {
  const u64 per_block = header_.refcounts_per_block(), per_cluster = header_.cluster_size() / 8;
  const u64 first_block = std::max<u64>(index, table_.size());
  const u64 base = first_block * per_block;
  u64 blocks = 1, clusters = 0;
  while (true) {
    const u64 entries = std::max<u64>(first_block + blocks, table_.size() * 2);
    clusters = divide_up(entries, per_cluster);
    const u64 needed = divide_up(blocks + clusters, per_block);
    if (needed <= blocks) break;
    blocks = needed;
  }
  if (clusters << header_.cluster_bits > max_reftable_bytes || base >> (55 - header_.cluster_bits)) return EFBIG;
  std::vector<u64> grown(table_);
  grown.resize(clusters * per_cluster);
  for (u64 i = 0; i < blocks; ++i) grown[first_block + i] = (base + i) << header_.cluster_bits;
  std::vector<u8> raw(grown.size() * 8);
  // The table in the file still has its old entries until write_back(): a block that is not written yet is not named.
  for (u64 i = 0; i < grown.size(); ++i) store_be<u64>(&raw[i * 8], grown[i]);
  Table block;
  for (u64 b = 0; b < blocks; ++b) {
    block.bytes.assign(header_.cluster_size(), 0);
    for (u64 slot = 0; slot < per_block && b * per_block + slot < blocks + clusters; ++slot) store_in(block, slot, 1);
    if (const int error = file_.write((base + b) << header_.cluster_bits, block.bytes.data(), block.bytes.size())) return error;
  }
  // Blocks that the old table got since the last write-back must be in the file before a table that names them.
  if (const int error = blocks_.write_back(); error != 0) return error;
  const u64 place = (base + blocks) << header_.cluster_bits;
  if (const int error = file_.write(place, raw.data(), raw.size()); error != 0) return error;
  if (const int error = file_.sync(); error != 0) return error;
  std::array<u8, 12> fields{};
  store_be<u64>(fields.data(), place);
  store_be<u32>(fields.data() + 8, static_cast<u32>(clusters));
  if (const int error = file_.write(field::reftable_offset, fields.data(), fields.size()); error != 0) return error;
  if (const int error = file_.sync(); error != 0) return error;

  const u64 old_first = header_.reftable_offset >> header_.cluster_bits, old_count = header_.reftable_clusters;
  table_ = std::move(grown);
  table_dirty_ = false;
  header_.reftable_offset = place;
  header_.reftable_clusters = static_cast<u32>(clusters);
  reserve(base, blocks + clusters);
  touched(base, blocks + clusters);
  unreserve(old_first, old_count);
  free_later(old_first, old_count);
  return 0;
}

std::expected<u64, int> Refcounts::get(u64 cluster) {
  const u64 per_block = header_.refcounts_per_block();
  auto block = block_for(cluster / per_block, false);
  if (!block) return std::unexpected(block.error());
  return *block ? value_in(**block, cluster % per_block) : 0;
}

int Refcounts::set(u64 cluster, u64 value) {
  if (value > header_.max_refcount()) return ERANGE;
  const u64 per_block = header_.refcounts_per_block();
  auto block = block_for(cluster / per_block, value != 0);
  if (!block) return block.error();
  if (!*block) return 0;
  store_in(**block, cluster % per_block, value);
  if (value == 0) cursor_ = std::min(cursor_, cluster);
  return 0;
}

int Refcounts::increment(u64 cluster) {
  auto now = get(cluster);
  return now ? set(cluster, *now + 1) : now.error();
}

int Refcounts::decrement(u64 cluster) {
  auto now = get(cluster);
  if (!now) return now.error();
  return *now == 0 ? EIO : set(cluster, *now - 1);
}

std::expected<bool, int> Refcounts::allocate_at(u64 cluster) {
  const u64 per_block = header_.refcounts_per_block();
  // The block first: a new one takes a cluster itself.
  if (auto block = block_for(cluster / per_block, true); !block) return std::unexpected(block.error());
  auto now = get(cluster);
  if (!now) return std::unexpected(now.error());
  if (*now != 0) return false;
  if (reserved_.contains(cluster)) return std::unexpected(EIO);  // metadata that its refcount calls free
  if (const int error = set(cluster, 1); error != 0) return std::unexpected(error);
  return true;
}

std::expected<std::pair<u64, u64>, int> Refcounts::allocate_up_to(u64 count) {
  u64 cluster = cursor_;
  while (true) {
    auto got = allocate_at(cluster);
    if (!got) return std::unexpected(got.error());
    if (*got) break;
    ++cluster;
  }
  cursor_ = cluster + 1;
  u64 have = 1;
  while (have < count) {
    auto got = allocate_at(cluster + have);
    if (!got || !*got) break;
    ++have;
  }
  cursor_ = cluster + have;
  return std::pair{cluster, have};
}

std::expected<u64, int> Refcounts::allocate(u64 count) {
  u64 start = cursor_;
  while (true) {
    u64 have = 0;
    while (have < count) {
      auto got = allocate_at(start + have);
      if (!got) {
        undo(start, have);
        return std::unexpected(got.error());
      }
      if (!*got) break;
      ++have;
    }
    if (have == count) {
      if (start == cursor_) cursor_ = start + count;
      return start;
    }
    undo(start, have);
    start += have + 1;
  }
}

void Refcounts::undo(u64 cluster, u64 count) {
  for (u64 i = 0; i < count; ++i) (void)set(cluster + i, 0);
}

void Refcounts::free_later(u64 cluster, u64 count) {
  if (!later_.empty() && later_.back().first + later_.back().second == cluster) {
    later_.back().second += count;
  } else {
    later_.emplace_back(cluster, count);
  }
}

int Refcounts::write_back() {
  if (!increments_dirty()) return 0;
  if (const int error = blocks_.write_back(); error != 0) return error;
  if (!table_dirty_) return 0;
  if (const int error = file_.sync(); error != 0) return error;
  std::vector<u8> raw(table_.size() * 8);
  for (u64 i = 0; i < table_.size(); ++i) store_be<u64>(&raw[i * 8], table_[i]);
  if (const int error = file_.write(header_.reftable_offset, raw.data(), raw.size()); error != 0) return error;
  table_dirty_ = false;
  return 0;
}

int Refcounts::finish(bool punch) {
  int first_error = 0;
  for (const auto& [first, count] : std::exchange(later_, {})) {
    u64 run = 0;  // clusters that became free, ending before i
    for (u64 i = 0; i <= count; ++i) {
      bool freed = false;
      if (i < count) {
        if (const int error = decrement(first + i); error != 0 && first_error == 0) first_error = error;
        const auto now = get(first + i);
        freed = now && *now == 0;
      }
      if (freed) {
        ++run;
      } else {
        if (run != 0 && punch) {
          const int error = file_.punch((first + i - run) << header_.cluster_bits, run << header_.cluster_bits);
          if (error != 0) punch = false;  // only space is lost
        }
        run = 0;
      }
    }
  }
  if (const int error = blocks_.write_back(); error != 0 && first_error == 0) first_error = error;
  return first_error;
}

}  // namespace nagaya::block::qcow2
