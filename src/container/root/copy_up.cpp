// What lies below a tmpfs that asks for it (tmpcopyup) is copied into it before it covers it.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <memory>
#include <string_view>

#include "container/root/mounts.hpp"

namespace nagaya::container {
namespace {

constexpr int depth_limit = 128;

std::unexpected<Error> failed(const std::string& name) { return fail_errno("cannot copy '" + name + "' into the tmpfs"); }

Result<> copy_content(int from, int to, const std::string& name) {
  for (;;) {
    const ssize_t got = ::copy_file_range(from, nullptr, to, nullptr, 1 << 20, 0);
    if (got == 0) return {};
    if (got > 0 || errno == EINTR) continue;
    if (errno != EXDEV && errno != EINVAL && errno != ENOSYS) return failed(name);
    break;
  }
  std::array<u8, 65536> buffer;
  for (ssize_t got; (got = ::read(from, buffer.data(), buffer.size())) != 0;) {
    if (got < 0) return failed(name);
    TRY(host::write_all(to, std::span<const u8>(buffer.data(), static_cast<std::size_t>(got))));
  }
  return {};
}

Result<> copy_folder(int from, int to, int depth);

Result<> copy_entry(int from, int to, const std::string& name, int depth) {
  struct stat info {};
  if (::fstatat(from, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT ? Result<>() : Result<>(failed(name));
  if (S_ISLNK(info.st_mode)) {
    std::array<char, PATH_MAX> target;
    const ssize_t length = ::readlinkat(from, name.c_str(), target.data(), target.size() - 1);
    if (length < 0) return failed(name);
    target[static_cast<std::size_t>(length)] = 0;
    if (::symlinkat(target.data(), to, name.c_str()) != 0) return failed(name);
  } else if (S_ISDIR(info.st_mode)) {
    const host::Fd source(::openat(from, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!source || ::mkdirat(to, name.c_str(), 0700) != 0) return failed(name);
    const host::Fd made(::openat(to, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!made) return failed(name);
    TRY(copy_folder(source.get(), made.get(), depth - 1));
  } else if (S_ISREG(info.st_mode)) {
    const host::Fd source(::openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    const host::Fd made(::openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!source || !made) return failed(name);
    TRY(copy_content(source.get(), made.get(), name));
  } else {
    return {};  // devices, sockets and pipes of an image mean nothing in a new tmpfs
  }
  if (::fchownat(to, name.c_str(), info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) != 0 && errno != EINVAL && errno != EPERM) return failed(name);
  if (!S_ISLNK(info.st_mode) && ::fchmodat(to, name.c_str(), info.st_mode & 07777, 0) != 0) return failed(name);
  return {};
}

Result<> copy_folder(int from, int to, int depth) {
  if (depth == 0) return fail_errno("cannot copy into the tmpfs", ELOOP);
  const int listed = ::fcntl(from, F_DUPFD_CLOEXEC, 0);
  if (listed < 0) return fail_errno("cannot copy into the tmpfs");
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(listed), ::closedir);
  if (!folder) return fail_errno("cannot copy into the tmpfs");
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") TRY(copy_entry(from, to, std::string(name), depth));
  }
  return {};
}

}  // namespace

Result<> copy_up(int below, int mount) {
  const host::Fd from(::openat(below, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const host::Fd to(::openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!from || !to) return fail_errno("cannot copy into the tmpfs");
  return copy_folder(from.get(), to.get(), depth_limit);
}

}  // namespace nagaya::container
