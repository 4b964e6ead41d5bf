// Metadata clusters (L2 tables, refcount blocks) in memory: read on demand, changed in memory, written back together.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "block/bytes.hpp"
#include "block/file.hpp"

namespace nagaya::block::qcow2 {

struct Table {
  std::vector<u8> bytes;  ///< as in the file
  bool dirty = false;
  u64 used = 0;

  [[nodiscard]] u64 entry(u64 index) const { return load_be<u64>(&bytes[index * 8]); }
  void set_entry(u64 index, u64 value) {
    store_be<u64>(&bytes[index * 8], value);
    dirty = true;
  }
};
using TablePtr = std::shared_ptr<Table>;

/// get() may be called by several readers at once; tables are changed by one writer that excludes them.
class TableCache {
 public:
  /// Keeps about `limit` bytes of clean tables.
  TableCache(const File& file, u64 cluster_size, u64 limit);

  /// The table at a file offset. The error is an errno value.
  std::expected<TablePtr, int> get(u64 offset);
  /// A new dirty table of zeroes for that offset.
  TablePtr fresh(u64 offset);
  /// Forgets a table, dirty or not.
  void drop(u64 offset);
  void drop_all();
  /// Writes what is dirty; what could not be written stays dirty. Gives 0 or errno.
  [[nodiscard]] int write_back();
  [[nodiscard]] bool dirty() const;
  /// Whether so much is dirty that it should be written back.
  [[nodiscard]] bool crowded() const;

 private:
  void evict();

  const File& file_;
  u64 cluster_size_;
  std::size_t capacity_;  // tables
  mutable std::mutex mutex_;
  std::unordered_map<u64, TablePtr> tables_;  // guarded by mutex_
  u64 clock_ = 0;                             // guarded by mutex_
};

}  // namespace nagaya::block::qcow2
