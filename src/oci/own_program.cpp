#include "oci/own_program.hpp"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "host/fd.hpp"

namespace nagaya::oci {
namespace {

constexpr const char* own_file = "/proc/self/exe";
constexpr const char* marker = "NAGAYA_OCI_PROTECTED";
constexpr int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

bool is_protected(int file) {
  struct statfs facts{};
  if (::fstatfs(file, &facts) == 0 && (facts.f_flags & ST_RDONLY) != 0) return true;
  if (const int set = ::fcntl(file, F_GET_SEALS); set >= 0 && (set & seals) == seals) return true;
  // Not ours and not writable for us: a container of an unprivileged caller has no more rights over it than the caller.
  struct stat owner{};
  return ::geteuid() != 0 && ::fstat(file, &owner) == 0 && owner.st_uid != ::geteuid() && ::access(own_file, W_OK) != 0;
}

/// A clone of the mount with our file, in no namespace, read-only. It goes away with the last process that runs from
/// it.
host::Fd read_only_mount() {
  host::Fd tree(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, own_file, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)));
  if (!tree) return tree;
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return host::Fd();
  return tree;
}

Result<host::Fd> sealed_copy(int file) {
  struct stat facts{};
  if (::fstat(file, &facts) != 0) return fail_errno("cannot read our own program file");
  // Executable, said outright: some systems refuse memory files of which it is not known (memfd_create(2), MFD_EXEC).
  constexpr unsigned exec_flag = 0x10;
  host::Fd copy(::memfd_create("nagaya-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING | exec_flag));
  if (!copy && errno == EINVAL) copy = host::Fd(::memfd_create("nagaya-oci", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy) return fail_errno("cannot make a copy of our own program in memory");
  off_t done = 0;
  while (done < facts.st_size) {
    const ssize_t count = ::sendfile(copy.get(), file, &done, static_cast<std::size_t>(facts.st_size - done));
    if (count <= 0) return fail_errno("cannot copy our own program");
  }
  if (::fcntl(copy.get(), F_ADD_SEALS, seals) != 0) return fail_errno("cannot seal the copy of our own program");
  return copy;
}

}  // namespace

Result<> protect_own_program(char** argv) {
  const bool again = ::getenv(marker) != nullptr;
  if (again) ::unsetenv(marker);
  TRY_ASSIGN(const host::Fd file, host::Fd::open(own_file, O_RDONLY));
  if (is_protected(file.get())) return {};
  if (again) return fail("our own program file cannot be protected from the container");
  ::setenv(marker, "1", 1);
  // The mount costs a few microseconds, the copy one pass over a megabyte; the first needs CAP_SYS_ADMIN.
  if (const host::Fd mount = read_only_mount()) ::execveat(mount.get(), "", argv, environ, AT_EMPTY_PATH);
  TRY_ASSIGN(const host::Fd copy, sealed_copy(file.get()));
  ::execveat(copy.get(), "", argv, environ, AT_EMPTY_PATH);
  return fail_errno("cannot execute a protected copy of our own program");
}

}  // namespace nagaya::oci
