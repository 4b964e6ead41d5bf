// A file that gets its name, as one step, when its content is complete.
#pragma once
#include <string>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::host {

/// Until commit() there is only a temporary file beside `path`, which goes with this object.
class NewFile {
 public:
  static Result<NewFile> create(const std::string& path);
  /// `name` in the folder that a descriptor holds; the object does not own it.
  static Result<NewFile> create(int folder, const std::string& name);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Its content is on the disk, and it has its name.
  Result<> commit();

 private:
  NewFile(Fd fd, int folder, std::string name, std::string temporary)
      : fd_(std::move(fd)), folder_(folder), name_(std::move(name)), temporary_(std::move(temporary)) {}
  Fd fd_;
  int folder_;
  std::string name_, temporary_;  // temporary_ is empty when there is none
};

/// Removes what writers of new files in `folder` have left that were killed.
void remove_stale_files(const std::string& folder);

}  // namespace nagaya::host
