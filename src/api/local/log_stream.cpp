#include "api/local/log_stream.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "domain/machine_console.hpp"
#include "host/thread.hpp"

namespace nagaya::api {

Result<ByteStream> stream_log(const std::string& path, const LogOptions& options, std::function<bool()> lives) {
  auto opened = host::Fd::open(path, O_RDONLY | O_NOFOLLOW);
  if (!opened) return std::unexpected(Error{"there is no log", "it has not been started in the background yet", {}, ENOENT});
  u64 begin = 0;
  if (options.tail) {
    TRY_ASSIGN(begin, domain::tail_offset(opened->get(), *options.tail));
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
