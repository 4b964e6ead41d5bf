#include "bus/bus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <mutex>

#include "bus/bytes.hpp"

namespace nagaya::bus {
namespace {

constexpr u64 widest_access = 8;

/// Bytes of an access that one call to a target may carry: all, else a power of two, so that what straddles ranges comes as
/// sizes that a bus could carry.
u64 part(u64 left, u64 room) {
  const u64 most = std::min(room, widest_access);
  return left <= most ? left : std::bit_floor(most);
}

}  // namespace

/// Fields are atomic because a lookup may read them while they change; it then looks again.
struct AddressMap::Table {
  struct Row {
    std::atomic<u64> start, size;
    std::atomic<IoTarget*> target;
  };
  explicit Table(std::size_t most) : capacity(most), rows(std::make_unique<Row[]>(most)) {}
  const std::size_t capacity;
  const std::unique_ptr<Row[]> rows;
  std::atomic<std::size_t> count = 0;

  [[nodiscard]] Hit find(u64 address) const {
    std::size_t low = 0, high = std::min(count.load(std::memory_order_acquire), capacity);
    while (low < high) {  // the first row that starts after the address
      const std::size_t middle = low + (high - low) / 2;
      if (rows[middle].start.load(std::memory_order_acquire) <= address) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == 0) return {};
    const Row& row = rows[low - 1];
    const u64 offset = address - row.start.load(std::memory_order_acquire);
    const u64 size = row.size.load(std::memory_order_acquire);
    if (offset >= size) return {};
    return {row.target.load(std::memory_order_acquire), offset, size - offset};
  }
};

AddressMap::AddressMap() {
  tables_.push_back(std::make_unique<Table>(64));
  table_ = tables_.back().get();
}

AddressMap::~AddressMap() = default;

/// Shows ranges_ to lookups; the lock is held. Tables that became too small stay, since a lookup may still be in one.
void AddressMap::publish() {
  Table* table = table_.load(std::memory_order_relaxed);
  if (ranges_.size() > table->capacity) {
    tables_.push_back(std::make_unique<Table>(std::bit_ceil(ranges_.size())));
    table = tables_.back().get();
  }
  const u32 version = version_.load(std::memory_order_relaxed);
  version_.store(version + 1, std::memory_order_relaxed);
  // Each of these stores carries the odd version before it along.
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    table->rows[i].start.store(ranges_[i].start, std::memory_order_release);
    table->rows[i].size.store(ranges_[i].size, std::memory_order_release);
    table->rows[i].target.store(ranges_[i].target, std::memory_order_release);
  }
  table->count.store(ranges_.size(), std::memory_order_release);
  table_.store(table, std::memory_order_release);
  version_.store(version + 2, std::memory_order_release);
}

AddressMap::Hit AddressMap::find(u64 address) const {
  const u32 before = version_.load(std::memory_order_acquire);
  if (before % 2 == 0) {
    const Hit hit = table_.load(std::memory_order_acquire)->find(address);
    if (version_.load(std::memory_order_relaxed) == before) return hit;
  }
  const std::lock_guard lock(mutex_);  // it changes just now
  return table_.load(std::memory_order_relaxed)->find(address);
}

Result<> AddressMap::add(u64 start, u64 size, IoTarget& target, std::string name) {
  if (size == 0 || start + (size - 1) < start) {
    return fail(fmt::format("cannot map '{}' at {:#x}", name, start), fmt::format("size {:#x} makes no range", size));
  }
  const std::lock_guard lock(mutex_);
  auto after = std::ranges::upper_bound(ranges_, start, {}, &Range::start);
  const Range* clash = nullptr;
  if (after != ranges_.end() && after->start - start < size) clash = &*after;
  if (after != ranges_.begin() && start - std::prev(after)->start < std::prev(after)->size) clash = &*std::prev(after);
  if (clash) {
    return fail(fmt::format("cannot map '{}' at {:#x}", name, start),
                fmt::format("'{}' is at {:#x}, size {:#x}", clash->name, clash->start, clash->size));
  }
  ranges_.insert(after, Range{start, size, &target, std::move(name)});
  publish();
  return {};
}

void AddressMap::remove(u64 start) {
  const std::lock_guard lock(mutex_);
  std::erase_if(ranges_, [&](const Range& range) { return range.start == start; });
  publish();
}

// A target is called without a lock: its answer may change this very map (a BAR moved through the configuration
// ports). A target must therefore outlive accesses that began before its removal.
void AddressMap::read(u64 address, std::span<u8> data) const {
  while (!data.empty()) {
    const Hit hit = find(address);
    const u64 size = hit.target ? part(data.size(), hit.room) : 1;
    if (hit.target) {
      hit.target->io_read(hit.offset, data.first(size));
    } else {
      read_ones(data.first(size));
    }
    data = data.subspan(size);
    address += size;
  }
}

void AddressMap::write(u64 address, std::span<const u8> data) const {
  while (!data.empty()) {
    const Hit hit = find(address);
    const u64 size = hit.target ? part(data.size(), hit.room) : 1;
    if (hit.target) hit.target->io_write(hit.offset, data.first(size));
    data = data.subspan(size);
    address += size;
  }
}

bool AddressMap::claims(u64 address) const { return find(address).target != nullptr; }

}  // namespace nagaya::bus
