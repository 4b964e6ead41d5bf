#include "domain/folder_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>

#include "base/scope.hpp"
#include "domain/user_space.hpp"
#include "proto/device_config.hpp"

namespace nagaya::domain {
namespace {

namespace fs = std::filesystem;

// Names that no domain can have.
constexpr std::string_view coming = ".new", going = ".removed";

struct flock whole_file() {
  struct flock out{};
  out.l_type = F_WRLCK;
  out.l_whence = SEEK_SET;
  return out;
}

/// The open file is the one that has the name now, not that of a folder which was removed meanwhile.
bool still_there(const host::Fd& fd, const std::string& path) {
  struct stat mine {}, there {};
  return ::fstat(fd.get(), &mine) == 0 && ::lstat(path.c_str(), &there) == 0 && mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

/// Others than root remove what is not their own from where all owners of its files are theirs.
Result<> remove_all_of(const std::string& folder) {
  std::error_code own;
  fs::remove_all(folder, own);
  if (!own) return {};
  return in_user_namespace([&]() -> Result<> {
    std::error_code error;
    fs::remove_all(folder, error);
    // Another command may sweep the same away.
    if (error && fs::exists(folder, error)) return fail_errno(fmt::format("cannot remove '{}'", folder), error.value());
    return {};
  });
}

bool aside_name(const std::string& name) { return name.starts_with('.') && (name.ends_with(coming) || name.ends_with(going)); }

/// With the lock of `domains` held: who makes or removes a folder there holds that one's lock until it has its name.
void sweep(const std::string& domains) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(domains, error)) {
    const std::string name = entry.path().filename().string();
    if (aside_name(name) && !folder_locked(entry.path().string())) (void)remove_all_of(entry.path().string());
  }
}

/// Of all who make domains: held for moments only, never while one is filled. `how`: LOCK_EX, or with LOCK_NB.
Result<host::Fd> lock_domains(const std::string& domains, int how = LOCK_EX) {
  TRY(make_folders(domains));
  const std::string path = domains + "/.lock";
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  while (::flock(fd.get(), how) != 0) {
    if (errno != EINTR) return fail_errno(fmt::format("cannot lock '{}'", path));
  }
  return fd;
}

}  // namespace

Result<host::Fd> lock_folder(const std::string& folder) {
  const std::string path = folder + "/lock";
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct flock whole = whole_file();
  if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) return fail_errno(fmt::format("cannot lock '{}'", path), errno == EAGAIN ? EBUSY : errno);
  if (!still_there(fd, path)) return fail_errno(fmt::format("'{}' was removed or renamed meanwhile", folder.substr(folder.rfind('/') + 1)), ENOENT);
  return fd;
}

bool folder_locked(const std::string& folder) {
  auto fd = host::Fd::open(folder + "/lock", O_RDONLY | O_NOFOLLOW);
  struct flock whole = whole_file();
  return fd && ::fcntl(fd->get(), F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
}

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string fresh_name_in(const std::string& folder, const std::string& image, const char* otherwise) {
  std::string stem;
  for (const char c : image.substr(image.rfind('/') + 1)) {
    if (c == ':' || c == '@' || stem.size() == 32) break;
    if (proto::plain_name("x" + std::string(1, c))) stem += c;
  }
  if (stem.empty() || !proto::plain_name(stem)) stem = otherwise;
  for (;;) {
    u32 number = 0;
    (void)!::getrandom(&number, sizeof number, 0);
    std::string name = fmt::format("{}-{:04x}", stem, number & 0xffff);
    if (::access((folder + "/" + name).c_str(), F_OK) != 0) return name;
  }
}

Result<> make_domain_folder(const std::string& domains, const std::string& name, const std::function<Result<>(const std::string& folder)>& fill) {
  const std::string folder = fmt::format("{}/{}", domains, name), aside = fmt::format("{}/.{}{}", domains, name, coming);
  const auto taken = [&] {
    return std::unexpected(Error{fmt::format("'{}' exists", name), {}, fmt::format("'nagaya start {0}' starts it, 'nagaya rm {0}' removes it", name), EEXIST});
  };
  std::error_code error;
  // Filling it takes time, and is nobody else's matter: its own lock says that its maker lives.
  host::Fd mine;
  {
    TRY_ASSIGN(const host::Fd held, lock_domains(domains));
    sweep(domains);
    // An empty folder is none of a domain: rename(2) puts ours in its place.
    if (fs::exists(folder, error) && !fs::is_empty(folder, error)) return taken();
    if (::mkdir(aside.c_str(), 0700) != 0) {
      if (errno == EEXIST) return taken();  // another command is just making it
      return fail_errno(fmt::format("cannot make the folder '{}'", aside));
    }
    TRY_ASSIGN(mine, lock_folder(aside));
  }
  ScopeExit undo([&] { fs::remove_all(aside, error); });
  TRY(fill(aside));
  // Its own lock goes first, so that nobody takes the new domain for one that runs; nobody sweeps meanwhile.
  {
    TRY_ASSIGN(const host::Fd held, lock_domains(domains));
    mine.reset();
    if (::rename(aside.c_str(), folder.c_str()) != 0) {
      if (errno == EEXIST || errno == ENOTEMPTY) return taken();
      return fail_errno(fmt::format("cannot make the folder '{}'", folder));
    }
  }
  undo.release();
  return {};
}

void sweep_domains(const std::string& domains) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(domains, error)) {
    if (!aside_name(entry.path().filename().string()) || folder_locked(entry.path().string())) continue;
    if (auto held = lock_domains(domains, LOCK_EX | LOCK_NB)) sweep(domains);  // else whoever has it sweeps
    return;
  }
}

Result<> remove_domain_folder(const std::string& domains, const std::string& name) {
  u32 number = 0;
  (void)!::getrandom(&number, sizeof number, 0);
  // One of that name may be made and removed again while this one's files go.
  const std::string gone = fmt::format("{}/.{}-{:08x}{}", domains, name, number, going);
  if (::rename((domains + "/" + name).c_str(), gone.c_str()) != 0) return fail_errno(fmt::format("cannot remove '{}'", name));
  TRY(remove_all_of(gone));
  if (const auto held = lock_domains(domains)) sweep(domains);
  return {};
}

Result<> rename_folder(const std::string& from, const std::string& to) {
  const auto name_of = [](const std::string& path) { return path.substr(path.rfind('/') + 1); };
  // One step: a folder with files in it is never replaced, an empty one is no domain's.
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  if (errno == EEXIST || errno == ENOTEMPTY) return fail_errno(fmt::format("cannot take the name '{}'", name_of(to)), EEXIST);
  return fail_errno(fmt::format("cannot rename '{}'", name_of(from)));
}

Result<> make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail_errno(fmt::format("cannot make the folder '{}'", path), error.value());
  return {};
}

}  // namespace nagaya::domain
