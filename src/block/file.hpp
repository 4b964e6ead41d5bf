// A file or block device that holds an image: whole reads and writes, space management, locks.
#pragma once
#include <string>

#include "base/result.hpp"
#include "block/iov.hpp"
#include "host/fd.hpp"

namespace nagaya::block {

enum class Access : u8 { read_only, read_write };

/// Methods that give an int give 0 or a positive errno value; EINTR and short transfers are dealt with, and a quota that is
/// used up is ENOSPC. Thread-safe.
class File {
 public:
  /// Opens and locks: one writer alone, or any number of readers. The locks (open file description locks, on the bytes
  /// that QEMU uses for its own) are advice among well-behaved programs; they end with the process.
  static Result<File> open(const std::string& path, Access access);
  /// Opens `path` below the folder of `image`, never outside it: no "..", no symbolic link that leads out.
  static Result<File> open_beneath(const std::string& image, const std::string& path, Access access);
  /// A new file, which must not exist, locked for writing.
  static Result<File> create(const std::string& path);
  /// Takes over a descriptor without locks (memory files in tests).
  static Result<File> adopt(host::Fd fd, std::string name, Access access);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool read_only() const { return access_ == Access::read_only; }
  [[nodiscard]] bool is_device() const { return device_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

  /// Bytes, asked of the kernel each time.
  [[nodiscard]] Result<u64> size() const;
  /// Bytes free on the file system that holds it, ~0 when that says nothing (a device).
  [[nodiscard]] u64 host_space() const;
  /// Bytes of disk space in use.
  [[nodiscard]] u64 allocated() const;
  /// Past the end of the file reads zeroes.
  [[nodiscard]] int read(u64 offset, Iov iov) const;
  /// Only what is in the page cache and comes as a whole, else EAGAIN.
  [[nodiscard]] int read_now(u64 offset, Iov iov) const;
  [[nodiscard]] int read(u64 offset, void* data, u64 size) const { return read(offset, OneBuffer(data, size)); }
  [[nodiscard]] int write(u64 offset, Iov iov) const;
  [[nodiscard]] int write(u64 offset, const void* data, u64 size) const { return write(offset, OneBuffer(data, size)); }
  /// Makes the range read as zeroes, and gives its space back when `unmap`. Writes zeroes where the kernel cannot.
  [[nodiscard]] int zero(u64 offset, u64 length, bool unmap) const;
  /// Gives space back if the kernel can; ENOTSUP if it cannot.
  [[nodiscard]] int punch(u64 offset, u64 length) const;
  /// fdatasync.
  [[nodiscard]] int sync() const;
  [[nodiscard]] int truncate(u64 size) const;
  /// The end of the run of data or hole that `offset` is in (both at most `limit`), and whether it is a hole.
  struct Run {
    u64 end;
    bool hole;
  };
  [[nodiscard]] Run run_at(u64 offset, u64 limit) const;

 private:
  File(host::Fd fd, std::string name, Access access) : fd_(std::move(fd)), name_(std::move(name)), access_(access) {}
  static Result<File> prepared(host::Fd fd, std::string name, Access access, bool locked);

  host::Fd fd_;
  std::string name_;
  Access access_;
  bool device_ = false;
};

}  // namespace nagaya::block
