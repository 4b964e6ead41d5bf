#include "devices/stream_backend.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace nagaya::devices {
namespace {

constexpr std::size_t ring_size = 64 * KiB;
/// One write: no more than a pipe takes without blocking once poll says that it is ready.
constexpr std::size_t chunk_size = 4096;
constexpr unsigned fair_share = 64 * KiB;  // bytes written before the loop serves others

/// write(2) that neither blocks nor raises SIGPIPE where that can be had (sockets).
ssize_t put(int fd, std::span<const u8> data) {
  const ssize_t sent = ::send(fd, data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0 || errno != ENOTSOCK) return sent;
  pollfd ready{fd, POLLOUT, 0};  // the descriptor may be a blocking one
  if (::poll(&ready, 1, 0) == 0) {
    errno = EAGAIN;
    return -1;
  }
  return ::write(fd, data.data(), data.size());
}

}  // namespace

StreamBackend::StreamBackend(host::EventLoop& loop, WhenFull when_full, std::string where, std::function<void()> hangup)
    : loop_(loop), when_full_(when_full), where_(std::move(where)), hangup_(std::move(hangup)), ring_(ring_size) {}

Result<std::unique_ptr<StreamBackend>> StreamBackend::create(host::EventLoop& loop, WhenFull when_full, std::string where,
                                                             std::function<void()> hangup) {
  std::unique_ptr<StreamBackend> self(new StreamBackend(loop, when_full, std::move(where), std::move(hangup)));
  TRY_ASSIGN(self->wake_, host::Fd::eventfd());
  TRY(loop.add(self->wake_.get(), EPOLLIN, [raw = self.get()](u32) { raw->on_wake(); }));
  return self;
}

StreamBackend::~StreamBackend() {
  if (wake_) loop_.remove(wake_.get());
  if (in_) loop_.remove(in_.get());
  if (out_) loop_.remove(out_.get());
}

Result<> StreamBackend::connect(host::Fd in, host::Fd out) {
  const std::lock_guard lock(io_mutex_);
  in_ = std::move(in);
  out_ = std::move(out);
  single_ = false;
  return watch();
}

Result<> StreamBackend::connect_both(host::Fd both) {
  const std::lock_guard lock(io_mutex_);
  in_ = std::move(both);
  out_.reset();
  single_ = true;
  return watch();
}

Result<> StreamBackend::watch() {
  in_ended_ = !in_;
  out_broken_ = out_fd() < 0;
  out_blocked_ = false;
  input_count_ = 0;
  const auto add = [this](const host::Fd& fd, u32 events, bool& watched) -> Result<> {
    watched = false;
    if (!fd) return {};
    auto added = loop_.add(fd.get(), events, [this, number = fd.get()](u32 seen) { on_event(number, seen); });
    if (!added && added.error().code == EPERM) return {};  // regular files are always ready
    watched = added.has_value();
    return added;
  };
  TRY(add(in_, EPOLLIN, in_watched_));
  TRY(add(out_, EPOLLOUT, out_watched_));
  if (single_) out_watched_ = in_watched_;
  {
    const std::lock_guard ring(ring_mutex_);
    open_ = !out_broken_;
  }
  announce_ = true;
  host::signal_eventfd(wake_.get());
  return {};
}

std::size_t StreamBackend::write(std::span<const u8> data) {
  const std::lock_guard lock(ring_mutex_);
  if (!open_) return data.size();
  const bool idle = ring_.empty();
  const std::size_t taken = ring_.put(data);
  if (idle && taken > 0) host::signal_eventfd(wake_.get());
  if (taken == data.size() || when_full_ == WhenFull::drop) return data.size();
  refused_ = true;
  return taken;
}

void StreamBackend::attach(CharReceiver* receiver) {
  {
    const std::lock_guard lock(io_mutex_);
    receiver_ = receiver;
  }
  announce_ = true;
  host::signal_eventfd(wake_.get());
}

void StreamBackend::input_room() { host::signal_eventfd(wake_.get()); }

void StreamBackend::on_wake() {
  host::drain_eventfd(wake_.get());
  const std::lock_guard lock(io_mutex_);
  if (announce_.exchange(false) && receiver_) {
    bool open = false;
    {
      const std::lock_guard ring(ring_mutex_);
      open = open_ || in_;
    }
    receiver_->connected(open);
  }
  service(false);
}

void StreamBackend::on_event(int fd, u32 events) {
  const std::lock_guard lock(io_mutex_);
  if (fd == out_fd()) out_blocked_ = false;
  service(in_ && fd == in_.get() && (events & ~u32{EPOLLOUT}) != 0);
}

void StreamBackend::service(bool readable) {
  if (!out_broken_ && !out_blocked_) {
    switch (flush(fair_share)) {
      case Flow::done: break;
      case Flow::would_block: out_blocked_ = true; break;
      case Flow::broken: out_broken_ = true; break;
    }
  }
  if (out_broken_) {
    const std::lock_guard ring(ring_mutex_);
    open_ = false;
    ring_.drop(ring_.room() + ring_size);
  }
  offer_room();
  take_input(readable);
  if (single_ && in_ && (in_ended_ || out_broken_)) {
    disconnect();
  } else {
    update_interest();
  }
}

StreamBackend::Flow StreamBackend::flush(unsigned most_bytes) {
  std::array<u8, chunk_size> chunk;
  for (unsigned done = 0; done < most_bytes;) {
    std::size_t size = 0;
    {
      const std::lock_guard ring(ring_mutex_);
      size = ring_.peek(chunk);
    }
    if (size == 0) return Flow::done;
    const ssize_t written = put(out_fd(), std::span(chunk).first(size));
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN ? Flow::would_block : Flow::broken;
    }
    const std::lock_guard ring(ring_mutex_);
    ring_.drop(static_cast<std::size_t>(written));
    done += static_cast<unsigned>(written);
  }
  host::signal_eventfd(wake_.get());  // more to do, after others had their turn
  return Flow::done;
}

/// Tells the device when half the buffer is free again, so that it does not come back for each byte.
void StreamBackend::offer_room() {
  {
    const std::lock_guard ring(ring_mutex_);
    if (!refused_ || ring_.room() < ring_size / 2) return;
    refused_ = false;
  }
  if (receiver_) receiver_->output_room();
}

/// True when nothing of the input read so far is left.
bool StreamBackend::deliver() {
  if (input_count_ == 0) return true;
  if (!receiver_) return false;
  const std::size_t taken = std::min(receiver_->input(std::span(input_).first(input_count_)), input_count_);
  input_count_ -= taken;
  std::memmove(input_.data(), input_.data() + taken, input_count_);
  return input_count_ == 0;
}

void StreamBackend::take_input(bool readable) {
  if (!receiver_) return;
  while (deliver() && !in_ended_ && (readable || !in_watched_)) {
    const ssize_t count = ::read(in_.get(), input_.data(), input_.size());
    if (count > 0) {
      input_count_ = static_cast<std::size_t>(count);
    } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
      in_ended_ = true;
    }
    readable = false;  // one read per event: the descriptor may be a blocking one
  }
}

void StreamBackend::update_interest() {
  const bool want_in = !in_ended_ && receiver_ && input_count_ == 0;
  const bool want_out = !out_broken_ && out_blocked_;
  if (single_) {
    if (in_watched_) (void)loop_.modify(in_.get(), (want_in ? EPOLLIN : 0u) | (want_out ? EPOLLOUT : 0u));
    return;
  }
  if (in_watched_) (void)loop_.modify(in_.get(), want_in ? EPOLLIN : 0u);
  if (out_watched_) (void)loop_.modify(out_.get(), want_out ? EPOLLOUT : 0u);
}

void StreamBackend::disconnect() {
  if (in_watched_) loop_.remove(in_.get());
  in_.reset();
  in_watched_ = out_watched_ = false;
  in_ended_ = out_broken_ = true;
  {
    const std::lock_guard ring(ring_mutex_);
    open_ = false;
    ring_.drop(ring_size);
  }
  offer_room();
  if (receiver_) receiver_->connected(false);
  if (hangup_) hangup_();
}

void StreamBackend::drain(unsigned timeout_ms) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::milliseconds(timeout_ms);
  const std::lock_guard lock(io_mutex_);
  while (!out_broken_) {
    const Flow flow = flush(fair_share);
    offer_room();
    if (flow == Flow::broken) return;  // the loop finds out for itself
    if (flow == Flow::done) {
      const std::lock_guard ring(ring_mutex_);
      if (ring_.empty()) return;
      continue;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) return;
    pollfd ready{out_fd(), POLLOUT, 0};
    if (::poll(&ready, 1, static_cast<int>(left)) < 0 && errno != EINTR) return;
  }
}

}  // namespace nagaya::devices
