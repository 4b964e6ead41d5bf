#include "domain/machine_console.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace nagaya::domain {
namespace {

constexpr std::size_t piece = 16 * KiB;

std::unexpected<Error> no_console(const Machine& machine) {
  return std::unexpected(Error{fmt::format("the console of '{}' cannot be reached", machine.spec.name), "it is the terminal that the machine was started at, or leads elsewhere",
                               fmt::format("'nagaya start -d {}' starts it in the background", machine.spec.name), EOPNOTSUPP});
}

Result<host::Fd> open_input(const Machine& machine) {
  // Without waiting: where nobody reads there is no machine.
  host::Fd out(::open(machine.places.console_input().c_str(), O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC));
  struct stat info {};
  if (!out || ::fstat(out.get(), &info) != 0 || !S_ISFIFO(info.st_mode)) return no_console(machine);
  return out;
}

/// The bytes of a log on their way to whoever looks.
class Output {
 public:
  Output(host::Fd log, const ConsoleVisit& visit) : log_(std::move(log)), visit_(visit) {}

  Result<> begin() {
    TRY_ASSIGN(at_, tail_offset(log_.get(), visit_.tail));
    return {};
  }
  /// All that is there now. False: nobody takes it any more.
  Result<bool> pump() {
    struct stat info {};
    if (::fstat(log_.get(), &info) != 0) return fail_errno("cannot read the console");
    if (static_cast<u64>(info.st_size) < at_) at_ = 0;  // it began anew
    for (;;) {
      const ssize_t got = ::pread(log_.get(), bytes_.data(), bytes_.size(), static_cast<off_t>(at_));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_errno("cannot read the console");
      if (got == 0) return true;
      at_ += static_cast<u64>(got);
      if (!host::write_all(visit_.output, shown({bytes_.data(), static_cast<std::size_t>(got)}))) return false;
    }
  }

 private:
  std::string shown(std::string_view text) {
    if (!visit_.terminal) return std::string(text);
    std::string out;
    for (const char c : text) {
      if (c == '\n' && last_ != '\r') out += '\r';
      out += c;
      last_ = c;
    }
    return out;
  }

  host::Fd log_;
  const ConsoleVisit& visit_;
  u64 at_ = 0;
  char last_ = 0;
  std::array<char, piece> bytes_{};
};

/// What is typed on its way to the guest, which may be slow to take it: then no more is read.
class Input {
 public:
  Input(host::Fd pipe, const ConsoleVisit& visit) : pipe_(std::move(pipe)), visit_(visit), open_(visit.input >= 0) {}
  [[nodiscard]] pollfd typed() const { return {open_ && waiting_.empty() ? visit_.input : -1, POLLIN, 0}; }
  [[nodiscard]] pollfd room() const { return {waiting_.empty() ? -1 : pipe_.get(), POLLOUT, 0}; }

  /// False: the visitor goes.
  bool take() {
    std::array<char, 4096> bytes;
    const ssize_t got = ::read(visit_.input, bytes.data(), bytes.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return true;
    if (got <= 0) {
      open_ = false;
      return !visit_.input_end_leaves;
    }
    waiting_.assign(bytes.data(), static_cast<std::size_t>(got));
    const std::size_t key = visit_.leave_key == 0 ? std::string::npos : waiting_.find(visit_.leave_key);
    if (key != std::string::npos) waiting_.resize(key);
    give();
    return key == std::string::npos;
  }
  void give() {
    while (!waiting_.empty()) {
      const ssize_t put = ::write(pipe_.get(), waiting_.data(), waiting_.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0 && errno == EAGAIN) return;
      // Nobody reads any more: the machine's end is seen elsewhere.
      waiting_.erase(0, put < 0 ? waiting_.size() : static_cast<std::size_t>(put));
    }
  }

 private:
  host::Fd pipe_;
  const ConsoleVisit& visit_;
  bool open_;
  std::string waiting_;
};

}  // namespace

Result<ConsoleEnds> make_console_ends(const Machine& machine, bool fresh) {
  const std::string path = machine.places.console_input();
  (void)::unlink(path.c_str());
  if (::mkfifo(path.c_str(), 0600) != 0) return fail_errno(fmt::format("cannot make '{}'", path));
  ConsoleEnds out;
  TRY_ASSIGN(out.input, host::Fd::open(path, O_RDWR | O_NOFOLLOW));
  TRY_ASSIGN(out.output, host::Fd::open(machine.places.console_log(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | (fresh ? O_TRUNC : 0), 0600));
  return out;
}

Result<u64> tail_offset(int file, u64 lines) {
  struct stat about {};
  if (::fstat(file, &about) != 0) return fail_errno("cannot read the log");
  u64 at = static_cast<u64>(about.st_size);
  if (lines == 0) return at;
  const u64 size = at;
  std::array<char, piece> bytes;
  u64 seen = 0;
  while (at > 0) {
    const std::size_t part = static_cast<std::size_t>(std::min<u64>(at, bytes.size()));
    const ssize_t got = ::pread(file, bytes.data(), part, static_cast<off_t>(at - part));
    if (got != static_cast<ssize_t>(part)) return fail_errno("cannot read the log", got < 0 ? errno : EIO);
    for (std::size_t i = part; i > 0; i--) {
      // The last line's own end does not count.
      if (bytes[i - 1] == '\n' && at - part + i != size && ++seen == lines) return at - part + i;
    }
    at -= part;
  }
  return 0;
}

Result<> has_console(const Machine& machine) {
  TRY(open_input(machine));
  return {};
}

Result<VisitEnd> visit_console(const MachineStore& store, const Machine& machine, const ConsoleVisit& visit) {
  TRY_ASSIGN(host::Fd pipe, open_input(machine));
  const std::string& path = machine.places.console_log();
  TRY_ASSIGN(host::Fd log, host::Fd::open(path, O_RDONLY | O_NOFOLLOW));
  const host::Fd changes(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!changes || ::inotify_add_watch(changes.get(), path.c_str(), IN_MODIFY) < 0) return fail_errno("cannot watch the console");
  Output output(std::move(log), visit);
  Input input(std::move(pipe), visit);
  TRY(output.begin());
  for (;;) {
    // Before the look at the log: what it writes last is seen.
    const bool running = store.running(machine);
    TRY_ASSIGN(const bool taken, output.pump());
    if (!taken) return VisitEnd::left;
    if (!running) return VisitEnd::machine_ended;
    constexpr int look_ms = 300;
    std::array<pollfd, 5> watched{{{changes.get(), POLLIN, 0}, input.typed(), input.room(), {visit.leave, POLLIN, 0}, {visit.output, 0, 0}}};
    if (::poll(watched.data(), watched.size(), look_ms) < 0 && errno != EINTR) return fail_errno("cannot wait for the console");
    if (watched[0].revents != 0) {
      std::array<char, 4096> events;
      while (::read(changes.get(), events.data(), events.size()) > 0) {
      }
    }
    if (watched[2].revents != 0) input.give();
    if (watched[1].revents != 0 && !input.take()) return VisitEnd::left;
    if (watched[3].revents != 0 || (watched[4].revents & (POLLHUP | POLLERR)) != 0) return VisitEnd::left;
  }
}

}  // namespace nagaya::domain
