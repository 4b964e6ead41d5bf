#include "block/qcow2_tables.hpp"

#include <algorithm>

namespace nagaya::block::qcow2 {

TableCache::TableCache(const File& file, u64 cluster_size, u64 limit)
    : file_(file), cluster_size_(cluster_size), capacity_(std::max<u64>(limit / cluster_size, 16)) {}

std::expected<TablePtr, int> TableCache::get(u64 offset) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto at = tables_.find(offset); at != tables_.end()) {
      at->second->used = ++clock_;
      return at->second;
    }
  }
  auto table = std::make_shared<Table>();
  table->bytes.resize(cluster_size_);
  if (const int error = file_.read(offset, table->bytes.data(), cluster_size_); error != 0) return std::unexpected(error);
  const std::lock_guard lock(mutex_);
  const auto [at, added] = tables_.try_emplace(offset, std::move(table));  // another reader may have been faster
  at->second->used = ++clock_;
  TablePtr out = at->second;
  if (added) evict();
  return out;
}

TablePtr TableCache::fresh(u64 offset) {
  auto table = std::make_shared<Table>();
  table->bytes.resize(cluster_size_);
  table->dirty = true;
  const std::lock_guard lock(mutex_);
  table->used = ++clock_;
  tables_[offset] = table;
  evict();
  return table;
}

void TableCache::drop(u64 offset) {
  const std::lock_guard lock(mutex_);
  tables_.erase(offset);
}

void TableCache::drop_all() {
  const std::lock_guard lock(mutex_);
  tables_.clear();
}

void TableCache::evict() {
  if (tables_.size() <= capacity_) return;
  // Half a cache at once, so that the search costs little per table. Dirty ones, and those in use, stay.
  std::vector<std::pair<u64, u64>> old;
  for (const auto& [offset, table] : tables_)
    if (!table->dirty && table.use_count() == 1) old.emplace_back(table->used, offset);
  const std::size_t count = std::min(old.size(), tables_.size() - capacity_ / 2);
  std::ranges::nth_element(old, old.begin() + static_cast<std::ptrdiff_t>(count));
  for (std::size_t i = 0; i < count; ++i) tables_.erase(old[i].second);
}

int TableCache::write_back() {
  const std::lock_guard lock(mutex_);
  int first_error = 0;
  for (auto& [offset, table] : tables_) {
    if (!table->dirty) continue;
    const int error = file_.write(offset, table->bytes.data(), table->bytes.size());
    if (error == 0) table->dirty = false;
    if (error != 0 && first_error == 0) first_error = error;
  }
  return first_error;
}

bool TableCache::dirty() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(tables_, [](const auto& entry) { return entry.second->dirty; });
}

bool TableCache::crowded() const {
  const std::lock_guard lock(mutex_);
  return tables_.size() > capacity_;
}

}  // namespace nagaya::block::qcow2
