#include "agent/guest/exec.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "agent/guest/spawn.hpp"

namespace nagaya::agent::guest {
namespace {

/// How long a process whose host has gone may take to end after SIGHUP.
constexpr int patience_ms = 2000;
/// The character that ends input on a terminal.
constexpr u8 end_of_transmission = 4;

class Exec {
 public:
  Exec(Channel& channel, const ExecRequest& request, Child child)
      : channel_(channel), terminal_(request.terminal), child_(std::move(child)) {}
  ~Exec() {
    if (child_.pid > 0) end_child();
  }

  Result<> run() {
    TRY(take_frames());  // they may have come together with the request
    while (true) {
      if (ended_ && !has_output()) return tell_end();
      TRY(wait());
      TRY(channel_.flush());
    }
  }

 private:
  /// Output that goes to the host now.
  struct Output {
    host::Fd& fd;
    Kind kind;
    u32 window = stream_window;
  };

  Result<> wait() {
    std::array<pollfd, 5> watched{};
    std::size_t count = 0;
    const auto watch = [&](int fd, short events) {
      watched[count] = {fd, events, 0};
      return count++;
    };
    const std::size_t host = watch(channel_.fd(), static_cast<short>(POLLIN | (channel_.waiting() != 0 ? POLLOUT : 0)));
    const std::size_t ended = watch(ended_ ? -1 : child_.ended.get(), POLLIN);
    const std::size_t input = watch(input_.empty() ? -1 : child_.input.get(), POLLOUT);
    const std::size_t output = watch(out_.window != 0 ? child_.output.get() : -1, POLLIN);
    const std::size_t errors = watch(err_.window != 0 ? child_.errors.get() : -1, POLLIN);
    if (::poll(watched.data(), count, -1) < 0 && errno != EINTR) return fail_errno("cannot wait");
    if (watched[host].revents & ~POLLOUT) TRY(on_host());
    if (watched[input].revents != 0) write_input();
    if (watched[output].revents != 0) (void)read_output(out_);
    if (watched[errors].revents != 0) (void)read_output(err_);
    if (watched[ended].revents != 0) on_ended();
    return {};
  }

  Result<> on_host() {
    TRY_ASSIGN(const bool more, channel_.fill());
    TRY(take_frames());
    if (!more) return fail("the host has gone");
    return {};
  }

  Result<> take_frames() {
    while (true) {
      TRY_ASSIGN(auto frame, channel_.next());
      if (!frame) return {};
      TRY(on_frame(*frame));
    }
  }

  Result<> on_frame(const Frame& frame) {
    switch (frame.kind) {
      case Kind::input:
        if (input_ended_ || frame.payload.size() > stream_window - input_.size()) return fail("the host sends more input than it may");
        // Without a reader it is dropped, as a pipe does.
        if (child_.input) {
          input_.insert(input_.end(), frame.payload.begin(), frame.payload.end());
        } else {
          took_input(frame.payload.size());
        }
        write_input();
        return {};
      case Kind::input_end:
        if (!std::exchange(input_ended_, true) && terminal_) input_.push_back(end_of_transmission);
        write_input();
        return {};
      case Kind::window: {
        TRY_ASSIGN(const Window window, decode_window(frame.payload));
        Output& stream = window.stream == Stream::errors ? err_ : out_;
        if (window.stream == Stream::input || window.bytes > stream_window - stream.window) return fail("a window that cannot be");
        stream.window += window.bytes;
        return {};
      }
      case Kind::signal:
        if (frame.payload.size() != 1 || frame.payload[0] == 0 || frame.payload[0] > 64) return fail("no signal");
        if (child_.pid > 0) ::kill(-child_.pid, frame.payload[0]);
        return {};
      case Kind::resize: {
        TRY_ASSIGN(const Resize size, decode_resize(frame.payload));
        const winsize now{size.rows, size.columns, 0, 0};
        if (terminal_) ::ioctl(child_.output.get(), TIOCSWINSZ, &now);
        return {};
      }
      default: return fail("a frame that has no place here");
    }
  }

  void took_input(std::size_t bytes) {
    taken_ += static_cast<u32>(bytes);
    if (taken_ < data_chunk && !input_.empty()) return;
    if (taken_ == 0) return;
    // The mark that ends a terminal's input was none of the host's bytes.
    channel_.queue(Kind::window, encode(Window{Stream::input, std::min(taken_, stream_window)}));
    taken_ = 0;
  }

  void write_input() {
    std::size_t done = 0;
    while (child_.input && done < input_.size()) {
      const ssize_t n = ::write(child_.input.get(), input_.data() + done, input_.size() - done);
      if (n > 0) {
        done += static_cast<std::size_t>(n);
      } else if (n < 0 && errno == EAGAIN) {
        break;
      } else if (errno != EINTR) {  // nobody reads any more
        child_.input.reset();
        done = input_.size();
      }
    }
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(done));
    if (done != 0 && !input_ended_) took_input(done);
    if (input_ended_ && input_.empty() && !terminal_) child_.input.reset();
  }

  /// True when something came.
  bool read_output(Output& stream) {
    std::array<u8, data_chunk> bytes;
    if (!stream.fd || stream.window == 0) return false;
    const ssize_t n = ::read(stream.fd.get(), bytes.data(), std::min<std::size_t>(bytes.size(), stream.window));
    if (n > 0) {
      channel_.queue(stream.kind, std::span(bytes).first(static_cast<std::size_t>(n)));
      stream.window -= static_cast<u32>(n);
      return true;
    }
    // A terminal that nobody has open any more gives EIO.
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) stream.fd.reset();
    return false;
  }

  void on_ended() {
    if (::waitpid(child_.pid, &status_, 0) == child_.pid) child_.pid = -1;
    ended_ = true;
  }

  /// What the process wrote is in the pipes when it has ended. What its own children, which may live on, write later is
  /// not waited for.
  bool has_output() {
    for (Output* stream : {&out_, &err_}) {
      while (read_output(*stream)) {
      }
      if (stream->fd && stream->window == 0) return true;
    }
    return false;
  }

  Result<> tell_end() {
    Exited exited;
    exited.signalled = WIFSIGNALED(status_);
    exited.value = static_cast<u32>(exited.signalled ? WTERMSIG(status_) : WEXITSTATUS(status_));
    return channel_.send(Kind::exited, encode(exited));
  }

  void end_child() const {
    ::kill(-child_.pid, SIGHUP);
    pollfd ended{child_.ended.get(), POLLIN, 0};
    (void)::poll(&ended, 1, patience_ms);
    ::kill(-child_.pid, SIGKILL);
    ::waitpid(child_.pid, nullptr, 0);
  }

  Channel& channel_;
  const bool terminal_;
  Child child_;
  std::vector<u8> input_;
  u32 taken_ = 0;  // bytes of input that the host has not heard of
  bool input_ended_ = false, ended_ = false;
  int status_ = 0;
  Output out_{child_.output, Kind::output}, err_{child_.errors, Kind::errors};
};

}  // namespace

Result<> serve_exec(Channel& channel, const ExecRequest& request) {
  auto child = spawn(request);
  if (!child) return channel.send(Kind::failed, encode(Failure{child.error().code, child.error().message()}));
  Exec exec(channel, request, std::move(*child));
  TRY(channel.send(Kind::accepted));
  return exec.run();
}

}  // namespace nagaya::agent::guest
