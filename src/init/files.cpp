#include "init/files.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace nagaya::init {

Result<std::string> read_text(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail_errno("cannot open " + path);
  std::string out;
  char buffer[4096];
  ssize_t got = 0;
  while ((got = ::read(fd, buffer, sizeof buffer)) > 0 && out.size() < 1 << 20) out.append(buffer, static_cast<std::size_t>(got));
  const int code = errno;
  ::close(fd);
  if (got < 0) return fail_errno("cannot read " + path, code);
  if (got > 0) return fail("cannot read " + path, "it is larger than 1 MiB");
  return out;
}

Result<> write_text(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return fail_errno("cannot write " + path);
  const bool done = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int code = errno;
  ::close(fd);
  if (!done) return fail_errno("cannot write " + path, code);
  return {};
}

Result<> make_folder(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos; at = at == path.size() ? std::string::npos : at + 1) {
    at = std::min(path.find('/', at), path.size());
    if (::mkdir(path.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST && errno != EROFS) return fail_errno("cannot make folder " + path);
  }
  return {};
}

Result<> mount_at(const std::string& source, const std::string& place, const std::string& type, unsigned long flags, const std::string& data) {
  TRY(make_folder(place));
  if (::mount(source.c_str(), place.c_str(), type.c_str(), flags, data.empty() ? nullptr : data.c_str()) != 0) {
    return fail_errno("cannot mount " + source + " (" + type + ") at " + place);
  }
  return {};
}

}  // namespace nagaya::init
