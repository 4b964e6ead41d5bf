// The folder ROOT/ID of one container, with its lock. Files are replaced by rename, so that a reader sees an old or a
// new one; whoever changes the container holds the lock.
#pragma once
#include <string>

#include "base/result.hpp"
#include "container/record.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

class Folder {
 public:
  /// Makes ROOT/ID and locks it. An existing one is an error, unless it was left by a creation that was killed: then it
  /// is returned as it is, with `leftover` set, and the caller clears what it names.
  static Result<Folder> claim(const std::string& root, const std::string& id, bool* leftover);
  /// An existing one. `lock`: waits for others that change it, at most ten seconds.
  static Result<Folder> open(const std::string& root, const std::string& id, bool lock);

  [[nodiscard]] Result<Record> load() const;
  [[nodiscard]] Result<> save(const Record& record) const;
  [[nodiscard]] Result<std::string> read(const char* name) const;
  [[nodiscard]] Result<> write(const char* name, std::string_view content) const;
  /// Someone holds the lock (asked without holding it).
  [[nodiscard]] bool busy() const;
  /// Removes the files, state.json last, and the folder.
  Result<> remove();
  /// The lock lives as long as any copy of the descriptor: children give theirs up first.
  void forget() { fd_.reset(); }

  [[nodiscard]] std::string path(const char* name) const { return root_ + "/" + id_ + "/" + name; }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  std::string root_, id_;
  host::Fd fd_;
};

/// Errors of Folder::open and claim, by `Error::code`: no such container; one of that id is there.
inline constexpr const char* no_such_container = "does not exist";

}  // namespace nagaya::container
