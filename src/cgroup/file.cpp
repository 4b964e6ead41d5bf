#include "cgroup/file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace nagaya::cgroup {
namespace {

constexpr std::size_t text_limit = 16u << 20;

std::string join(const std::string& folder, std::string_view file) {
  std::string path;
  path.reserve(folder.size() + 1 + file.size());
  path.append(folder).append("/").append(file);
  return path;
}

int open_file(const std::string& path, int flags) {
  int fd;
  do fd = ::open(path.c_str(), flags | O_CLOEXEC);
  while (fd < 0 && errno == EINTR);
  return fd;
}

}  // namespace

host::Fd open_for_writing(const std::string& folder, std::string_view file) {
  return host::Fd(open_file(join(folder, file), O_WRONLY));
}

int put_open(int fd, std::string_view value) {
  ssize_t done;
  do done = ::write(fd, value.data(), value.size());
  while (done < 0 && errno == EINTR);
  // A value that the kernel takes in part only is one it does not understand.
  return done < 0 ? errno : static_cast<std::size_t>(done) == value.size() ? 0 : EINVAL;
}

int put(const std::string& folder, std::string_view file, std::string_view value) {
  const host::Fd fd = open_for_writing(folder, file);
  return fd ? put_open(fd.get(), value) : errno;
}

Result<std::string> get(const std::string& folder, std::string_view file) {
  const std::string path = join(folder, file);
  const int fd = open_file(path, O_RDONLY);
  if (fd < 0) return fail_errno("cannot open '" + path + "'");
  std::string text;
  char buffer[4096];
  int code = 0;
  while (true) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) code = errno;
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > text_limit) code = EFBIG;
    if (code != 0) break;
  }
  ::close(fd);
  if (code != 0) return fail_errno("cannot read '" + path + "'", code);
  return text;
}

Result<u64> get_number(const std::string& folder, std::string_view file) {
  TRY_ASSIGN(const std::string text, get(folder, file));
  std::string_view rest = text;
  return number(take_word(rest, '\n'));
}

std::string_view take_word(std::string_view& text, char separator) {
  while (!text.empty() && text.front() == separator) text.remove_prefix(1);
  const auto end = text.find(separator);
  const auto word = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  return word;
}

u64 number(std::string_view text) {
  u64 value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc{} ? value : ~u64{0};
}

}  // namespace nagaya::cgroup
