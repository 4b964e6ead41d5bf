#include "host/own_process.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include "host/fd.hpp"

namespace nagaya::host {
namespace {

constexpr std::size_t longest_error = 64 * 1024;

/// Each part ends with a zero byte; nothing at all: it went well.
std::string write_error(const Error& error) {
  std::string out;
  for (const std::string& part : {std::to_string(error.code), error.what, error.why, error.hint}) out += part + '\0';
  return out;
}

Error read_error(std::string_view text) {
  std::array<std::string, 4> parts;
  for (std::string& part : parts) {
    const std::size_t end = text.find('\0');
    part = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  Error out{parts[1], parts[2], parts[3], 0};
  std::from_chars(parts[0].data(), parts[0].data() + parts[0].size(), out.code);
  return out;
}

}  // namespace

Result<> in_own_process(const std::function<Result<>()>& work) {
  TRY_ASSIGN(auto pipe, Fd::pipe());
  // What was printed so far must not be printed by both.
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("cannot start a process");
  if (child == 0) {
    pipe.first.reset();
    const Result<> done = work();
    if (!done) (void)write_all(pipe.second.get(), write_error(done.error()));
    std::fflush(nullptr);
    ::_exit(done ? 0 : 1);
  }
  pipe.second.reset();
  const auto said = read_all(pipe.first.get(), longest_error, "a process of ours");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (!said || said->empty()) return fail("a process of ours ended early");
  return std::unexpected(read_error({reinterpret_cast<const char*>(said->data()), said->size()}));
}

}  // namespace nagaya::host
