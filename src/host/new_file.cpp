#include "host/new_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>

namespace nagaya::host {

Result<NewFile> NewFile::create(const std::string& path) { return create(AT_FDCWD, path); }

Result<NewFile> NewFile::create(int folder, const std::string& name) {
  std::string temporary = name + fmt::format(".{}.tmp", ::getpid());
  int fd;
  do fd = ::openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) return fail_errno(fmt::format("cannot open '{}'", temporary));
  return NewFile(Fd(fd), folder, name, std::move(temporary));
}

NewFile::NewFile(NewFile&& other) noexcept
    : fd_(std::move(other.fd_)), folder_(other.folder_), name_(std::move(other.name_)), temporary_(std::exchange(other.temporary_, {})) {}

NewFile::~NewFile() {
  if (!temporary_.empty()) ::unlinkat(folder_, temporary_.c_str(), 0);
}

Result<> NewFile::commit() {
  if (::fsync(fd_.get()) != 0 || ::renameat(folder_, temporary_.c_str(), folder_, name_.c_str()) != 0) {
    return fail_errno(fmt::format("cannot write '{}'", name_));
  }
  temporary_.clear();
  return {};
}

void remove_stale_files(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    // NAME.PID.tmp, as above
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".tmp")) continue;
    const std::size_t end = name.size() - 4, begin = name.rfind('.', end - 1);
    int writer = 0;
    if (begin == std::string::npos || std::from_chars(name.data() + begin + 1, name.data() + end, writer).ptr != name.data() + end || writer <= 0) continue;
    if (::kill(writer, 0) != 0 && errno == ESRCH) ::unlink(entry.path().c_str());
  }
}

}  // namespace nagaya::host
