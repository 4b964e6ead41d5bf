#include "domain/container_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <ctime>
#include <deque>
#include <thread>

namespace nagaya::domain {
namespace {

constexpr std::size_t longest_entry = 16 * KiB;

std::string stamp() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     now.tv_nsec);
}

struct Entry {
  std::string_view time, text;
  Stream stream = Stream::out;
  bool whole = true;
};

/// One line of the file; what is none of ours counts as a whole line of text.
Entry parse_entry(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t second = first == line.npos ? first : line.find(' ', first + 1);
  if (second == line.npos || second + 2 >= line.size() || line[second + 2] != ' ') return {.time = {}, .text = line};
  const std::string_view stream = line.substr(first + 1, second - first - 1);
  return {line.substr(0, first), line.substr(second + 3), stream == "stderr" ? Stream::err : Stream::out, line[second + 1] != 'P'};
}

/// Lines of a file that may grow.
class LineReader {
 public:
  explicit LineReader(host::Fd file) : file_(std::move(file)) {}
  bool next(std::string& line) {
    for (;;) {
      if (const std::size_t end = text_.find('\n', at_); end != text_.npos) {
        line = text_.substr(at_, end - at_);
        at_ = end + 1;
        return true;
      }
      text_.erase(0, at_);
      at_ = 0;
      std::array<char, 65536> buffer;
      const ssize_t got = ::read(file_.get(), buffer.data(), buffer.size());
      if (got <= 0 || text_.size() > 4 * longest_entry + buffer.size()) return false;
      text_.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  [[nodiscard]] ino_t inode() const {
    struct stat info {};
    return ::fstat(file_.get(), &info) == 0 ? info.st_ino : 0;
  }

 private:
  host::Fd file_;
  std::string text_;
  std::size_t at_ = 0;
};

}  // namespace

Result<LogWriter> LogWriter::open(const std::string& path, u64 limit) {
  LogWriter out;
  out.path_ = path;
  out.limit_ = limit;
  TRY_ASSIGN(out.file_, host::Fd::open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600));
  struct stat info {};
  if (::fstat(out.file_.get(), &info) == 0) out.size_ = static_cast<u64>(info.st_size);
  return out;
}

void LogWriter::put(Stream stream, std::string_view text, bool whole) {
  if (size_ >= limit_) {
    ::rename(path_.c_str(), (path_ + ".1").c_str());
    if (auto fresh = host::Fd::open(path_, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0600)) file_ = std::move(*fresh);
    size_ = 0;
  }
  const std::string line = fmt::format("{} {} {} {}\n", stamp(), stream == Stream::err ? "stderr" : "stdout", whole ? 'F' : 'P', text);
  // A full disk costs the log, not the container.
  if (host::write_all(file_.get(), line)) size_ += line.size();
}

void LogWriter::write(Stream stream, std::string_view data) {
  std::string& pending = pending_[static_cast<std::size_t>(stream) - 1];
  while (!data.empty()) {
    const std::size_t end = data.find('\n');
    const std::size_t length = std::min({end, data.size(), longest_entry - pending.size()});
    pending.append(data.substr(0, length));
    const bool whole = end == length;
    data.remove_prefix(length + (whole ? 1 : 0));
    if (whole || pending.size() == longest_entry) {
      put(stream, pending, whole);
      pending.clear();
    }
  }
}

void LogWriter::finish() {
  for (const Stream stream : {Stream::out, Stream::err}) {
    std::string& pending = pending_[static_cast<std::size_t>(stream) - 1];
    if (!pending.empty()) put(stream, pending, false);
    pending.clear();
  }
}

Result<> read_log(const std::string& path, const LogOptions& options, const std::function<bool()>& ended,
                  const std::function<Result<>(Stream stream, std::string_view text)>& take) {
  const auto give = [&](const std::string& line) -> Result<> {
    const Entry entry = parse_entry(line);
    std::string text;
    if (options.timestamps && !entry.time.empty()) text = std::string(entry.time) + " ";
    text += entry.text;
    if (entry.whole) text += '\n';
    return take(entry.stream, text);
  };
  std::deque<std::string> last;
  std::string line;
  const auto older = host::Fd::open(path + ".1", O_RDONLY | O_NOFOLLOW);
  auto newer = host::Fd::open(path, O_RDONLY | O_NOFOLLOW);
  const auto take_all = [&](LineReader& reader) -> Result<> {
    while (reader.next(line)) {
      if (options.tail < 0) {
        TRY(give(line));
      } else {
        last.push_back(line);
        if (last.size() > static_cast<std::size_t>(options.tail)) last.pop_front();
      }
    }
    return {};
  };
  if (older) {
    LineReader reader(host::Fd(::dup(older->get())));
    TRY(take_all(reader));
  }
  if (!newer) return newer.error().code == ENOENT ? Result<>() : Result<>(std::unexpected(std::move(newer.error())));
  auto reader = std::make_unique<LineReader>(std::move(*newer));
  TRY(take_all(*reader));
  for (const std::string& entry : last) TRY(give(entry));
  while (options.follow) {
    // Asked before the last look, so that nothing written before the end is missed.
    const bool over = ended();
    bool more = false;
    while (reader->next(line)) {
      TRY(give(line));
      more = true;
    }
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && info.st_ino != reader->inode()) {
      if (auto fresh = host::Fd::open(path, O_RDONLY | O_NOFOLLOW)) reader = std::make_unique<LineReader>(std::move(*fresh));
      continue;
    }
    if (over && !more) break;
    if (!more) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return {};
}

}  // namespace nagaya::domain
