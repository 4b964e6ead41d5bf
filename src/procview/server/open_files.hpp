// Texts of open files: one read is of one moment, also in pieces. A container may open many: they are bounded.
#pragma once
#include <map>
#include <string>

#include "base/types.hpp"

namespace nagaya::procview {

class OpenFiles {
 public:
  static constexpr std::size_t most = 1024, most_bytes = 4 * MiB;

  struct File {
    std::string text;
    bool fresh = true;  ///< made at open, not read yet
  };

  /// Whether a text of that size finds room.
  [[nodiscard]] bool room(std::size_t size) const { return files_.size() < most && bytes_ + size <= most_bytes; }
  /// Null: it is not known. A handle of a worker before us is not.
  File* find(u64 handle) {
    const auto found = files_.find(handle);
    return found == files_.end() ? nullptr : &found->second;
  }
  File& keep(u64 handle, std::string text, bool fresh) {
    close(handle);
    bytes_ += text.size();
    return files_[handle] = {std::move(text), fresh};
  }
  void close(u64 handle) {
    const auto found = files_.find(handle);
    if (found == files_.end()) return;
    bytes_ -= found->second.text.size();
    files_.erase(found);
  }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  std::map<u64, File> files_;
  std::size_t bytes_ = 0;
};

}  // namespace nagaya::procview
