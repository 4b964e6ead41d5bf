#include "image/unpack.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>

#include "image/archive_reader.hpp"
#include "image/beneath.hpp"

namespace nagaya::image {
namespace {

constexpr unsigned entries_between_checks = 256;

bool is_whiteout(const struct stat& info) { return S_ISCHR(info.st_mode) && info.st_rdev == 0; }

class Unpacker {
 public:
  Unpacker(host::Fd root, const UnpackOptions& options) : beneath_(std::move(root)), options_(options) {}

  Result<> take(ArchiveReader& reader, archive_entry* entry) {
    const char* const given = archive_entry_pathname(entry);
    const std::string path = given != nullptr ? given : "";
    if (path.empty()) return fail("an entry", "it has no name");
    if (++entries_ > options_.limits.entries) return fail("the archive", fmt::format("more than {} entries", options_.limits.entries));
    std::string folder, name;
    // Onto lower layers they were obeyed before: see remove_hidden.
    if (options_.whiteouts && whiteout_of(path, folder, name)) return options_.onto_lower ? Result<>{} : hide(path, folder, name);
    if (const char* target = archive_entry_hardlink(entry); target != nullptr) return link(path, target);
    TRY_ASSIGN(const Node node, node_of(entry));
    return put(reader, path, node);
  }
  /// Removes what the entry hides if it is a whiteout. Of all entries this is done first: an archive may name a whiteout after what the
  /// same layer has in its place.
  Result<> remove_hidden(archive_entry* entry) {
    const char* const given = archive_entry_pathname(entry);
    std::string folder, name;
    if (given == nullptr || !whiteout_of(given, folder, name)) return {};
    if (++entries_ > options_.limits.entries) return fail("the archive", fmt::format("more than {} entries", options_.limits.entries));
    const bool all = name == ".wh..opq";
    if (!all && name.starts_with(".wh.")) return {};
    if (name.empty() || name == "." || name == "..") return fail(fmt::format("entry '{}'", std::string_view(given).substr(0, 200)), "it hides what cannot be hidden");
    const auto spot = beneath_.locate(all ? folder : folder + name);
    if (!spot) {
      // Below what is no folder nothing can be hidden; this layer puts a folder there.
      if (spot.error().code == ENOTDIR) return {};
      return std::unexpected(spot.error());
    }
    return all ? beneath_.empty(*spot) : beneath_.clear(*spot);
  }
  /// Folders get their times last: what is put into them changes these.
  Result<> finish() {
    for (auto it = folders_.rbegin(); it != folders_.rend(); ++it) {
      TRY_ASSIGN(const Spot spot, beneath_.locate(it->first));
      struct stat info {};
      const char* const name = spot.name.empty() ? "." : spot.name.c_str();
      if (::fstatat(spot.folder->get(), name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(info.st_mode)) continue;  // replaced since
      TRY(set_time(spot, it->second));
    }
    return {};
  }
  [[nodiscard]] u64 bytes() const { return content_; }

 private:
  /// Only for a node that was made just now, so that the name cannot be a link.
  [[nodiscard]] static std::string handle(const Spot& spot) {
    return fmt::format("/proc/self/fd/{}/{}", spot.folder->get(), spot.name.empty() ? "." : spot.name);
  }
  Result<> hide(const std::string& path, const std::string& folder, const std::string& name) {
    if (name == ".wh..opq") {
      TRY_ASSIGN(Spot spot, beneath_.locate(folder));
      if (!spot.name.empty()) {
        TRY(make_folder(spot));
      }
      return make_opaque(spot);
    }
    if (name.starts_with(".wh.")) return {};  // other marks of aufs are no part of the image
    if (name.empty() || name == "." || name == "..") return fail(fmt::format("entry '{}'", path.substr(0, 200)), "it hides what cannot be hidden");
    TRY_ASSIGN(const Spot spot, beneath_.locate(folder + name));
    struct stat info {};
    if (::fstatat(spot.folder->get(), spot.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      // What this layer itself has stays; of a folder, what is below goes.
      return S_ISDIR(info.st_mode) ? make_opaque(spot) : Result<>{};
    }
    if (::mknodat(spot.folder->get(), spot.name.c_str(), S_IFCHR, 0) != 0) return fail_errno(fmt::format("cannot hide '{}'", spot.name));
    return {};
  }
  Result<> make_opaque(const Spot& spot) {
    const char* const mark = options_.user_namespace ? "user.overlay.opaque" : "trusted.overlay.opaque";
    if (::lsetxattr(handle(spot).c_str(), mark, "y", 1, 0) != 0) return fail_errno("cannot mark a folder as opaque");
    return {};
  }
  /// A folder is there afterwards; what else was there is gone.
  Result<> make_folder(const Spot& spot) {
    struct stat info {};
    const bool there = ::fstatat(spot.folder->get(), spot.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && S_ISDIR(info.st_mode)) return {};
    if (there) TRY(beneath_.clear(spot));
    if (::mkdirat(spot.folder->get(), spot.name.c_str(), 0755) != 0) return fail_errno(fmt::format("cannot make the folder '{}'", spot.name));
    return there && is_whiteout(info) ? make_opaque(spot) : Result<>{};
  }
  Result<> link(const std::string& path, const std::string& target) {
    host::Fd from_folder;
    std::string from_name;
    {
      TRY_ASSIGN(const Spot from, beneath_.locate(target));
      TRY_ASSIGN(from_folder, host::Fd::duplicate(from.folder->get()));
      from_name = from.name;
    }
    if (from_name.empty()) return fail(fmt::format("entry '{}'", path.substr(0, 200)), "a hard link to a folder");
    TRY_ASSIGN(const Spot spot, beneath_.locate(path));
    if (spot.name.empty()) return fail(fmt::format("entry '{}'", path.substr(0, 200)), "the root must be a folder");
    struct stat from_info {}, info {};
    if (::fstatat(from_folder.get(), from_name.c_str(), &from_info, AT_SYMLINK_NOFOLLOW) != 0 || is_whiteout(from_info)) {
      return fail(fmt::format("entry '{}'", path.substr(0, 200)), fmt::format("a hard link to '{}', which is not there", target.substr(0, 200)),
                  "the archive is damaged or hostile");
    }
    if (::fstatat(spot.folder->get(), spot.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      if (info.st_ino == from_info.st_ino && info.st_dev == from_info.st_dev) return {};
      TRY(beneath_.clear(spot));
    }
    if (::linkat(from_folder.get(), from_name.c_str(), spot.folder->get(), spot.name.c_str(), 0) != 0) {
      return fail_errno(fmt::format("entry '{}'", path.substr(0, 200)), 0, "the archive is damaged or hostile");
    }
    return {};
  }
  Result<> put(ArchiveReader& reader, const std::string& path, const Node& node) {
    TRY_ASSIGN(const Spot spot, beneath_.locate(path));
    if (node.type == NodeType::directory) {
      if (!spot.name.empty()) TRY(make_folder(spot));
      folders_.emplace_back(path, node.mtime);
      return describe(spot, node);
    }
    if (spot.name.empty()) return fail(fmt::format("entry '{}'", path.substr(0, 200)), "the root must be a folder");
    TRY(beneath_.clear(spot));
    const int folder = spot.folder->get();
    const char* const name = spot.name.c_str();
    int made = 0;
    switch (node.type) {
      case NodeType::file: TRY(write_file(reader, spot, node)); break;
      case NodeType::symlink: made = ::symlinkat(node.target.c_str(), folder, name); break;
      case NodeType::fifo: made = ::mknodat(folder, name, S_IFIFO | 0600, 0); break;
      case NodeType::socket: made = ::mknodat(folder, name, S_IFSOCK | 0600, 0); break;
      default:
        // A device with the numbers of a whiteout would be one.
        if (options_.user_namespace || (node.major == 0 && node.minor == 0)) return {};
        made = ::mknodat(folder, name, (node.type == NodeType::char_device ? S_IFCHR : S_IFBLK) | 0600, makedev(node.major, node.minor));
    }
    if (made != 0) return fail_errno(fmt::format("cannot make '{}'", path.substr(0, 200)));
    TRY(describe(spot, node));
    return set_time(spot, node.mtime);
  }
  Result<> write_file(ArchiveReader& reader, const Spot& spot, const Node& node) {
    if (node.size > options_.limits.content - content_) return fail("the archive", fmt::format("more than {} GiB of content", options_.limits.content / GiB));
    content_ += node.size;
    const host::Fd file(::openat(spot.folder->get(), spot.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) return fail_errno(fmt::format("cannot make '{}'", spot.name));
    u64 end = 0;
    TRY(reader.content([&](u64 offset, std::span<const u8> data) -> Result<> {
      if (offset > node.size) return {};
      data = data.first(std::min<u64>(data.size(), node.size - offset));
      if (offset != end && ::lseek(file.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return fail_errno("cannot write a file");
      end = offset + data.size();
      return host::write_all(file.get(), data);
    }));
    if (end != node.size && ::ftruncate(file.get(), static_cast<off_t>(node.size)) != 0) return fail_errno("cannot write a file");
    return {};
  }
  /// Owner, mode and attributes, in this order: a change of owner takes set-id bits and capabilities away.
  Result<> describe(const Spot& spot, const Node& node) {
    const std::string path = handle(spot);
    const bool root = spot.name.empty();
    const char* const name = spot.name.c_str();
    if (::fchownat(spot.folder->get(), name, node.uid, node.gid, root ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW) != 0) {
      return fail_errno(fmt::format("cannot give '{}' to user {}, group {}", spot.name, node.uid, node.gid), 0,
                        options_.user_namespace ? "this user needs more subordinate ids in /etc/subuid and /etc/subgid" : "");
    }
    if (node.type != NodeType::symlink && ::chmod(path.c_str(), node.mode) != 0) return fail_errno(fmt::format("cannot set the mode of '{}'", spot.name));
    for (const auto& [key, value] : node.xattrs) {
      // These are overlayfs' own language, or the business of this host's kernel.
      if (key.starts_with("trusted.") || key.starts_with("user.overlay.")) continue;
      if (::lsetxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) == 0) continue;
      if (errno != ENOTSUP && errno != EPERM) return fail_errno(fmt::format("cannot set attribute '{}' of '{}'", key.substr(0, 100), spot.name));
    }
    return {};
  }
  static Result<> set_time(const Spot& spot, i64 seconds) {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    if (::utimensat(AT_FDCWD, handle(spot).c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("cannot set a file's time");
    return {};
  }

  Beneath beneath_;
  const UnpackOptions& options_;
  u64 entries_ = 0, content_ = 0;
  std::vector<std::pair<std::string, i64>> folders_;
};

Result<> each_entry(const std::string& archive, const Work& work, const std::function<Result<>(ArchiveReader&, archive_entry*)>& take) {
  ArchiveReader reader(archive);
  TRY(reader.open());
  for (;;) {
    if (reader.index() % entries_between_checks == 0) TRY(work.check());
    TRY_ASSIGN(archive_entry* entry, reader.next());
    if (entry == nullptr) return {};
    if (auto done = take(reader, entry); !done) return std::unexpected(std::move(done.error()).within(fmt::format("archive '{}'", archive)));
  }
}

}  // namespace

Result<u64> unpack_layer(const std::string& archive, const std::string& folder, const UnpackOptions& options, const Work& work) {
  if (options.onto_lower && options.whiteouts) {
    TRY_ASSIGN(host::Fd root, host::Fd::open(folder, O_RDONLY | O_DIRECTORY));
    Unpacker lower(std::move(root), options);
    TRY(each_entry(archive, work, [&](ArchiveReader&, archive_entry* entry) { return lower.remove_hidden(entry); }));
  }
  TRY_ASSIGN(host::Fd root, host::Fd::open(folder, O_RDONLY | O_DIRECTORY));
  Unpacker unpacker(std::move(root), options);
  TRY(each_entry(archive, work, [&](ArchiveReader& reader, archive_entry* entry) { return unpacker.take(reader, entry); }));
  TRY(unpacker.finish());
  return unpacker.bytes();
}

}  // namespace nagaya::image
