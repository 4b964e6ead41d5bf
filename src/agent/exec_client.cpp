#include "agent/exec_client.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "agent/client.hpp"

namespace nagaya::agent {
namespace {

/// A pipe or a terminal that is ready takes this much without waiting (POSIX, PIPE_BUF).
constexpr std::size_t write_chunk = 4096;

class Session {
 public:
  Session(Channel& channel, const ExecStreams& streams)
      : channel_(channel), streams_(streams), input_(streams.input), out_{streams.output, Stream::output}, err_{streams.errors, Stream::errors} {}

  Result<Exited> run() {
    TRY(take_frames());  // they may have come together with the acceptance
    while (!(exited_ && out_.bytes.empty() && err_.bytes.empty())) {
      TRY(wait());
      // A command that ends without reading its input closes first; how it ended is still to be read.
      if (!deaf_ && !channel_.flush()) deaf_ = true;
    }
    return *exited_;
  }

 private:
  /// What came from the guest and waits for its reader here.
  struct Output {
    int fd;
    Stream stream;
    std::vector<u8> bytes{};
    std::size_t at = 0;  ///< of `bytes`, what is written already
    u32 taken = 0;
  };

  Result<> wait() {
    std::array<pollfd, 5> watched = {{
        {exited_ ? -1 : channel_.fd(), static_cast<short>(POLLIN | (!deaf_ && channel_.waiting() != 0 ? POLLOUT : 0)), 0},
        {streams_.signals, POLLIN, 0},
        {exited_ || deaf_ || window_ == 0 ? -1 : input_, POLLIN, 0},
        {out_.bytes.empty() ? -1 : out_.fd, POLLOUT, 0},
        {err_.bytes.empty() ? -1 : err_.fd, POLLOUT, 0},
    }};
    if (::poll(watched.data(), watched.size(), -1) < 0) {
      if (errno == EINTR) return {};
      return fail_errno("cannot wait");
    }
    if (watched[0].revents & ~POLLOUT) TRY(on_guest());
    if (watched[1].revents != 0) {
      for (const Frame& frame : streams_.on_signals()) channel_.queue(frame.kind, frame.payload);
    }
    if (watched[2].revents != 0) TRY(read_input());
    if (watched[3].revents != 0) TRY(write_output(out_));
    if (watched[4].revents != 0) TRY(write_output(err_));
    return {};
  }

  Result<> on_guest() {
    TRY_ASSIGN(const bool more, channel_.fill());
    TRY(take_frames());
    if (!more && !exited_) return fail("the guest's agent", "the connection ended before the command did");
    return {};
  }

  Result<> take_frames() {
    while (!exited_) {
      TRY_ASSIGN(auto frame, channel_.next());
      if (!frame) break;
      TRY(on_frame(*frame));
    }
    return {};
  }

  Result<> on_frame(const Frame& frame) {
    switch (frame.kind) {
      case Kind::output: return take(out_, frame.payload);
      case Kind::errors: return take(err_, frame.payload);
      case Kind::window: {
        TRY_ASSIGN(const Window window, decode_window(frame.payload));
        if (window.stream != Stream::input || window.bytes > stream_window - window_) return fail("the guest's agent", "a window that cannot be");
        window_ += window.bytes;
        return {};
      }
      case Kind::exited: {
        TRY_ASSIGN(exited_, decode_exited(frame.payload));
        return {};
      }
      default: return failure_of(frame);
    }
  }

  static Result<> take(Output& output, std::span<const u8> bytes) {
    if (bytes.size() + output.bytes.size() - output.at > stream_window) return fail("the guest's agent", "it sends more than it may");
    output.bytes.erase(output.bytes.begin(), output.bytes.begin() + static_cast<std::ptrdiff_t>(std::exchange(output.at, 0)));
    output.bytes.insert(output.bytes.end(), bytes.begin(), bytes.end());
    return {};
  }

  Result<> write_output(Output& output) {
    const ssize_t n = ::write(output.fd, output.bytes.data() + output.at, std::min(output.bytes.size() - output.at, write_chunk));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return {};
    if (n < 0) return fail_errno(output.stream == Stream::output ? "cannot write to standard output" : "cannot write to standard error");
    output.at += static_cast<std::size_t>(n);
    if (output.at == output.bytes.size()) {
      output.bytes.clear();
      output.at = 0;
    }
    output.taken += static_cast<u32>(n);
    if (output.taken >= data_chunk || output.bytes.empty()) {
      channel_.queue(Kind::window, encode(Window{output.stream, std::exchange(output.taken, 0)}));
    }
    return {};
  }

  Result<> read_input() {
    std::array<u8, data_chunk> bytes;
    const ssize_t n = ::read(input_, bytes.data(), std::min<std::size_t>(bytes.size(), window_));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return {};
    if (n <= 0) {
      input_ = -1;
      channel_.queue(Kind::input_end);
      return {};
    }
    window_ -= static_cast<u32>(n);
    channel_.queue(Kind::input, std::span(bytes).first(static_cast<std::size_t>(n)));
    return {};
  }

  Channel& channel_;
  const ExecStreams& streams_;
  int input_;
  u32 window_ = stream_window;  // of input: what the guest has room for
  Output out_, err_;
  bool deaf_ = false;  // the agent takes nothing any more
  std::optional<Exited> exited_;
};

}  // namespace

Result<Exited> run_exec(Channel& channel, const ExecRequest& request, const ExecStreams& streams) {
  TRY(ask(channel, {.operation = Operation::exec, .exec = request}));
  Session session(channel, streams);
  return session.run();
}

}  // namespace nagaya::agent
