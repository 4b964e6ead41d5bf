#include "devices/char_backend.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "devices/stream_backend.hpp"

namespace nagaya::devices {
namespace {

class NullBackend final : public CharBackend {
 public:
  std::size_t write(std::span<const u8> data) override { return data.size(); }
  void attach(CharReceiver*) override {}
  void input_room() override {}
  void drain(unsigned) override {}
  std::string where() const override { return {}; }
};

/// Another open file of the same terminal or pipe, which can be non-blocking without the programs that share the first
/// noticing. Where that cannot be had, the descriptor itself.
host::Fd private_open(host::Fd fd, int mode) {
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return fd;
  // Opening a terminal multiplexer again makes another terminal.
  if (!S_ISFIFO(info.st_mode) && (!S_ISCHR(info.st_mode) || info.st_rdev == makedev(5, 2))) return fd;
  const int again = ::open(fmt::format("/proc/self/fd/{}", fd.get()).c_str(), mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return again >= 0 ? host::Fd(again) : std::move(fd);
}

/// A FIFO opened both ways: does not wait for the other end and lives through its coming and going.
Result<host::Fd> open_fifo(const std::string& path) {
  TRY_ASSIGN(host::Fd fd, host::Fd::open(path, O_RDWR | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(fmt::format("cannot use pipe '{}'", path));
  if (!S_ISFIFO(info.st_mode)) return fail(fmt::format("cannot use pipe '{}'", path), "it is not a pipe", "make one with mkfifo");
  return fd;
}

}  // namespace

std::unique_ptr<CharBackend> null_backend() { return std::make_unique<NullBackend>(); }

Result<std::unique_ptr<CharBackend>> fd_backend(host::EventLoop& loop, host::Fd in, host::Fd out) {
  TRY_ASSIGN(auto stream, StreamBackend::create(loop, StreamBackend::WhenFull::push_back));
  TRY(stream->connect(private_open(std::move(in), O_RDONLY), private_open(std::move(out), O_WRONLY)));
  return stream;
}

Result<std::unique_ptr<CharBackend>> stdio_backend(host::EventLoop& loop) {
  TRY_ASSIGN(host::Fd in, host::Fd::duplicate(STDIN_FILENO));
  TRY_ASSIGN(host::Fd out, host::Fd::duplicate(STDOUT_FILENO));
  return fd_backend(loop, std::move(in), std::move(out));
}

Result<std::unique_ptr<CharBackend>> file_backend(host::EventLoop& loop, const std::string& path) {
  TRY_ASSIGN(host::Fd out, host::Fd::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY));
  TRY_ASSIGN(auto stream, StreamBackend::create(loop, StreamBackend::WhenFull::push_back, path));
  TRY(stream->connect({}, std::move(out)));
  return stream;
}

Result<std::unique_ptr<CharBackend>> pipe_backend(host::EventLoop& loop, const std::string& path) {
  const bool pair = ::access((path + ".out").c_str(), F_OK) == 0;
  TRY_ASSIGN(host::Fd out, open_fifo(pair ? path + ".out" : path));
  host::Fd in;
  if (pair) {
    TRY_ASSIGN(in, open_fifo(path + ".in"));
  }
  TRY_ASSIGN(auto stream, StreamBackend::create(loop, StreamBackend::WhenFull::push_back, path));
  TRY(stream->connect(std::move(in), std::move(out)));
  return stream;
}

namespace {

/// A pseudo-terminal whose slave stays open, so that the master sees no hang-ups between its readers.
class PtyBackend final : public CharBackend {
 public:
  PtyBackend(std::unique_ptr<StreamBackend> stream, host::Fd slave) : slave_(std::move(slave)), stream_(std::move(stream)) {}
  std::size_t write(std::span<const u8> data) override { return stream_->write(data); }
  void attach(CharReceiver* receiver) override { stream_->attach(receiver); }
  void input_room() override { stream_->input_room(); }
  void drain(unsigned) override {}  // leaves no later than its reader reads, and none may ever come
  std::string where() const override { return stream_->where(); }

 private:
  host::Fd slave_;
  std::unique_ptr<StreamBackend> stream_;
};

}  // namespace

Result<std::unique_ptr<CharBackend>> pty_backend(host::EventLoop& loop) {
  const std::string what = "cannot make a pseudo-terminal";
  host::Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!master || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0) return fail_errno(what);
  std::array<char, 128> name{};
  if (const int error = ::ptsname_r(master.get(), name.data(), name.size())) return fail_errno(what, error);
  TRY_ASSIGN(host::Fd slave, host::Fd::open(name.data(), O_RDWR | O_NOCTTY));
  termios mode{};
  if (::tcgetattr(slave.get(), &mode) != 0) return fail_errno(what);
  ::cfmakeraw(&mode);
  if (::tcsetattr(slave.get(), TCSANOW, &mode) != 0) return fail_errno(what);
  TRY_ASSIGN(auto stream, StreamBackend::create(loop, StreamBackend::WhenFull::drop, name.data()));
  TRY(stream->connect_both(std::move(master)));
  return std::make_unique<PtyBackend>(std::move(stream), std::move(slave));
}

Result<std::unique_ptr<CharBackend>> open_char_backend(host::EventLoop& loop, std::string_view description) {
  const auto colon = description.find(':');
  const std::string_view kind = description.substr(0, colon);
  const bool has_path = colon != std::string_view::npos;
  const std::string path(has_path ? description.substr(colon + 1) : "");
  const std::string what = fmt::format("cannot use '{}' as a serial port's other end", description);
  if (path.find('\0') != std::string::npos) return fail(what, "the path holds a zero byte");
  if (!has_path) {
    if (kind == "null") return null_backend();
    if (kind == "stdio") return stdio_backend(loop);
    if (kind == "pty") return pty_backend(loop);
  } else if (kind == "file" || kind == "pipe" || kind == "unix") {
    if (path.empty()) return fail(what, "the path is missing");
    if (kind == "file") return file_backend(loop, path);
    if (kind == "pipe") return pipe_backend(loop, path);
    return socket_backend(loop, path);
  }
  return fail(what, "no such kind", "stdio, null, pty, file:PATH, pipe:PATH or unix:PATH");
}

}  // namespace nagaya::devices
