#include "bus/bus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <mutex>

#include "bus/bytes.hpp"

namespace nagaya::bus {
namespace {

constexpr u64 widest_access = 8;

/// Bytes of an access at `offset` that one call to a target may carry: a power of two, so that what straddles ranges
/// comes as sizes that a bus could carry.
u64 piece(u64 left, u64 room) { return std::bit_floor(std::min({left, room, widest_access})); }

}  // namespace

Result<> AddressMap::add(u64 start, u64 size, IoTarget& target, std::string name) {
  if (size == 0 || start + (size - 1) < start) {
    return fail(fmt::format("cannot map '{}' at {:#x}", name, start), fmt::format("size {:#x} makes no range", size));
  }
  std::unique_lock lock(mutex_);
  auto after = std::ranges::upper_bound(ranges_, start, {}, &Range::start);
  const Range* clash = nullptr;
  if (after != ranges_.end() && after->start - start < size) clash = &*after;
  if (after != ranges_.begin() && start - std::prev(after)->start < std::prev(after)->size) clash = &*std::prev(after);
  if (clash) {
    return fail(fmt::format("cannot map '{}' at {:#x}", name, start),
                fmt::format("'{}' is at {:#x}, size {:#x}", clash->name, clash->start, clash->size));
  }
  ranges_.insert(after, Range{start, size, &target, std::move(name)});
  return {};
}

void AddressMap::remove(u64 start) {
  std::unique_lock lock(mutex_);
  std::erase_if(ranges_, [&](const Range& range) { return range.start == start; });
}

const AddressMap::Range* AddressMap::find(u64 address) const {
  auto after = std::ranges::upper_bound(ranges_, address, {}, &Range::start);
  if (after == ranges_.begin()) return nullptr;
  const Range& range = *std::prev(after);
  return address - range.start < range.size ? &range : nullptr;
}

// A target is called without the lock: its answer may change this very map (a BAR moved through the configuration
// ports). A target must therefore outlive accesses that began before its removal.
void AddressMap::read(u64 address, std::span<u8> data) const {
  while (!data.empty()) {
    IoTarget* target = nullptr;
    u64 offset = 0, size = 1;
    {
      std::shared_lock lock(mutex_);
      if (const Range* range = find(address)) {
        target = range->target;
        offset = address - range->start;
        const u64 room = range->size - offset;
        size = data.size() <= std::min(room, widest_access) ? data.size() : piece(data.size(), room);
      }
    }
    if (target) {
      target->io_read(offset, data.first(size));
    } else {
      read_ones(data.first(size));
    }
    data = data.subspan(size);
    address += size;
  }
}

void AddressMap::write(u64 address, std::span<const u8> data) const {
  while (!data.empty()) {
    IoTarget* target = nullptr;
    u64 offset = 0, size = 1;
    {
      std::shared_lock lock(mutex_);
      if (const Range* range = find(address)) {
        target = range->target;
        offset = address - range->start;
        const u64 room = range->size - offset;
        size = data.size() <= std::min(room, widest_access) ? data.size() : piece(data.size(), room);
      }
    }
    if (target) target->io_write(offset, data.first(size));
    data = data.subspan(size);
    address += size;
  }
}

bool AddressMap::claims(u64 address) const {
  std::shared_lock lock(mutex_);
  return find(address) != nullptr;
}

}  // namespace nagaya::bus
