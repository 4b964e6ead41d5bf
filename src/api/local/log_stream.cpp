#include "api/local/log_stream.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "host/thread.hpp"

namespace nagaya::api {

Result<u64> tail_offset(int file, u64 lines) {
  struct stat about {};
  if (::fstat(file, &about) != 0) return fail_errno("cannot read the log");
  u64 at = static_cast<u64>(about.st_size);
  if (lines == 0) return at;
  const u64 size = at;
  std::array<char, 64 * KiB> bytes;
  u64 seen = 0;
  while (at > 0) {
    const std::size_t piece = static_cast<std::size_t>(std::min<u64>(at, bytes.size()));
    const ssize_t got = ::pread(file, bytes.data(), piece, static_cast<off_t>(at - piece));
    if (got != static_cast<ssize_t>(piece)) return fail_errno("cannot read the log", got < 0 ? errno : EIO);
    for (std::size_t i = piece; i > 0; i--) {
      // The last line's own end does not count.
      if (bytes[i - 1] == '\n' && at - piece + i != size && ++seen == lines) return at - piece + i;
    }
    at -= piece;
  }
  return 0;
}

Result<ByteStream> stream_log(const std::string& path, const LogOptions& options, std::function<bool()> lives) {
  auto opened = host::Fd::open(path, O_RDONLY | O_NOFOLLOW);
  if (!opened) return std::unexpected(Error{"there is no log", "it has not been started in the background yet", {}, ENOENT});
  u64 begin = 0;
  if (options.tail) {
    TRY_ASSIGN(begin, tail_offset(opened->get(), *options.tail));
  }
  if (::lseek(opened->get(), static_cast<off_t>(begin), SEEK_SET) < 0) return fail_errno("cannot read the log");
  TRY_ASSIGN(auto pipe, host::Fd::pipe());
  // The thread ends when the reader closes its end, or with the log; nobody waits for it.
  host::start_thread("log", [file = std::make_shared<host::Fd>(std::move(*opened)), sink = std::make_shared<host::Fd>(std::move(pipe.second)),
                             follow = options.follow, lives = std::move(lives)] {
    std::array<u8, 64 * KiB> bytes;
    for (;;) {
      const bool more = follow && lives();
      const auto got = host::read_up_to(file->get(), bytes);
      if (!got || (*got != 0 && !host::write_all(sink->get(), std::span(bytes).first(*got)))) return;
      if (*got == bytes.size()) continue;
      if (!more) return;
      pollfd reader{sink->get(), 0, 0};
      if (::poll(&reader, 1, 200) > 0) return;
    }
  }).detach();
  return ByteStream{.bytes = std::move(pipe.first)};
}

}  // namespace nagaya::api
