#include "host/fd.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "host/new_file.hpp"

namespace nagaya::host {
namespace {

Result<Fd> checked(int fd, std::string what) {
  if (fd < 0) return fail_errno(std::move(what));
  return Fd(fd);
}

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(fmt::format("socket path '{}'", path), "empty or too long",
                fmt::format("at most {} bytes", sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);  // after EINTR the descriptor is gone, too, on Linux
  fd_ = -1;
}

Result<Fd> Fd::open(const std::string& path, int flags, unsigned mode) {
  int fd;
  do fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  return checked(fd, fmt::format("cannot open '{}'", path));
}

Result<Fd> Fd::eventfd() { return checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "cannot create an eventfd"); }

Result<Fd> Fd::memfd(const char* name, u64 size) {
  TRY_ASSIGN(Fd fd, checked(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), "cannot create a memory file"));
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return fail_errno(fmt::format("cannot size a memory file to {} bytes", size));
  }
  return fd;
}

Result<Fd> Fd::timerfd() {
  return checked(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "cannot create a timerfd");
}

Result<std::pair<Fd, Fd>> Fd::pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("cannot create a pipe");
  return std::pair{Fd(ends[0]), Fd(ends[1])};
}

Result<std::pair<Fd, Fd>> Fd::socketpair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return fail_errno("cannot create sockets");
  return std::pair{Fd(ends[0]), Fd(ends[1])};
}

Result<Fd> Fd::listen_unix(const std::string& path, int type) {
  if (type == 0) type = SOCK_STREAM;
  TRY_ASSIGN(const sockaddr_un address, unix_address(path));
  TRY_ASSIGN(Fd fd, checked(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0), "cannot create a socket"));
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(fd.get(), name, sizeof address) != 0) {
    if (errno != EADDRINUSE) return fail_errno(fmt::format("cannot bind socket '{}'", path));
    // A socket that a killed process left behind refuses connections; a live one, or another kind of file, stays.
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) {
      return fail(fmt::format("cannot bind socket '{}'", path), "a file of that name exists");
    }
    if (auto other = connect_unix(path, type); other || other.error().code != ECONNREFUSED) {
      return fail(fmt::format("cannot bind socket '{}'", path), "another process listens there");
    }
    if (::unlink(path.c_str()) != 0 || ::bind(fd.get(), name, sizeof address) != 0) {
      return fail_errno(fmt::format("cannot bind socket '{}'", path));
    }
  }
  if (::listen(fd.get(), SOMAXCONN) != 0) return fail_errno(fmt::format("cannot listen at '{}'", path));
  return fd;
}

Result<Fd> Fd::connect_unix(const std::string& path, int type) {
  if (type == 0) type = SOCK_STREAM;
  TRY_ASSIGN(const sockaddr_un address, unix_address(path));
  TRY_ASSIGN(Fd fd, checked(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0), "cannot create a socket"));
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail_errno(fmt::format("cannot connect to '{}'", path));
  }
  return fd;
}

Result<Fd> Fd::duplicate(int fd) { return checked(::fcntl(fd, F_DUPFD_CLOEXEC, 0), "cannot duplicate a descriptor"); }

void signal_eventfd(int fd) {
  const u64 one = 1;
  // EAGAIN means the counter is full: signalled already.
  while (::write(fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

u64 drain_eventfd(int fd) {
  u64 count = 0;
  ssize_t got;
  do got = ::read(fd, &count, sizeof count);
  while (got < 0 && errno == EINTR);
  return got == sizeof count ? count : 0;
}

Result<> set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return fail_errno("cannot make a descriptor non-blocking");
  return {};
}

Result<> write_all(int fd, std::span<const u8> data) {
  while (!data.empty()) {
    const ssize_t done = ::write(fd, data.data(), data.size());
    if (done >= 0) {
      data = data.subspan(static_cast<std::size_t>(done));
    } else if (errno == EAGAIN) {
      pollfd wait{fd, POLLOUT, 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return fail_errno("write failed");
    }
  }
  return {};
}

Result<> write_all(int fd, std::string_view text) {
  return write_all(fd, std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
}

Result<std::size_t> read_up_to(int fd, std::span<u8> out) {
  std::size_t total = 0;
  while (total < out.size()) {
    const ssize_t got = ::read(fd, out.data() + total, out.size() - total);
    if (got > 0) {
      total += static_cast<std::size_t>(got);
    } else if (got == 0) {
      break;
    } else if (errno == EAGAIN) {
      pollfd wait{fd, POLLIN, 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return fail_errno("read failed");
    }
  }
  return total;
}

Result<std::vector<u8>> read_all(int fd, u64 limit, const std::string& name) {
  std::vector<u8> out;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
    if (static_cast<u64>(info.st_size) > limit) {
      return fail(fmt::format("cannot read '{}'", name), fmt::format("larger than {} bytes", limit));
    }
    // Files of procfs claim to be empty, and some give their text in one read only.
    constexpr std::size_t page = 4096;
    out.reserve(info.st_size > 0 ? static_cast<std::size_t>(info.st_size) + 1 : page);
  }
  constexpr std::size_t step = 1 * MiB;
  while (true) {
    const std::size_t have = out.size();
    // Grow with what arrives: a file that claims to be huge costs nothing, a file that is cannot pass the limit.
    out.resize(std::max<std::size_t>(std::min<std::size_t>(out.capacity(), have + step), have + 1));
    auto got = read_up_to(fd, std::span(out).subspan(have));
    if (!got) return std::unexpected(std::move(got.error()).within(fmt::format("cannot read '{}'", name)));
    const bool end = *got < out.size() - have;
    out.resize(have + *got);
    if (out.size() > limit) {
      return fail(fmt::format("cannot read '{}'", name), fmt::format("larger than {} bytes", limit));
    }
    if (end) return out;
    if (out.size() == out.capacity()) out.reserve(out.size() + std::max(step, out.size() / 2));
  }
}

Result<std::vector<u8>> read_file(const std::string& path, u64 limit) {
  TRY_ASSIGN(const Fd fd, Fd::open(path, O_RDONLY));
  struct stat info {};
  if (::fstat(fd.get(), &info) == 0 && S_ISDIR(info.st_mode)) return fail_errno(fmt::format("cannot read '{}'", path), EISDIR);
  return read_all(fd.get(), limit, path);
}

Result<> replace_file(const std::string& path, std::span<const u8> content) {
  TRY_ASSIGN(NewFile file, NewFile::create(path));
  if (auto done = write_all(file.fd(), content); !done) {
    return std::unexpected(std::move(done.error()).within(fmt::format("cannot write '{}'", path)));
  }
  return file.commit();
}

Result<> close_all_but(std::vector<int> keep, unsigned first) {
  std::ranges::sort(keep);
  for (const int fd : keep) {
    if (fd < 0 || static_cast<unsigned>(fd) < first) continue;
    const auto number = static_cast<unsigned>(fd);
    if (number > first && ::close_range(first, number - 1, 0) != 0) return fail_errno("cannot close descriptors");
    first = number + 1;
  }
  if (::close_range(first, ~0u, 0) != 0) return fail_errno("cannot close descriptors");
  return {};
}

}  // namespace nagaya::host
