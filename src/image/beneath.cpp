#include "image/beneath.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <vector>

namespace nagaya::image {
namespace {

constexpr std::size_t longest_name = 255;
constexpr unsigned deepest = 512;

std::string shown(std::string_view path) {
  std::string out;
  for (const char c : path.substr(0, 200)) out += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
  return out;
}

Result<> remove_below(int folder, const char* name, unsigned depth);

Result<> empty_folder(int folder, const char* name, unsigned depth) {
  if (depth == 0) return fail("the archive", "folders within folders without end", "it is damaged or hostile");
  const int fd = ::openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail_errno(fmt::format("cannot remove '{}'", shown(name)));
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(fd), ::closedir);
  if (entries == nullptr) return fail_errno("cannot read a folder");
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view one = entry->d_name;
    if (one != "." && one != "..") names.emplace_back(one);
  }
  for (const std::string& one : names) TRY(remove_below(fd, one.c_str(), depth - 1));
  return {};
}

Result<> remove_below(int folder, const char* name, unsigned depth) {
  if (::unlinkat(folder, name, 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR && errno != EPERM) return fail_errno(fmt::format("cannot remove '{}'", shown(name)));
  TRY(empty_folder(folder, name, depth));
  if (::unlinkat(folder, name, AT_REMOVEDIR) != 0) return fail_errno(fmt::format("cannot remove '{}'", shown(name)));
  return {};
}

}  // namespace

Result<host::Fd> Beneath::open_folder(const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  long fd;
  do fd = ::syscall(SYS_openat2, root_.get(), path.empty() ? "." : path.c_str(), &how, sizeof how);
  while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  if (fd < 0) return fail_errno(fmt::format("entry '{}'", shown(path)), 0, "the archive is damaged or hostile");
  return host::Fd(static_cast<int>(fd));
}

Result<host::Fd> Beneath::make_folders(const std::string& path) {
  auto whole = open_folder(path);
  if (whole || whole.error().code != ENOENT) return whole;
  host::Fd at;
  TRY_ASSIGN(at, open_folder(""));
  for (std::size_t start = 0; start < path.size();) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string name = path.substr(start, end - start);
    if (::mkdirat(at.get(), name.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(fmt::format("cannot make the folder '{}'", shown(path)));
    // A link to nowhere is an error here: nothing is made where an entry does not say so.
    TRY_ASSIGN(at, open_folder(path.substr(0, end)));
    start = end + 1;
  }
  return at;
}

Result<Spot> Beneath::locate(std::string_view path) {
  std::string folder, name;
  unsigned parts = 0;
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest.remove_prefix(slash == std::string_view::npos ? rest.size() : slash + 1);
    if (part.empty() || part == ".") continue;
    const auto bad = [&](const char* why) { return fail(fmt::format("entry '{}'", shown(path)), why, "the archive is damaged or hostile"); };
    if (part == "..") return bad("'..' in its path");
    if (part.size() > longest_name) return bad("a name of more than 255 bytes");
    if (++parts > deepest) return bad("too many folders");
    if (!name.empty()) folder += (folder.empty() ? "" : "/") + name;
    name = part;
  }
  if (name.empty()) return Spot{&root_, {}};
  if (!folder_ || stale_ || folder != folder_path_) {
    TRY_ASSIGN(folder_, make_folders(folder));
    folder_path_ = folder;
    stale_ = false;
  }
  return Spot{&folder_, std::move(name)};
}

Result<> Beneath::clear(const Spot& spot) {
  struct stat info {};
  if (::fstatat(spot.folder->get(), spot.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT) return {};
  stale_ = true;
  return remove_below(spot.folder->get(), spot.name.c_str(), deepest + 1);
}

Result<> Beneath::empty(const Spot& spot) {
  const char* const name = spot.name.empty() ? "." : spot.name.c_str();
  struct stat info {};
  if (::fstatat(spot.folder->get(), name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(info.st_mode)) return {};
  stale_ = true;
  return empty_folder(spot.folder->get(), name, deepest + 1);
}

}  // namespace nagaya::image
