#include "domain/folder_lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>

#include "proto/device_config.hpp"

namespace nagaya::domain {
namespace {

struct flock whole_file() {
  struct flock out{};
  out.l_type = F_WRLCK;
  out.l_whence = SEEK_SET;
  return out;
}

}  // namespace

Result<host::Fd> lock_folder(const std::string& folder) {
  const std::string path = folder + "/lock";
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  struct flock whole = whole_file();
  if (::fcntl(fd.get(), F_OFD_SETLK, &whole) != 0) return fail_errno(fmt::format("cannot lock '{}'", path), errno == EAGAIN ? EBUSY : errno);
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

Result<> rename_folder(const std::string& from, const std::string& to) {
  const auto name_of = [](const std::string& path) { return path.substr(path.rfind('/') + 1); };
  // The new name is taken first: a rename onto an empty folder is one step.
  if (::mkdir(to.c_str(), 0700) != 0) return fail_errno(fmt::format("cannot take the name '{}'", name_of(to)));
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  const int code = errno;
  ::rmdir(to.c_str());
  return fail_errno(fmt::format("cannot rename '{}'", name_of(from)), code);
}

Result<> make_folders(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail_errno(fmt::format("cannot make the folder '{}'", path), error.value());
  return {};
}

}  // namespace nagaya::domain
