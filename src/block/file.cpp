#include "block/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>

namespace nagaya::block {
namespace {

// QEMU's image locking uses byte 100+p for a permission in use and 200+p for a permission denied to others, with p as
// 0 consistent read, 1 write, 3 resize. A reader of ours reads and denies write and resize; a writer takes them all
// for itself, by a write lock.
constexpr off_t read_used = 100, write_denied = 201, resize_denied = 203, lock_first = 100, lock_count = 200;

bool set_lock(int fd, short type, off_t start, off_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return ::fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

Result<> lock_file(int fd, const std::string& name, Access access) {
  bool done = true;
  if (access == Access::read_write) {
    done = set_lock(fd, F_WRLCK, lock_first, lock_count);
  } else {
    for (const off_t at : {read_used, write_denied, resize_denied}) done = done && set_lock(fd, F_RDLCK, at, 1);
  }
  if (done) return {};
  if (errno == EAGAIN || errno == EACCES) {
    return fail(fmt::format("cannot lock '{}' for {}", name, access == Access::read_write ? "writing" : "reading"),
                access == Access::read_write ? "it is in use" : "something writes to it",
                "end the machine or program that uses it");
  }
  // File systems without locks (some network and FUSE ones) say so; images there are the user's own care.
  if (errno == ENOLCK || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) return {};
  return fail_errno(fmt::format("cannot lock '{}'", name));
}

bool unsupported(int error) { return error == EOPNOTSUPP || error == ENOSYS || error == ENODEV || error == EINVAL; }

// A quota that is used up is a lack of space as well.
int no_space(int error) { return error == EDQUOT ? ENOSPC : error; }

int allocate(int fd, int mode, u64 offset, u64 length) {
  int done;
  do done = ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  while (done != 0 && errno == EINTR);
  return done == 0 ? 0 : no_space(errno);
}

}  // namespace

Result<File> File::prepared(host::Fd fd, std::string name, Access access, bool locked) {
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(fmt::format("cannot examine '{}'", name));
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    return fail(fmt::format("cannot use '{}' as a disk", name), "it is neither a file nor a block device");
  }
  if (locked) TRY(lock_file(fd.get(), name, access));
  File out(std::move(fd), std::move(name), access);
  out.device_ = S_ISBLK(info.st_mode);
  return out;
}

Result<File> File::open(const std::string& path, Access access) {
  int flags = access == Access::read_write ? O_RDWR : O_RDONLY;
  // A FIFO would block, and a device that is mounted must not be written behind the file system's back.
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISBLK(info.st_mode) && access == Access::read_write) flags |= O_EXCL;
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, flags | O_NONBLOCK | O_NOCTTY));
  return prepared(std::move(fd), path, access, true);
}

Result<File> File::open_beneath(const std::string& image, const std::string& path, Access access) {
  const std::size_t slash = image.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : image.substr(0, slash);
  TRY_ASSIGN(const host::Fd dir, host::Fd::open(folder, O_PATH | O_DIRECTORY));
  open_how how{};
  how.flags = static_cast<u64>((access == Access::read_write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  long fd;
  do fd = ::syscall(SYS_openat2, dir.get(), path.c_str(), &how, sizeof how);
  while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  if (fd < 0) {
    return fail_errno(fmt::format("cannot open '{}' in '{}'", path, folder), 0,
                      errno == EXDEV ? "it leads out of the image's folder; allow the path explicitly" : "");
  }
  return prepared(host::Fd(static_cast<int>(fd)), folder + "/" + path, access, true);
}

Result<File> File::create(const std::string& path) {
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, O_RDWR | O_CREAT | O_EXCL, 0644));
  return prepared(std::move(fd), path, Access::read_write, true);
}

Result<File> File::adopt(host::Fd fd, std::string name, Access access) {
  return prepared(std::move(fd), std::move(name), access, false);
}

Result<u64> File::size() const {
  if (device_) {
    u64 bytes = 0;
    if (::ioctl(fd_.get(), BLKGETSIZE64, &bytes) != 0) return fail_errno(fmt::format("cannot learn the size of '{}'", name_));
    return bytes;
  }
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return fail_errno(fmt::format("cannot examine '{}'", name_));
  return static_cast<u64>(info.st_size);
}

u64 File::allocated() const {
  struct stat info {};
  return ::fstat(fd_.get(), &info) == 0 ? static_cast<u64>(info.st_blocks) * 512 : 0;
}

u64 File::host_space() const {
  struct statvfs info {};
  if (device_ || ::fstatvfs(fd_.get(), &info) != 0) return ~u64{0};
  // Some blocks are kept for root.
  return u64{info.f_frsize} * (::geteuid() == 0 ? info.f_bfree : info.f_bavail);
}

namespace {

// Runs `step(iovecs, count, offset)` until everything has moved; `at_end` is told what is left at end of file.
template <class Step, class AtEnd>
int transfer(u64 offset, Iov iov, Step step, AtEnd at_end) {
  std::array<iovec, 64> part;
  std::size_t index = 0;
  u64 skip = 0;
  while (true) {
    while (index < iov.size() && skip >= iov[index].iov_len) {
      ++index;
      skip = 0;
    }
    if (index == iov.size()) return 0;
    std::size_t count = 0;
    for (std::size_t i = index; i < iov.size() && count < part.size(); ++i) {
      const u64 from = i == index ? skip : 0;
      part[count++] = {static_cast<u8*>(iov[i].iov_base) + from, iov[i].iov_len - from};
    }
    const ssize_t moved = step(part.data(), static_cast<int>(count), static_cast<off_t>(offset));
    if (moved < 0) {
      if (errno == EINTR) continue;
      return no_space(errno);
    }
    if (moved == 0) return at_end(index, skip);
    offset += static_cast<u64>(moved);
    for (u64 left = static_cast<u64>(moved); left > 0;) {
      const u64 here = std::min<u64>(left, iov[index].iov_len - skip);
      left -= here;
      skip += here;
      if (skip == iov[index].iov_len && left > 0) {
        ++index;
        skip = 0;
      }
    }
  }
}

}  // namespace

int File::read(u64 offset, Iov iov) const {
  return transfer(
      offset, iov, [&](const iovec* v, int n, off_t at) { return ::preadv(fd_.get(), v, n, at); },
      [&](std::size_t index, u64 skip) {
        iov_zero(iov.subspan(index), skip, iov_length(iov.subspan(index)) - skip);
        return 0;
      });
}

int File::read_now(u64 offset, Iov iov) const {
  if (iov.size() > 64) return EAGAIN;
  const ssize_t got = ::preadv2(fd_.get(), iov.data(), static_cast<int>(iov.size()), static_cast<off_t>(offset), RWF_NOWAIT);
  return got > 0 && static_cast<u64>(got) == iov_length(iov) ? 0 : EAGAIN;
}

int File::write(u64 offset, Iov iov) const {
  return transfer(
      offset, iov, [&](const iovec* v, int n, off_t at) { return ::pwritev(fd_.get(), v, n, at); },
      [](std::size_t, u64) { return ENOSPC; });
}

int File::zero(u64 offset, u64 length, bool unmap) const {
  if (length == 0) return 0;
  int error = EOPNOTSUPP;
  if (unmap) error = allocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  if (error != 0) error = allocate(fd_.get(), FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
  if (error == 0 || !unsupported(error)) return error;
  static const std::array<u8, 64 * KiB> zeroes{};
  for (u64 done = 0; done < length;) {
    const u64 count = std::min<u64>(zeroes.size(), length - done);
    if (const int failed = write(offset + done, zeroes.data(), count); failed != 0) return failed;
    done += count;
  }
  return 0;
}

int File::punch(u64 offset, u64 length) const {
  if (length == 0) return 0;
  const int error = allocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  return unsupported(error) ? ENOTSUP : error;
}

int File::sync() const {
  int done;
  do done = ::fdatasync(fd_.get());
  while (done != 0 && errno == EINTR);
  // A file system that finds out only now that it lacks space has dropped data: nothing to be tried again.
  return done == 0 ? 0 : no_space(errno) == ENOSPC ? EIO : errno;
}

int File::truncate(u64 size) const {
  int done;
  do done = ::ftruncate(fd_.get(), static_cast<off_t>(size));
  while (done != 0 && errno == EINTR);
  return done == 0 ? 0 : no_space(errno);
}

File::Run File::run_at(u64 offset, u64 limit) const {
  if (device_) return {limit, false};
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) return {limit, errno == ENXIO};  // no data to the end of the file; or no such call: all data
  if (static_cast<u64>(data) > offset) return {std::min(static_cast<u64>(data), limit), true};
  const off_t hole = ::lseek(fd_.get(), static_cast<off_t>(offset), SEEK_HOLE);
  return {hole < 0 ? limit : std::min(static_cast<u64>(hole), limit), false};
}

}  // namespace nagaya::block
