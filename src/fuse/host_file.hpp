// The only ways in which the server touches files of the host. A name is looked up in a folder that a descriptor holds,
// never followed when it is a link, never above that folder; an inode that a descriptor holds is opened again through
// /proc/self/fd, which names the inode itself and nothing that could be exchanged.
#pragma once
#include <sys/stat.h>

#include <string>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::fuse {

/// A descriptor or an errno value.
struct Opened {
  host::Fd fd;
  int error = 0;
};

class HostFile {
 public:
  /// Error: there is no /proc here.
  static Result<HostFile> create();

  /// The inode of `name` in `folder`, not opened: O_PATH, a link is itself.
  [[nodiscard]] static Opened look_up(int folder, const std::string& name);
  /// Creates a file that must not be there (O_CREAT | O_EXCL).
  [[nodiscard]] static Opened create_file(int folder, const std::string& name, int flags, mode_t mode);
  /// Several names below `folder`, each looked up as look_up does.
  [[nodiscard]] static Opened look_up_path(int folder, const std::string& path);
  /// Opens the inode of an O_PATH descriptor. The caller has made sure that it is a regular file or a directory: opening
  /// a FIFO would wait, opening a device node would act on the host.
  [[nodiscard]] Opened open_again(int fd, int flags) const;
  /// A path that names exactly the inode of `fd`, for calls that take no descriptor.
  [[nodiscard]] static std::string path_of(int fd);
  /// The number of `fd` as a name relative to folder().
  [[nodiscard]] int folder() const { return proc_.get(); }
  /// Where the host's kernel says the inode is now, or nothing.
  [[nodiscard]] std::string location(int fd) const;

 private:
  host::Fd proc_;  // /proc/self/fd
};

}  // namespace nagaya::fuse
