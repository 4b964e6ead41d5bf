// Consistency: what the tables say against what the refcounts and flags say, and mending it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <unordered_set>

#include "block/qcow2_image.hpp"

namespace nagaya::block::qcow2 {
namespace {

constexpr std::size_t max_messages = 100;
constexpr u64 max_clusters = u64{1} << 28;  // a census costs 5 bytes for each

}  // namespace

struct Qcow2Image::Census {
  explicit Census(u64 clusters) : uses(clusters), is_table(clusters) {}
  std::vector<u32> uses;
  std::vector<bool> is_table;  // nothing else may be there
  CheckReport report;

  void corruption(std::string text) {
    ++report.corruptions;
    say(std::move(text));
  }
  void say(std::string text) {
    if (report.messages.size() < max_messages) report.messages.push_back(std::move(text));
  }
  [[nodiscard]] bool inside(u64 first, u64 count) const { return in_range(first, count, uses.size()); }
  void use(u64 first, u64 count, bool table) {
    for (u64 i = first; i < first + count; ++i) {
      if (uses[i] != ~u32{0}) ++uses[i];
      if (table) is_table[i] = true;
    }
  }
  // A table that must be where it is.
  void fixed(u64 first, u64 count, const char* name) {
    if (!inside(first, count)) {
      corruption(fmt::format("the {} reaches past the end of the file", name));
      count = first < uses.size() ? uses.size() - first : 0;
    }
    for (u64 i = first; i < first + count; ++i)
      if (is_table[i]) corruption(fmt::format("the {} overlaps another table at cluster {}", name, i));
    use(first, count, true);
  }
};

// Counts what an L1 table leads to. Each L2 table is walked once for each L1 table, so that the work is bounded.
int Qcow2Image::count_tree(Census& census, std::vector<u64>& l1, bool active, bool repair) {
  const u32 bits = header_.cluster_bits;
  std::unordered_set<u64> seen;
  repair = repair && active;
  for (u64 i = 0; i < l1.size(); ++i) {
    if (l1[i] == 0) continue;
    const u64 offset = l1[i] & offset_mask, number = offset >> bits;
    const bool bad = offset == 0 || offset & (cluster_size() - 1) || !census.inside(number, 1);
    if (bad || (census.is_table[number] && (active || census.uses[number] == 0)) || !seen.insert(number).second) {
      if (offset == 0) continue;  // only flags: harmless
      census.corruption(fmt::format("L1 entry {} is {:#x}, which is no place for an L2 table", i, l1[i]));
      if (repair) {
        l1[i] = 0;
        l1_dirty_.insert(i);
      }
      continue;
    }
    census.use(number, 1, false);
    auto table = l2_.get(offset);
    if (!table) return table.error();
    for (u64 slot = 0; slot < header_.l2_entries(); ++slot) {
      const u64 raw = (*table)->entry(slot);
      if (raw == 0) continue;
      auto entry = decode(raw);
      u64 first = 0, count = 0;
      bool wrong = !entry;
      if (entry && entry->kind == Kind::compressed) {
        first = entry->host >> bits;
        count = ((entry->host + entry->bytes - 1) >> bits) - first + 1;
        // The count is in sectors: the last ones may be past the end of the file.
        if (census.inside(first, 1) && !census.inside(first, count)) count = census.uses.size() - first;
        ++census.report.compressed_clusters;
      } else if (entry && entry->host != 0) {
        first = entry->host >> bits;
        count = 1;
      }
      wrong = wrong || !census.inside(first, count);
      for (u64 c = first; !wrong && c < first + count; ++c) wrong = census.is_table[c];
      if (wrong) {
        census.corruption(fmt::format("L2 entry {} of L1 entry {} is {:#x}, which is no place for data", slot, i, raw));
        if (repair) (*table)->set_entry(slot, header_.version >= 3 ? flag_zero : 0);
        continue;
      }
      if (count != 0) ++census.report.allocated_clusters;
      census.use(first, count, false);
    }
    if (repair && l2_.crowded()) {
      if (const int error = l2_.write_back(); error != 0) return error;
    }
  }
  for (const u64 number : seen) census.is_table[number] = true;
  return 0;
}

// New refcounts behind the end of the file, put in force by one write to the header; the old ones are free space then.
Result<> Qcow2Image::rebuild_refcounts(Census& census) {
  const std::string what = fmt::format("cannot rebuild the refcounts of '{}'", file_.name());
  const u64 per_block = header_.refcounts_per_block(), start = census.uses.size(), size_of = cluster_size();
  std::set<u64> blocks;
  for (u64 c = 0; c < start; ++c)
    if (census.uses[c] != 0) blocks.insert(c / per_block);
  u64 table_clusters = 1, total = 0;
  while (true) {
    const u64 before = blocks.size();
    table_clusters = divide_up((*blocks.rbegin() + 1) * 8, size_of);
    total = blocks.size() + table_clusters;
    for (u64 b = start / per_block; b <= (start + total - 1) / per_block; ++b) blocks.insert(b);
    if (blocks.size() == before && divide_up((*blocks.rbegin() + 1) * 8, size_of) == table_clusters) break;
  }
  if (table_clusters * size_of > max_reftable_bytes) return fail(what, "the file is too large for its cluster size");
  census.uses.resize(start + total, 1);

  refcounts_.forget();
  std::vector<u8> table(table_clusters * size_of);
  u64 place = start;
  const u64 limit = header_.max_refcount();
  for (const u64 b : blocks) {
    const u64 first = b * per_block, last = std::min<u64>(first + per_block, census.uses.size());
    const auto bytes = refcounts_.pack(std::span(census.uses).subspan(first, last - first), limit);
    if (const int error = file_.write(place * size_of, bytes.data(), bytes.size()); error != 0) return fail_errno(what, error);
    store_be<u64>(&table[b * 8], place * size_of);
    ++place;
  }
  int error = file_.write(place * size_of, table.data(), table.size());
  if (error == 0) error = file_.sync();
  std::array<u8, 12> fields{};
  store_be<u64>(fields.data(), place * size_of);
  store_be<u32>(fields.data() + 8, static_cast<u32>(table_clusters));
  if (error == 0) error = file_.write(field::reftable_offset, fields.data(), fields.size());
  if (error == 0) error = file_.sync();
  if (error != 0) return fail_errno(what, error);
  header_.reftable_offset = place * size_of;
  header_.reftable_clusters = static_cast<u32>(table_clusters);
  return {};
}

Result<CheckReport> Qcow2Image::check(bool repair) {
  const std::string what = fmt::format("cannot check '{}'", file_.name());
  const std::unique_lock lock(mutex_);
  if (repair && file_.read_only()) return fail(what, "it is open read-only and cannot be repaired");
  if (!file_.read_only() && changed_) {
    if (const int error = commit(); error != 0) return fail_errno(what, error);
  }
  auto once = [&](bool mend) -> Result<CheckReport> {
    TRY_ASSIGN(const u64 bytes, file_.size());
    if (clusters_of(bytes) > max_clusters) return fail(what, "the file is too large");
    Census census(clusters_of(bytes));
    const u32 bits = header_.cluster_bits;
    census.fixed(0, 1, "header");
    census.fixed(header_.l1_offset >> bits, clusters_of(l1_.size() * 8), "L1 table");
    if (!snapshots_.empty()) {
      census.fixed(header_.snapshots_offset >> bits, clusters_of(snapshot_table_bytes()), "snapshot table");
    }
    for (const Snapshot& s : snapshots_) {
      census.fixed(s.l1_offset >> bits, clusters_of(std::max<u64>(s.l1_entries, 1) * 8), "L1 table of a snapshot");
    }
    census.fixed(header_.reftable_offset >> bits, header_.reftable_clusters, "refcount table");
    std::unordered_set<u64> good_blocks;
    u64 index = 0;
    for (const u64 entry : refcounts_.table()) {
      const u64 at = index++, number = entry >> bits;
      if (entry == 0) continue;
      if (entry & (cluster_size() - 1) || !census.inside(number, 1) || census.is_table[number]) {
        census.corruption(fmt::format("refcount table entry {} is {:#x}, which is no place for refcounts", at, entry));
        continue;
      }
      census.use(number, 1, true);
      good_blocks.insert(at);
    }
    if (const int error = count_tree(census, l1_, true, mend); error != 0) return fail_errno(what, error);
    for (const Snapshot& s : snapshots_) {
      auto l1 = read_l1(s.l1_offset, s.l1_entries);
      if (!l1) {
        census.corruption(fmt::format("snapshot '{}': {}", s.name, l1.error().message()));
        continue;
      }
      if (const int error = count_tree(census, *l1, false, false); error != 0) return fail_errno(what, error);
    }

    const u64 per_block = header_.refcounts_per_block();
    auto differs = [&](u64 cluster, u64 has, u64 wants) {
      if (has > wants) ++census.report.leaks;
      if (has < wants) ++census.report.corruptions;
      census.say(fmt::format("{}: cluster {} has refcount {} and {} uses", has > wants ? "leak" : "corruption", cluster, has, wants));
    };
    for (u64 block = 0; block * per_block < census.uses.size() || block < refcounts_.table().size(); ++block) {
      const bool good = good_blocks.contains(block);
      if (!good && block * per_block >= census.uses.size()) continue;
      for (u64 c = block * per_block; c < (block + 1) * per_block; ++c) {
        if (!good && c >= census.uses.size()) break;
        const u64 wants = c < census.uses.size() ? census.uses[c] : 0;
        u64 has = 0;
        if (good) {
          auto got = refcounts_.get(c);
          if (!got) return fail_errno(what, got.error());
          has = *got;
        }
        if (has != wants) differs(c, has, wants);
        if (has != 0) census.report.image_end = std::max(census.report.image_end, (c + 1) << bits);
      }
    }
    if (const int error = check_copied(census); error != 0) return fail_errno(what, error);
    if (mend && (census.report.leaks != 0 || census.report.corruptions != 0)) {
      int error = l2_.write_back();
      if (error == 0) error = write_l1();
      if (error == 0) error = file_.sync();
      if (error != 0) return fail_errno(what, error);
      // The old table and blocks are not used any more, except for a while as the file's own.
      for (const u64 entry : refcounts_.table()) {
        const u64 number = entry >> bits;
        if (entry != 0 && !(entry & (cluster_size() - 1)) && census.inside(number, 1) && census.uses[number] != 0) --census.uses[number];
      }
      for (u64 i = 0; i < header_.reftable_clusters; ++i) {
        const u64 number = (header_.reftable_offset >> bits) + i;
        if (census.inside(number, 1) && census.uses[number] != 0) --census.uses[number];
      }
      TRY(rebuild_refcounts(census));
    }
    return std::move(census.report);
  };
  TRY_ASSIGN(CheckReport report, once(repair));
  const bool flagged = header_.incompatible & (incompatible_dirty | incompatible_corrupt);
  if (!repair || (report.leaks == 0 && report.corruptions == 0 && !flagged)) return report;
  if (report.leaks != 0 || report.corruptions != 0) {
    TRY(reload());
    int error = refresh_copied();
    if (error == 0) error = commit();
    if (error != 0) return fail_errno(what, error);
    TRY_ASSIGN(const CheckReport left, once(false));
    report.leaks_fixed = report.leaks - std::min(report.leaks, left.leaks);
    report.corruptions_fixed = report.corruptions - std::min(report.corruptions, left.corruptions);
    report.image_end = left.image_end;
  }
  if (report.clean()) {
    if (const int error = set_incompatible(incompatible_dirty | incompatible_corrupt, false); error != 0) return fail_errno(what, error);
    broken_ = false;
  }
  return report;
}

// A cluster may be written in place exactly if one entry of the active tables uses it.
int Qcow2Image::check_copied(Census& census) {
  const u32 bits = header_.cluster_bits;
  auto compare = [&](u64 raw, const char* what, u64 index) -> int {
    const u64 number = (raw & offset_mask) >> bits;
    if (number == 0 || !census.inside(number, 1)) return 0;
    auto count = refcounts_.get(number);
    if (!count) return 0;  // told already
    const bool copied = raw & flag_copied;
    if (copied != (*count == 1)) {
      census.corruption(fmt::format("{} entry {} says {}, but the refcount is {}", what, index,
                                    copied ? "used once" : "used often", *count));
    }
    return 0;
  };
  for (u64 i = 0; i < l1_.size(); ++i) {
    const u64 offset = l1_[i] & offset_mask;
    if (offset == 0 || offset & (cluster_size() - 1) || !census.inside(offset >> bits, 1)) continue;
    if (const int error = compare(l1_[i], "L1", i); error != 0) return error;
    auto table = l2_.get(offset);
    if (!table) return table.error();
    for (u64 slot = 0; slot < header_.l2_entries(); ++slot) {
      const u64 raw = (*table)->entry(slot);
      if (raw == 0 || (raw & flag_compressed)) continue;
      if (const int error = compare(raw, "L2", slot); error != 0) return error;
    }
  }
  return 0;
}

}  // namespace nagaya::block::qcow2
