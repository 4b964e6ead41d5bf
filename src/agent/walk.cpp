#include "agent/walk.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "host/fd.hpp"

namespace nagaya::agent {
namespace {

/// Folders within folders; each holds a descriptor while it is walked.
constexpr unsigned deepest = 128;

class Walk {
 public:
  explicit Walk(const TreeSink& sink) : sink_(sink) {}

  /// `name` in the folder `parent` becomes `path`.
  Result<> send(int parent, const std::string& name, const std::string& path, unsigned depth = 0) {
    struct stat info {};
    if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return skip(path, std::strerror(errno));
    Entry entry{.mode = static_cast<u32>(info.st_mode & 07777),
                .user = info.st_uid,
                .group = info.st_gid,
                .seconds = info.st_mtim.tv_sec,
                .nanoseconds = static_cast<u32>(info.st_mtim.tv_nsec),
                .path = path};
    if (!safe_path(path)) return skip(path, "a name that is too long");
    if (S_ISREG(info.st_mode)) return send_file(parent, name, entry);
    if (S_ISDIR(info.st_mode)) return send_folder(parent, name, entry, depth);
    if (S_ISLNK(info.st_mode)) return send_link(parent, name, entry);
    return skip(path, "neither file, folder nor link");
  }

 private:
  Result<> skip(const std::string& path, const char* why) {
    return sink_(Kind::warning, encode_text("'" + path + "' is left out: " + why));
  }

  Result<> send_file(int parent, const std::string& name, Entry& entry) {
    const host::Fd fd(::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    struct stat info {};
    if (!fd || ::fstat(fd.get(), &info) != 0) return skip(entry.path, std::strerror(errno));
    if (!S_ISREG(info.st_mode)) return skip(entry.path, "it changed under us");
    entry.type = Entry::Type::file;
    entry.size = static_cast<u64>(info.st_size);
    TRY(sink_(Kind::entry, encode(entry)));
    u64 left = entry.size;
    while (left != 0) {
      const auto part = std::span(bytes_).first(std::min<u64>(left, bytes_.size()));
      auto got = host::read_up_to(fd.get(), part);
      if (!got || *got == 0) {
        // The size was told: a file that shrank, or cannot be read further, ends in zeros.
        TRY(sink_(Kind::warning, encode_text("'" + entry.path + "' ends early: the rest is zeros")));
        std::ranges::fill(bytes_, u8{0});
        for (; left != 0; left -= std::min<u64>(left, bytes_.size())) {
          TRY(sink_(Kind::content, std::span(bytes_).first(std::min<u64>(left, bytes_.size()))));
        }
        return {};
      }
      TRY(sink_(Kind::content, part.first(*got)));
      left -= *got;
    }
    return {};
  }

  Result<> send_folder(int parent, const std::string& name, Entry& entry, unsigned depth) {
    if (depth == deepest) return skip(entry.path, "too many folders within each other");
    host::Fd fd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return skip(entry.path, std::strerror(errno));
    entry.type = Entry::Type::folder;
    TRY(sink_(Kind::entry, encode(entry)));
    DIR* listing = ::fdopendir(fd.get());
    if (listing == nullptr) return skip(entry.path, std::strerror(errno));
    (void)fd.release();
    std::vector<std::string> names;
    while (const dirent* item = ::readdir(listing)) {
      if (const std::string_view one = item->d_name; one != "." && one != "..") names.emplace_back(one);
    }
    std::ranges::sort(names);
    Result<> result;
    for (const std::string& item : names) {
      result = send(::dirfd(listing), item, entry.path.empty() ? item : entry.path + "/" + item, depth + 1);
      if (!result) break;
    }
    ::closedir(listing);
    return result;
  }

  Result<> send_link(int parent, const std::string& name, Entry& entry) {
    std::array<char, 4096> target;
    const ssize_t size = ::readlinkat(parent, name.c_str(), target.data(), target.size());
    if (size <= 0 || size == static_cast<ssize_t>(target.size())) return skip(entry.path, "a link that cannot be read");
    entry.type = Entry::Type::link;
    entry.target.assign(target.data(), static_cast<std::size_t>(size));
    return sink_(Kind::entry, encode(entry));
  }

  const TreeSink& sink_;
  std::vector<u8> bytes_ = std::vector<u8>(data_chunk);
};

}  // namespace

Result<TreeRoot> open_tree(const std::string& path) {
  const std::string what = "cannot read '" + path + "'";
  if (path.empty()) return fail("cannot read a file without a name");
  // "folder/" and "folder/." are the folder itself, also where it is a link.
  TreeRoot out;
  std::string parent = path;
  out.name = ".";
  if (!path.ends_with('/') && !path.ends_with("/.") && path != ".") {
    const std::size_t slash = path.rfind('/');
    parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    out.name = slash == std::string::npos ? path : path.substr(slash + 1);
  }
  out.folder = host::Fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info {};
  if (!out.folder || ::fstatat(out.folder.get(), out.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(what);
  return out;
}

Result<> walk_tree(const TreeRoot& root, const TreeSink& sink) {
  Walk walk(sink);
  return walk.send(root.folder.get(), root.name, "");
}

std::string name_in(const std::string& path) {
  std::string rest = path;
  if (rest.ends_with("/.") || rest == ".") return "";
  while (rest.ends_with('/')) rest.pop_back();
  const std::string name = rest.substr(rest.rfind('/') + 1);
  return name == ".." || !safe_path(name) ? "" : name;
}

}  // namespace nagaya::agent
