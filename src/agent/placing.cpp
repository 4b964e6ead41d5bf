#include "agent/placing.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace nagaya::agent {
namespace {

/// Folders whose times wait for the end; each costs memory.
constexpr std::size_t most_folders = 1 << 20;

host::Fd open_beneath(int root, const std::string& path, u64 flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return host::Fd(static_cast<int>(::syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof how)));
}

std::array<timespec, 2> times_of(const Entry& entry) {
  const timespec time{static_cast<time_t>(entry.seconds), static_cast<long>(entry.nanoseconds)};
  return {time, time};
}

struct Place {
  std::string folder, base;
};

Result<Place> place_of(const std::string& path, const std::string& name) {
  struct stat info {};
  if (path.empty()) return fail("no place is named");
  const bool there = ::stat(path.c_str(), &info) == 0;
  if (there && S_ISDIR(info.st_mode)) return Place{path, name};
  if ((there && name.empty()) || path.ends_with('/')) {
    return fail_errno("cannot write into '" + path + "'", there ? ENOTDIR : ENOENT);
  }
  const std::size_t slash = path.rfind('/');
  const std::string base = slash == std::string::npos ? path : path.substr(slash + 1);
  if (!safe_path(base)) return fail("cannot write to '" + path + "'");
  return Place{slash == std::string::npos ? "." : path.substr(0, slash + 1), base};
}

}  // namespace

Result<Placing> Placing::at(const std::string& path, const std::string& name) {
  TRY_ASSIGN(const Place place, place_of(path, name));
  host::Fd root(::open(place.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return fail_errno("cannot write into '" + place.folder + "'");
  return Placing(std::move(root), place.base);
}

// Copies may run side by side.
Placing::Placing(host::Fd root, std::string base)
    : root_(std::move(root)), base_(std::move(base)), temporary_(".nagaya-cp." + std::to_string(::getpid())) {}

Placing::~Placing() {
  if (file_) ::unlinkat(parent_.get(), temporary_.c_str(), 0);
}

Result<> Placing::begin(const Entry& entry) {
  if (left_ != 0) return fail("a file that is cut off");
  path_ = base_.empty() || entry.path.empty() ? base_ + entry.path : base_ + "/" + entry.path;
  entry_ = entry;
  if (path_.empty()) {
    if (entry.type == Entry::Type::folder) return {};  // the place itself, which is there
    return fail("an entry without a name");
  }
  const std::size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : path_.substr(0, slash);
  name_ = slash == std::string::npos ? path_ : path_.substr(slash + 1);
  TRY_ASSIGN(parent_, folder_at(folder));
  switch (entry.type) {
    case Entry::Type::folder: return make_folder();
    case Entry::Type::link: return make_link();
    case Entry::Type::file: break;
  }
  ::unlinkat(parent_.get(), temporary_.c_str(), 0);
  file_ = host::Fd(::openat(parent_.get(), temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file_) return fail_errno(what());
  left_ = entry.size;
  return left_ == 0 ? finish_file() : Result<>{};
}

Result<> Placing::content(std::span<const u8> bytes) {
  if (!file_ || bytes.size() > left_) return fail("content that belongs to no file");
  if (auto done = host::write_all(file_.get(), bytes); !done) return fail_errno(what(), done.error().code);
  left_ -= bytes.size();
  return left_ == 0 ? finish_file() : Result<>{};
}

Result<> Placing::finish() {
  if (left_ != 0) return fail("a file that is cut off");
  // From the last to the first: what is inside a folder changes its time.
  for (auto at = folders_.rbegin(); at != folders_.rend(); ++at) {
    const host::Fd folder = open_beneath(root_.get(), at->path, O_RDONLY | O_DIRECTORY);
    if (!folder) continue;
    ::fchmod(folder.get(), at->entry.mode);
    const auto times = times_of(at->entry);
    ::futimens(folder.get(), times.data());
  }
  return {};
}

Result<host::Fd> Placing::folder_at(const std::string& path) {
  host::Fd fd = open_beneath(root_.get(), path, O_RDONLY | O_DIRECTORY);
  if (fd) return fd;
  if (errno != ENOENT) return fail_errno(what());
  for (std::size_t at = path.find('/');; at = path.find('/', at + 1)) {
    const std::string part = path.substr(0, at);
    const std::size_t slash = part.rfind('/');
    const host::Fd above = open_beneath(root_.get(), slash == std::string::npos ? "" : part.substr(0, slash), O_RDONLY | O_DIRECTORY);
    if (!above) return fail_errno(what());
    if (::mkdirat(above.get(), part.substr(slash == std::string::npos ? 0 : slash + 1).c_str(), 0755) != 0 && errno != EEXIST) {
      return fail_errno(what());
    }
    if (at == std::string::npos) break;
  }
  fd = open_beneath(root_.get(), path, O_RDONLY | O_DIRECTORY);
  if (!fd) return fail_errno(what());
  return fd;
}

Result<> Placing::make_folder() {
  if (folders_.size() >= most_folders) return fail(what(), "too many folders");
  if (::mkdirat(parent_.get(), name_.c_str(), 0700) == 0) {
    folders_.push_back({path_, entry_});
    return {};
  }
  struct stat info {};
  const int code = errno;
  if (code == EEXIST && ::fstatat(parent_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) return {};
  return fail_errno(what(), code);
}

Result<> Placing::make_link() {
  ::unlinkat(parent_.get(), temporary_.c_str(), 0);
  if (::symlinkat(entry_.target.c_str(), parent_.get(), temporary_.c_str()) != 0) return fail_errno(what());
  const auto times = times_of(entry_);
  ::utimensat(parent_.get(), temporary_.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
  return take_place();
}

Result<> Placing::finish_file() {
  ::fchmod(file_.get(), entry_.mode);
  const auto times = times_of(entry_);
  ::futimens(file_.get(), times.data());
  file_.reset();
  return take_place();
}

Result<> Placing::take_place() {
  if (::renameat(parent_.get(), temporary_.c_str(), parent_.get(), name_.c_str()) == 0) return {};
  const int code = errno;
  ::unlinkat(parent_.get(), temporary_.c_str(), 0);
  return fail_errno(what(), code);
}

}  // namespace nagaya::agent
