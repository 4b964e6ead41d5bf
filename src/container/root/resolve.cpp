#include "container/root/resolve.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <vector>

#include "container/root/root.hpp"

namespace nagaya::container {
namespace {

constexpr int link_limit = 40;  // as the kernel's own

int open_inside(int root, const char* path, u64 flags, u64 resolve) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = resolve;
  for (int tries = 0;; ++tries) {
    const int fd = static_cast<int>(::syscall(SYS_openat2, root, path, &how, sizeof how));
    // EAGAIN: a rename or mount elsewhere made the kernel unsure of a ".."; it asks to try again.
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || tries == 128) return fd;
  }
}

/// Makes what is missing of `path`, one part after the other, each by the descriptor of its folder.
Result<host::Fd> make_path(int root, const std::string& path, bool file, int links) {
  host::Fd folder(open_inside(root, "/", O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT));
  if (!folder) return fail_errno("cannot open the root");
  std::string done;
  for (std::size_t at = 1; at < path.size();) {
    std::size_t end = path.find('/', at);
    if (end == std::string::npos) end = path.size();
    const std::string name = path.substr(at, end - at);
    const bool last = end == path.size();
    if (name.empty() || name == ".") {
      at = end + 1;
      continue;
    }
    const std::string whole = done + "/" + name;
    host::Fd next(open_inside(root, whole.c_str(), O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
    if (!next) {
      if (errno != ENOENT) return fail_errno("cannot reach '" + path + "' in the root");
      if (name == "..") return fail_errno("cannot reach '" + path + "' in the root", ENOENT);
      std::array<char, PATH_MAX> link;
      const ssize_t length = ::readlinkat(folder.get(), name.c_str(), link.data(), link.size());
      if (length > 0) {
        // A link to what is not there: its target is made, as a mount at the link would need it.
        if (links == 0) return fail_errno("cannot reach '" + path + "' in the root", ELOOP);
        const std::string target(link.data(), static_cast<std::size_t>(length));
        const std::string rest = path.substr(end);
        return make_path(root, (target[0] == '/' ? target : done + "/" + target) + rest, file, links - 1);
      }
      if (last && file) {
        const host::Fd made(::openat(folder.get(), name.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644));
        if (!made && errno != EEXIST) return fail_errno("cannot make '" + path + "' in the root");
      } else if (::mkdirat(folder.get(), name.c_str(), 0755) != 0 && errno != EEXIST) {
        return fail_errno("cannot make '" + path + "' in the root");
      }
      next = host::Fd(::openat(folder.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!next) return fail_errno("cannot open '" + path + "' in the root");
    }
    if (!last && !is_folder(next.get())) return fail_errno("cannot reach '" + path + "' in the root", ENOTDIR);
    folder = std::move(next);
    done = whole;
    at = end + 1;
  }
  return folder;
}

}  // namespace

std::string clean_path(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    at = end + 1;
  }
  std::string out;
  for (const std::string& part : parts) out += "/" + part;
  return out.empty() ? "/" : out;
}

Result<host::Fd> find_in_root(int root, const std::string& path, bool links) {
  host::Fd fd(open_inside(root, path.c_str(), O_PATH, RESOLVE_IN_ROOT | (links ? RESOLVE_NO_MAGICLINKS : RESOLVE_NO_SYMLINKS)));
  if (!fd) return fail_errno("cannot open '" + path + "' in the root");
  return fd;
}

Result<host::Fd> open_in_root(int root, const std::string& path, bool make, bool make_file) {
  const std::string clean = clean_path(path);
  auto found = find_in_root(root, clean);
  if (found || !make || found.error().code != ENOENT) return found;
  return make_path(root, clean, make_file, link_limit);
}

bool is_folder(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
}

long file_system_of(int fd) {
  struct statfs info {};
  return ::fstatfs(fd, &info) == 0 ? static_cast<long>(info.f_type) : 0;
}

}  // namespace nagaya::container
