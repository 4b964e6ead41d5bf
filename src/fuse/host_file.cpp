#include "fuse/host_file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "host/apart.hpp"

namespace nagaya::fuse {
namespace {

Opened open_beneath(int folder, const char* path, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<u64>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, folder, path, &how, sizeof how);
  if (fd < 0) return {host::Fd(), errno};
  return {host::Fd(static_cast<int>(fd)), 0};
}

}  // namespace

Result<HostFile> HostFile::create() {
  HostFile out;
  TRY_ASSIGN(out.proc_, host::open_folder_apart("/proc/self/fd"));
  struct statfs info{};
  if (::fstatfs(out.proc_.get(), &info) != 0 || info.f_type != PROC_SUPER_MAGIC) {
    return fail("cannot share a folder", "/proc is not the kernel's process file system", "mount it: mount -t proc proc /proc");
  }
  return out;
}

Opened HostFile::look_up(int folder, const std::string& name) {
  return open_beneath(folder, name.c_str(), O_PATH | O_NOFOLLOW, 0);
}

Opened HostFile::look_up_path(int folder, const std::string& path) {
  return open_beneath(folder, path.c_str(), O_PATH | O_NOFOLLOW, 0);
}

Opened HostFile::create_file(int folder, const std::string& name, int flags, mode_t mode) {
  return open_beneath(folder, name.c_str(), flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK, mode & 07777);
}

Opened HostFile::open_again(int fd, int flags) const {
  // O_NONBLOCK: files that wait for something (as some in /proc do) must not hold a thread.
  const int out = ::openat(proc_.get(), std::to_string(fd).c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (out < 0) return {host::Fd(), errno};
  return {host::Fd(out), 0};
}

std::string HostFile::path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

std::string HostFile::location(int fd) const {
  std::array<char, 4097> text{};
  const ssize_t length = ::readlinkat(proc_.get(), std::to_string(fd).c_str(), text.data(), text.size());
  if (length <= 0 || static_cast<std::size_t>(length) >= text.size()) return {};
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace nagaya::fuse
