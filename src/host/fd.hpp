// A unique owner of a file descriptor, with named factories. All descriptors are close-on-exec.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::host {

class Fd {
 public:
  Fd() = default;
  /// Takes ownership of `fd`.
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  /// open(2) with O_CLOEXEC added; the error names the path.
  static Result<Fd> open(const std::string& path, int flags, unsigned mode = 0644);
  /// Non-blocking counter, starts at 0.
  static Result<Fd> eventfd();
  /// Anonymous memory file of `size` bytes, sealable.
  static Result<Fd> memfd(const char* name, u64 size);
  /// Non-blocking timer on CLOCK_MONOTONIC.
  static Result<Fd> timerfd();
  /// {read end, write end}.
  static Result<std::pair<Fd, Fd>> pipe();
  /// Connected AF_UNIX stream sockets.
  static Result<std::pair<Fd, Fd>> socketpair();
  /// Listening AF_UNIX socket at `path` (an existing socket there that nobody answers is replaced). `type` is SOCK_STREAM
  /// unless given.
  static Result<Fd> listen_unix(const std::string& path, int type = 0);
  static Result<Fd> connect_unix(const std::string& path, int type = 0);
  /// A new descriptor for the same open file (dup).
  static Result<Fd> duplicate(int fd);

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

/// Adds one to an eventfd. Async-signal-safe; never blocks.
void signal_eventfd(int fd);
/// Takes the counter of an eventfd (0 when it was not signalled).
u64 drain_eventfd(int fd);
/// Sets O_NONBLOCK. It belongs to the open file: a shared terminal keeps it after we exit, so not for inherited ones.
Result<> set_nonblocking(int fd);

/// Writes all bytes; EINTR and short writes are dealt with, a full non-blocking descriptor is waited for.
Result<> write_all(int fd, std::span<const u8> data);
Result<> write_all(int fd, std::string_view text);
/// Reads up to out.size() bytes until end of file; returns the count.
Result<std::size_t> read_up_to(int fd, std::span<u8> out);
/// Closes all descriptors of the process from `first` on but these; negative ones do not count.
Result<> close_all_but(std::vector<int> keep, unsigned first);
/// Reads a whole file of at most `limit` bytes; the error names the path.
Result<std::vector<u8>> read_file(const std::string& path, u64 limit);
/// The same from a descriptor (a pipe, too) until end of file.
Result<std::vector<u8>> read_all(int fd, u64 limit, const std::string& name);
/// Replaces a file's content as one step: temporary file beside it, fsync, rename.
Result<> replace_file(const std::string& path, std::span<const u8> content);

}  // namespace nagaya::host
