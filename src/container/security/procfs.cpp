#include "container/security/procfs.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace nagaya::container {
namespace {

constexpr ino_t proc_root_inode = 1;  // PROC_ROOT_INO, linux/proc_ns.h

bool is_procfs_root(int fd) {
  struct statfs kind{};
  struct stat info{};
  return ::fstatfs(fd, &kind) == 0 && kind.f_type == PROC_SUPER_MAGIC && ::fstat(fd, &info) == 0 &&
         info.st_ino == proc_root_inode;
}

Result<host::Fd> own_procfs() {
  const host::Fd context(::fsopen("proc", FSOPEN_CLOEXEC));
  if (!context || ::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0)
    return fail_errno("/proc is no procfs, and none can be made");
  host::Fd tree(::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC));
  if (!tree) return fail_errno("/proc is no procfs, and none can be made");
  return tree;
}

}  // namespace

Result<host::Fd> open_procfs() {
  host::Fd fd(::open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd && is_procfs_root(fd.get())) return fd;
  return own_procfs();
}

Result<host::Fd> open_proc_file(const host::Fd& procfs, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<u64>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, procfs.get(), path.c_str(), &how, sizeof how);
  if (fd < 0) {
    const int code = errno;
    return fail_errno("cannot open '/proc/" + path + "'", code, code == EXDEV ? "something is mounted over it" : "");
  }
  return host::Fd(static_cast<int>(fd));
}

Result<> write_proc_file(const host::Fd& procfs, const std::string& path, std::string_view text) {
  TRY_ASSIGN(const host::Fd file, open_proc_file(procfs, path, O_WRONLY));
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail_errno("cannot write '" + std::string(text) + "' to '/proc/" + path + "'");
  }
  return {};
}

}  // namespace nagaya::container
