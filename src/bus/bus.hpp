// The address map: which device answers which port or guest-physical address. Lookups are safe against concurrent
// changes (a BAR moved by one vCPU while another accesses it) and take no lock: every access of a guest makes one.
#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::bus {

/// Answers accesses at offsets into its own range. `data.size()`: port 1, 2, 4; MMIO 1..8. Called on vCPU threads, also
/// several at once: a device locks itself. Any size and offset may come; what makes no sense reads as all ones and
/// ignores writes.
class IoTarget {
 public:
  virtual ~IoTarget() = default;
  virtual void io_read(u64 offset, std::span<u8> data) = 0;
  virtual void io_write(u64 offset, std::span<const u8> data) = 0;
};

/// One address space (ports, or guest-physical). Unclaimed reads give all ones; unclaimed writes are dropped.
class AddressMap {
 public:
  AddressMap();
  ~AddressMap();
  AddressMap(const AddressMap&) = delete;
  AddressMap& operator=(const AddressMap&) = delete;

  /// Claims [start, start+size). Error when it overlaps another claim.
  Result<> add(u64 start, u64 size, IoTarget& target, std::string name);
  void remove(u64 start);
  void read(u64 address, std::span<u8> data) const;
  void write(u64 address, std::span<const u8> data) const;
  /// True when the address belongs to some target.
  [[nodiscard]] bool claims(u64 address) const;

 private:
  struct Range {
    u64 start, size;
    IoTarget* target;
    std::string name;
  };
  /// Who answers an access, at which offset, and how many of its bytes.
  struct Hit {
    IoTarget* target = nullptr;
    u64 offset = 0, room = 0;
  };
  struct Table;
  [[nodiscard]] Hit find(u64 address) const;
  void publish();

  mutable std::mutex mutex_;
  std::vector<Range> ranges_;  // sorted by start; guarded by mutex_
  // What lookups see, a copy of ranges_. It is odd while the copy changes.
  std::atomic<u32> version_ = 0;
  std::atomic<Table*> table_;
  std::vector<std::unique_ptr<Table>> tables_;  // all there ever were, each twice as large as the one before; guarded by mutex_
};

}  // namespace nagaya::bus
