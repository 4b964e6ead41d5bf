// Inodes that the client knows, each held by an O_PATH descriptor: nothing is ever found again by a path of the host.
#pragma once
#include <sys/stat.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "base/types.hpp"
#include "fuse/budget.hpp"
#include "host/fd.hpp"

namespace nagaya::fuse {

/// What tells whether a file changed since.
struct Stamp {
  i64 modified_ns = 0, changed_ns = 0, size = -1;
  bool operator==(const Stamp&) const = default;
};

/// One inode of the host.
struct Node {
  u64 id = 0;
  dev_t device = 0;
  ino_t inode = 0;
  mode_t type = 0;  ///< S_IFMT bits; they never change
  host::Fd fd;      ///< O_PATH; none: lost when a saved machine came back
  Budget::Place place;

  /// The size that the client believes in, from replies and its own writes.
  std::atomic<i64> told_size = -1;
  void wrote(u64 end) {
    i64 known = told_size.load(std::memory_order_relaxed);
    while (static_cast<i64>(end) > known && !told_size.compare_exchange_weak(known, static_cast<i64>(end))) {
    }
  }

  /// The content that the client's cache was last filled from, as it stood at an open. Guarded by `mutex`.
  std::mutex mutex;
  Stamp opened;
  i64 revalidated_ns = 0;  ///< when the client was last made to look again, CLOCK_MONOTONIC
};
using NodePtr = std::shared_ptr<Node>;

/// Thread-safe. Numbers are never used twice, so that generations are not needed.
class NodeTable {
 public:
  /// Forgets all but makes `root` node FUSE_ROOT_ID.
  void begin(NodePtr root);
  /// Null: no such node.
  [[nodiscard]] NodePtr find(u64 id) const;
  /// The node of the inode that `fd` holds, known or new, looked up once more. Null: no place left (ENFILE).
  [[nodiscard]] NodePtr enter(host::Fd fd, const struct stat& attributes, Budget& budget);
  /// Takes back `count` look-ups; the last one forgets the node, but never the root.
  void forget(u64 id, u64 count);
  [[nodiscard]] std::size_t size() const;

  struct Entry {
    NodePtr node;
    u64 lookups = 0;
  };
  /// All but the root, in the order of their numbers; and the next number.
  [[nodiscard]] std::vector<Entry> all() const;
  [[nodiscard]] u64 next() const;
  /// A node of a saved machine, whose number is below `next`; false when taken.
  [[nodiscard]] bool put(NodePtr node, u64 lookups);
  void set_next(u64 next);

 private:
  using Key = std::pair<dev_t, ino_t>;
  mutable std::mutex mutex_;  // guards all below
  std::map<u64, Entry> by_id_;
  std::map<Key, u64> by_inode_;
  u64 next_ = 2;
};

}  // namespace nagaya::fuse
