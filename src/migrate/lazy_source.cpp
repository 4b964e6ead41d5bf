#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "migrate/lazy.hpp"

namespace nagaya::migrate {
namespace {

constexpr std::size_t most_waiting = 1 << 20;  // bytes of requests: each is 32, and is answered before long

/// CRIU would take a mere end for "all is fetched" and end the container. Half a request is an error, after which the container goes on.
void spoil(const host::Fd& pages) {
  (void)::send(pages.get(), "", 1, MSG_NOSIGNAL);
  ::shutdown(pages.get(), SHUT_WR);
}

class Server {
 public:
  Server(Stream& stream, const host::Fd& pages, const LazySourceSteps& steps) : stream_(stream), pages_(pages), steps_(steps) {}

  Result<> run() {
    while (!over_) {
      std::array<pollfd, 2> wait{{{stream_.in(), POLLIN, 0}, {pages_.get(), static_cast<short>(waiting_.empty() ? POLLIN : POLLIN | POLLOUT), 0}}};
      if (::poll(wait.data(), wait.size(), -1) < 0) {
        if (errno == EINTR) continue;
        return fail_errno("cannot wait for the other side");
      }
      if (wait[1].revents != 0) TRY(carry());
      if (wait[0].revents != 0) TRY(hear());
    }
    return {};
  }

 private:
  Result<> carry() {
    if (!waiting_.empty()) {
      const ssize_t count = ::send(pages_.get(), waiting_.data(), waiting_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count > 0) waiting_.erase(0, static_cast<std::size_t>(count));
    }
    const ssize_t count = ::recv(pages_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (count > 0) return stream_.send(Kind::pages, std::span<const u8>(buffer_).first(static_cast<std::size_t>(count)));
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    return fail("CRIU serves no memory any more", "its log at the source says why");
  }

  Result<> hear() {
    TRY_ASSIGN(const Frame frame, stream_.receive());
    switch (frame.kind) {
      case Kind::pages:
        if (waiting_.size() + frame.payload.size() > most_waiting) return fail("the stream of the move is malformed", "too much memory is asked for at once");
        waiting_ += frame.text();
        return {};
      case Kind::restored: return steps_.restored();
      case Kind::running: steps_.running(); return {};
      case Kind::lazy_end:
        over_ = true;
        return stream_.send(Kind::lazy_ack);
      default: return fail("the stream of the move is malformed", "a frame came that has no place while memory is fetched");
    }
  }

  Stream& stream_;
  const host::Fd& pages_;
  const LazySourceSteps& steps_;
  std::string waiting_;
  std::array<u8, 256 * 1024> buffer_{};
  bool over_ = false;
};

}  // namespace

Result<> serve_lazily(Stream& stream, host::Fd pages, const LazySourceSteps& steps) {
  auto server = std::make_unique<Server>(stream, pages, steps);
  auto done = server->run();
  if (!done) {
    spoil(pages);
  } else {
    ::shutdown(pages.get(), SHUT_WR);
  }
  // It may still write what nobody wants; then it closes.
  std::array<u8, 65536> rest;
  while (::recv(pages.get(), rest.data(), rest.size(), 0) > 0) {
  }
  return done;
}

}  // namespace nagaya::migrate
