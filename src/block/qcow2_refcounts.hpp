// Which clusters of a qcow2 file are in use, and how often. Increments are written before the tables that refer to
// the clusters, decrements after nothing refers to them any more: a crash between leaves leaks only.
#pragma once
#include <algorithm>
#include <unordered_set>
#include <span>
#include <vector>

#include "block/qcow2_header.hpp"
#include "block/qcow2_tables.hpp"

namespace nagaya::block::qcow2 {

/// One caller at a time. int results are 0 or errno; EIO also means that the file's metadata contradicts itself.
class Refcounts {
 public:
  Refcounts(const File& file, Header& header);
  /// Reads the refcount table. `reserved`: cluster numbers that must never be handed out, whatever refcounts say.
  [[nodiscard]] int load();
  void reserve(u64 first, u64 count);
  void unreserve(u64 first, u64 count);
  [[nodiscard]] bool is_reserved(u64 cluster) const { return reserved_.contains(cluster); }
  /// Whether bytes [offset, offset+length) of the file touch a reserved cluster.
  [[nodiscard]] bool overlaps_reserved(u64 offset, u64 length) const;

  /// The refcount of a cluster; 0 for those behind the table.
  std::expected<u64, int> get(u64 cluster);
  [[nodiscard]] int set(u64 cluster, u64 value);
  /// Adds 1; ERANGE when a refcount would not fit.
  [[nodiscard]] int increment(u64 cluster);
  [[nodiscard]] int decrement(u64 cluster);
  /// Takes `count` adjoining free clusters and sets their refcounts to 1; gives the first's number.
  std::expected<u64, int> allocate(u64 count);
  /// Takes up to `count` adjoining clusters, at least one.
  std::expected<std::pair<u64, u64>, int> allocate_up_to(u64 count);
  /// Takes exactly this cluster if it is free.
  std::expected<bool, int> allocate_at(u64 cluster);
  /// Gives back at once clusters just taken, to which nothing refers.
  void undo(u64 cluster, u64 count);
  /// Gives back one use of each of these clusters with the next finish(), when no table refers to them any more.
  void free_later(u64 cluster, u64 count = 1);
  /// Clusters from this number on have never been written: they read as zeroes.
  [[nodiscard]] u64 virgin_from() const { return virgin_; }
  void touched(u64 cluster, u64 count) { virgin_ = std::max(virgin_, cluster + count); }

  /// Makes increments durable: blocks, then table.
  [[nodiscard]] int write_back();
  /// Carries out free_later() and gives the space of unused clusters back when `punch`.
  [[nodiscard]] int finish(bool punch);
  [[nodiscard]] bool dirty() const { return table_dirty_ || blocks_.dirty() || !later_.empty(); }
  [[nodiscard]] bool increments_dirty() const { return table_dirty_ || blocks_.dirty(); }
  [[nodiscard]] u64 waiting() const { return later_.size(); }
  [[nodiscard]] const std::vector<u64>& table() const { return table_; }
  /// Forgets everything but the header; load() comes next.
  void forget();
  /// A block's bytes with these refcounts, cut to `limit`.
  [[nodiscard]] std::vector<u8> pack(std::span<const u32> counts, u64 limit) const;

 private:
  [[nodiscard]] int grow_table(u64 block);
  std::expected<TablePtr, int> block_for(u64 index, bool make);
  [[nodiscard]] u64 value_in(const Table& block, u64 slot) const;
  void store_in(Table& block, u64 slot, u64 value) const;

  const File& file_;
  Header& header_;
  TableCache blocks_;
  std::vector<u64> table_;
  std::unordered_set<u64> reserved_;
  std::vector<std::pair<u64, u64>> later_;  // first cluster, count
  u64 cursor_ = 0;                          // no free cluster below
  u64 virgin_ = 0;
  bool table_dirty_ = false;
};

}  // namespace nagaya::block::qcow2
