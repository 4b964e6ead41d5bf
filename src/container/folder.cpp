#include "container/folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "container/id.hpp"

namespace nagaya::container {
namespace {

constexpr int lock_step_ms = 2;

void pause_shortly() {
  const timespec step{0, lock_step_ms * 1'000'000};
  ::nanosleep(&step, nullptr);
}

/// The lock of an open folder, tried for `milliseconds`.
bool lock_within(int fd, int milliseconds) {
  for (int waited = 0;; waited += lock_step_ms) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (waited >= milliseconds) return false;
    pause_shortly();
  }
}

/// The descriptor is of the folder that has the name now, not of one removed meanwhile.
bool still_there(int fd, const std::string& path) {
  struct stat mine{}, there{};
  return ::fstat(fd, &mine) == 0 && ::stat(path.c_str(), &there) == 0 && mine.st_dev == there.st_dev &&
         mine.st_ino == there.st_ino;
}

Result<> make_folders(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  const std::size_t slash = path.rfind('/');
  if (errno != ENOENT || slash == path.npos || slash == 0) return fail_errno("cannot make folder '" + path + "'");
  TRY(make_folders(path.substr(0, slash)));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("cannot make folder '" + path + "'");
  return {};
}

}  // namespace

Result<Folder> Folder::claim(const std::string& root, const std::string& id, bool* leftover) {
  TRY(check_id(id));
  Folder folder;
  folder.root_ = root;
  folder.id_ = id;
  const std::string path = root + "/" + id;
  for (int attempt = 0; attempt < 100; ++attempt) {
    bool made = ::mkdir(path.c_str(), 0700) == 0;
    if (!made && errno == ENOENT) {
      TRY(make_folders(root));
      continue;
    }
    if (!made && errno != EEXIST) return fail_errno("cannot make folder '" + path + "'");
    folder.fd_ = host::Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder.fd_) {
      if (errno == ENOENT) continue;
      return fail_errno("cannot open folder '" + path + "'");
    }
    // A short wait: `state` and `list` hold the lock for an instant when they ask whether a creation is alive.
    if (!lock_within(folder.fd_.get(), 20)) {
      // Or a child of a killed creation, which has the lock until it has died, too.
      const auto record = folder.load();
      if ((record && record->phase == Record::Phase::created) || !lock_within(folder.fd_.get(), 1000)) break;
    }
    if (!still_there(folder.fd_.get(), path)) continue;
    *leftover = false;
    if (made) return folder;
    const auto record = folder.load();
    if (record && record->phase == Record::Phase::created) break;
    *leftover = true;
    return folder;
  }
  return std::unexpected(Error{"container with id '" + id + "' already exists", "", "", EEXIST});
}

Result<Folder> Folder::open(const std::string& root, const std::string& id, bool lock) {
  TRY(check_id(id));
  Folder folder;
  folder.root_ = root;
  folder.id_ = id;
  const std::string path = root + "/" + id;
  for (;;) {
    folder.fd_ = host::Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder.fd_) {
      if (errno == ENOENT || errno == ENOTDIR) {
        return std::unexpected(Error{"container '" + id + "' " + no_such_container, "", "", ENOENT});
      }
      return fail_errno("cannot open folder '" + path + "'");
    }
    if (!lock) return folder;
    if (!lock_within(folder.fd_.get(), 10'000))
      return fail_errno("container '" + id + "' is being changed by another process", EBUSY);
    if (still_there(folder.fd_.get(), path)) return folder;
  }
}

bool Folder::busy() const {
  // Another open file of the same folder: a lock of our own would be no answer.
  const host::Fd other(::open(path(".").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return other && ::flock(other.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

Result<std::string> Folder::read(const char* name) const {
  const host::Fd fd(::openat(fd_.get(), name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return fail_errno("cannot open '" + path(name) + "'");
  struct stat facts{};
  if (::fstat(fd.get(), &facts) != 0) return fail_errno("cannot read '" + path(name) + "'");
  std::string text(static_cast<std::size_t>(facts.st_size), '\0');
  TRY_ASSIGN(const std::size_t count, host::read_up_to(fd.get(), {reinterpret_cast<u8*>(text.data()), text.size()}));
  text.resize(count);
  return text;
}

Result<> Folder::write(const char* name, std::string_view content) const {
  const std::string temporary = std::string(name) + ".new";
  {
    const host::Fd fd(
        ::openat(fd_.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) return fail_errno("cannot make '" + path(name) + "'");
    if (auto done = host::write_all(fd.get(), content); !done)
      return std::unexpected(std::move(done.error()).within("writing '" + path(name) + "'"));
  }
  if (::renameat(fd_.get(), temporary.c_str(), fd_.get(), name) != 0)
    return fail_errno("cannot replace '" + path(name) + "'");
  return {};
}

Result<Record> Folder::load() const {
  TRY_ASSIGN(const std::string text, read("state.json"));
  return parse_record(text);
}

Result<> Folder::save(const Record& record) const { return write("state.json", write_record(record)); }

Result<> Folder::remove() {
  const host::Fd again(::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* list = again ? ::fdopendir(::dup(again.get())) : nullptr;
  if (list == nullptr) return fail_errno("cannot list '" + path("") + "'");
  while (const dirent* entry = ::readdir(list)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != ".." && name != "state.json") ::unlinkat(fd_.get(), entry->d_name, 0);
  }
  ::closedir(list);
  ::unlinkat(fd_.get(), "state.json", 0);
  if (::rmdir((root_ + "/" + id_).c_str()) != 0 && errno != ENOENT)
    return fail_errno("cannot remove '" + path("") + "'");
  fd_.reset();
  return {};
}

}  // namespace nagaya::container
