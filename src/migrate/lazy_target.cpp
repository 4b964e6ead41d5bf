#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "container/checkpoint/lazy_pages.hpp"
#include "container/container.hpp"
#include "migrate/lazy.hpp"

namespace nagaya::migrate {
namespace {

/// Carries frames between the stream and the restore, and pages between the stream and CRIU.
class Carrier {
 public:
  Carrier(Stream& outer, host::Fd inner, host::Fd pages, host::Process daemon)
      : outer_(outer), inner_fd_(std::move(inner)), inner_(inner_fd_.get(), inner_fd_.get()), pages_(std::move(pages)), daemon_(std::move(daemon)) {}

  /// To the end: all memory is there, or it never will be.
  Result<> run() {
    while (!over_) {
      std::array<pollfd, 4> wait{{{outer_.in(), POLLIN, 0},
                                  {inner_fd_.get(), POLLIN, 0},
                                  {pages_.get(), static_cast<short>(waiting_.empty() ? POLLIN : POLLIN | POLLOUT), 0},
                                  {daemon_.fd(), POLLIN, 0}}};
      // What was sent and is not read yet stays where it is while there is much to give to CRIU.
      if (waiting_.size() > most_waiting) wait[0].fd = -1;
      if (ended_) wait[2].fd = wait[3].fd = -1;
      if (::poll(wait.data(), wait.size(), -1) < 0) {
        if (errno == EINTR) continue;
        return fail_errno("cannot wait for the other side");
      }
      if (wait[2].revents != 0) TRY(carry());
      if (wait[1].revents != 0) TRY(hear_restore());
      if (wait[3].revents != 0) TRY(daemon_ended());
      if (wait[0].revents != 0) TRY(hear_source());
    }
    return {};
  }

  /// Why it failed, to both sides.
  void give_up(const Error& error) {
    const std::string why = error.message().substr(0, 4096);
    if (error.code != ECANCELED) (void)outer_.send(Kind::failed, why);
    if (inner_fd_) (void)inner_.send(Kind::failed, why);
  }

 private:
  static constexpr std::size_t most_waiting = 4 << 20;

  Result<> carry() {
    if (!waiting_.empty()) {
      const ssize_t count = ::send(pages_.get(), waiting_.data(), waiting_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count > 0) waiting_.erase(0, static_cast<std::size_t>(count));
    }
    std::array<char, 4096> buffer;
    const ssize_t count = ::recv(pages_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (count <= 0) return {};  // its end says how it went
    asked_.append(buffer.data(), static_cast<std::size_t>(count));
    while (asked_.size() >= container::page_request_size) {
      const std::string request = asked_.substr(0, container::page_request_size);
      asked_.erase(0, request.size());
      // The source must not hear it from CRIU, which says this also when it failed: it hears it from us.
      if (container::is_end_of_pages(request)) {
        waiting_.append(sizeof(u32), '\0');
      } else {
        TRY(outer_.send(Kind::pages, request));
      }
    }
    return {};
  }

  Result<> hear_restore() {
    auto frame = inner_.receive();
    if (!frame) {
      if (!runs_) return frame.error().code == ECANCELED ? std::unexpected(Error{frame.error().why}) : fail("the container could not be restored");
      inner_fd_.reset();
      return {};
    }
    if (frame->kind == Kind::restored) hold_faults();
    if (frame->kind == Kind::running) runs_ = true;
    return outer_.send(frame->kind, frame->payload);
  }

  Result<> hear_source() {
    auto frame = outer_.receive();
    if (!frame) {
      // All is here, and it only did not hear so.
      if (ended_) {
        over_ = true;
        return {};
      }
      return std::unexpected(std::move(frame.error()));
    }
    switch (frame->kind) {
      case Kind::pages: waiting_ += frame->text(); return {};
      case Kind::commit: return inner_.send(frame->kind);
      case Kind::lazy_ack: over_ = ended_; return ended_ ? Result<>{} : fail("the stream of the move is malformed", "memory is said to be whole too early");
      default: return fail("the stream of the move is malformed", "a frame came that has no place while memory is fetched");
    }
  }

  Result<> daemon_ended() {
    TRY_ASSIGN(const host::ExitStatus status, daemon_.wait());
    if (status.shell_status() != 0) return fail("the container's memory could not be fetched", fmt::format("criu lazy-pages ended with {}", status.shell_status()));
    ended_ = true;
    if (auto told = outer_.send(Kind::lazy_end); !told) over_ = true;
    return {};
  }

  /// Copies of its descriptors of page faults: were it killed, the kernel would show zeros in place of what is missing. So who waits for a page
  /// waits on, until we have ended it.
  void hold_faults() {
    const std::string folder = fmt::format("/proc/{}/fd", daemon_.pid());
    std::error_code error;
    for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      std::error_code unreadable;
      if (std::filesystem::read_symlink(it->path(), unreadable).string().find("userfaultfd") == std::string::npos) continue;
      const int number = std::atoi(it->path().filename().c_str());
      faults_.emplace_back(static_cast<int>(::syscall(SYS_pidfd_getfd, daemon_.fd(), number, 0)));
    }
  }

  Stream& outer_;
  host::Fd inner_fd_;
  Stream inner_;
  host::Fd pages_;
  host::Process daemon_;
  std::vector<host::Fd> faults_;
  std::string waiting_, asked_;
  bool ended_ = false, over_ = false, runs_ = false;
};

/// Gone, not only told to go: until then CRIU and the faults it holds must stay.
void end_container(const std::string& state_root, const std::string& id) {
  constexpr int steps = 500, step_us = 10'000;
  for (int i = 0; i < steps; ++i) {
    const auto state = container::state(state_root, id);
    if (!state || state->status == container::Status::stopped) return;
    (void)container::kill(state_root, id, SIGKILL, true);
    ::usleep(step_us);
  }
}

}  // namespace

Result<Fetcher> fetch_lazily(Stream& outer, const container::criu::Program& program, const std::string& images, const std::string& state_root,
                             const std::string& id) {
  TRY_ASSIGN(auto inner, host::Fd::socketpair());
  Fetcher out{.inner = std::move(inner.first)};
  host::Fd theirs = std::move(inner.second);
  std::fflush(nullptr);
  out.pid = ::fork();
  if (out.pid < 0) return fail_errno("cannot start a process");
  if (out.pid > 0) {
    theirs.reset();
    Stream ready(out.inner.get(), out.inner.get());
    if (auto said = ready.expect(Kind::ready); !said) return std::unexpected(std::move(said.error()));
    return out;
  }
  // It outlives whoever started it, as the container does.
  ::setsid();
  out.inner.reset();
  // Nothing of the caller's stays open here, its locks above all.
  (void)host::close_all_but({outer.in(), outer.out(), theirs.get()}, STDERR_FILENO + 1);
  Stream first(theirs.get(), theirs.get());
  auto pages = host::Fd::socketpair();
  if (!pages) ::_exit(1);
  auto daemon = container::fetch_lazy_pages(program, images, pages->second.get());
  pages->second.reset();
  if (!daemon) {
    (void)first.send(Kind::failed, daemon.error().message().substr(0, 4096));
    ::_exit(1);
  }
  (void)first.send(Kind::ready);
  Carrier carrier(outer, std::move(theirs), std::move(pages->first), std::move(*daemon));
  const auto done = carrier.run();
  if (done) ::_exit(0);
  end_container(state_root, id);
  carrier.give_up(done.error());
  std::fprintf(stderr, "nagaya: %s\n", done.error().message().c_str());
  std::fflush(nullptr);
  ::_exit(1);
}

}  // namespace nagaya::migrate
