// Open files and directories of the client.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "fuse/nodes.hpp"

namespace nagaya::fuse {

struct Handle {
  host::Fd fd;  ///< none: lost when a saved machine came back
  NodePtr node;
  int flags = 0;  ///< of open(2), as far as they matter for opening it again
  bool directory = false;
  Budget::Place place;

  /// A directory's entries read ahead: getdents64 records, and the offset that the next one not yet given follows.
  std::mutex mutex;  // guards the rest
  std::vector<u8> entries;
  std::size_t used = 0;
  u64 position = 0;
};
using HandlePtr = std::shared_ptr<Handle>;

/// Thread-safe.
class HandleTable {
 public:
  u64 add(HandlePtr handle) {
    std::lock_guard lock(mutex_);
    handles_[next_] = std::move(handle);
    return next_++;
  }
  /// Null: no such handle of that kind.
  [[nodiscard]] HandlePtr find(u64 id, bool directory) const {
    std::lock_guard lock(mutex_);
    const auto found = handles_.find(id);
    return found == handles_.end() || found->second->directory != directory ? nullptr : found->second;
  }
  [[nodiscard]] bool remove(u64 id, bool directory) {
    HandlePtr last;  // closed outside the lock
    std::lock_guard lock(mutex_);
    const auto found = handles_.find(id);
    if (found == handles_.end() || found->second->directory != directory) return false;
    last = std::move(found->second);
    handles_.erase(found);
    return true;
  }
  void clear() {
    std::map<u64, HandlePtr> old;
    std::lock_guard lock(mutex_);
    old.swap(handles_);
    next_ = 1;
  }
  [[nodiscard]] std::map<u64, HandlePtr> all() const {
    std::lock_guard lock(mutex_);
    return handles_;
  }
  [[nodiscard]] u64 next() const {
    std::lock_guard lock(mutex_);
    return next_;
  }
  /// A handle of a saved machine; false when its number is taken or not below `next`.
  [[nodiscard]] bool put(u64 id, HandlePtr handle) {
    std::lock_guard lock(mutex_);
    return id != 0 && id < next_ && handles_.try_emplace(id, std::move(handle)).second;
  }
  void set_next(u64 next) {
    std::lock_guard lock(mutex_);
    next_ = next;
  }

 private:
  mutable std::mutex mutex_;
  std::map<u64, HandlePtr> handles_;
  u64 next_ = 1;
};

}  // namespace nagaya::fuse
