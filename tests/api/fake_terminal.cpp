#include "fake_terminal.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <mutex>
#include <thread>

namespace nagaya::api::test {
namespace {

struct Shared {
  std::atomic<unsigned> columns = 80, rows = 24;
  std::atomic<int> code = -1;
};

class Shell {
 public:
  Shell(std::string name, bool terminal, host::Fd stream, host::Fd errors, std::shared_ptr<Shared> shared)
      : name_(std::move(name)), terminal_(terminal), stream_(std::move(stream)), errors_(std::move(errors)), shared_(std::move(shared)) {}

  void run() {
    if (terminal_) say(fmt::format("\x1b[1mWelcome to {}\x1b[0m\r\n", name_)), prompt();
    std::array<char, 4096> bytes;
    for (ssize_t got = 0; shared_->code < 0 && (got = ::read(stream_.get(), bytes.data(), bytes.size())) > 0;) {
      for (const char c : std::string_view(bytes.data(), static_cast<std::size_t>(got))) take(c);
    }
    if (shared_->code < 0) shared_->code = 0;
  }

 private:
  void say(const std::string& text) { (void)host::write_all(stream_.get(), text); }
  void prompt() { say(fmt::format("{}# ", name_)); }
  void take(char c) {
    if (shared_->code >= 0) return;
    if (c == '\r' || c == '\n') {
      if (terminal_) say("\r\n");
      command(std::exchange(line_, {}));
      if (terminal_ && shared_->code < 0) prompt();
    } else if (c == 0x7F) {
      if (!line_.empty()) line_.pop_back(), say("\b \b");
    } else {
      line_ += c;
      if (terminal_) say(std::string(1, c));
    }
  }
  void command(const std::string& line) {
    const std::string end = terminal_ ? "\r\n" : "\n";
    const std::size_t space = line.find(' ');
    const std::string word = line.substr(0, space), rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (word == "echo") say(rest + end);
    if (word == "size") say(fmt::format("{} {}{}", shared_->columns.load(), shared_->rows.load(), end));
    if (word == "error" && errors_) (void)host::write_all(errors_.get(), rest + end);
    std::size_t number = 0;
    std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (word == "exit") shared_->code = static_cast<int>(number);
    if (word == "flood") {
      const std::string piece(4096, 'x');
      for (std::size_t sent = 0; sent < number; sent += piece.size()) say(piece.substr(0, number - sent));
    }
  }
  const std::string name_;
  const bool terminal_;
  host::Fd stream_, errors_;
  std::shared_ptr<Shared> shared_;
  std::string line_;
};

}  // namespace

Result<Terminal> fake_terminal(const std::string& name, bool terminal) {
  TRY_ASSIGN(auto pair, host::Fd::socketpair());
  auto shared = std::make_shared<Shared>();
  host::Fd errors_in, errors_out;
  if (!terminal) {
    TRY_ASSIGN(auto pipe, host::Fd::pipe());
    errors_in = std::move(pipe.first);
    errors_out = std::move(pipe.second);
  }
  std::jthread([name, terminal, stream = std::move(pair.second), errors = std::move(errors_out), shared]() mutable {
    Shell(name, terminal, std::move(stream), std::move(errors), shared).run();
  }).detach();
  return Terminal{.stream = std::move(pair.first),
                  .errors = std::move(errors_in),
                  .resize =
                      [shared](u16 columns, u16 rows) {
                        shared->columns = columns;
                        shared->rows = rows;
                      },
                  .exit_code = [shared]() -> std::optional<int> {
                    for (int i = 0; i < 100 && shared->code < 0; i++) std::this_thread::sleep_for(std::chrono::milliseconds(10));
                    return shared->code < 0 ? std::optional<int>() : shared->code.load();
                  }};
}

}  // namespace nagaya::api::test
