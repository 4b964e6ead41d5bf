#include "domain/console_hub.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace nagaya::domain {
namespace {

constexpr u32 nothing = 0, readable_now = EPOLLIN, writable_now = EPOLLOUT;
constexpr std::size_t most_clients = 64, crowded = 1 * MiB, most_input = 1 * MiB, piece = 32 * KiB;

}  // namespace

ConsoleHub::~ConsoleHub() {
  for (const host::Fd* fd : {&listener_, &input_, &out_, &err_, &timer_}) {
    if (*fd) loop_.remove(fd->get());
  }
  for (const Client& client : clients_) loop_.remove(client.socket.get());
  if (listener_) ::unlink(path_.c_str());
}

Result<> ConsoleHub::listen(const std::string& path) {
  const mode_t before = ::umask(0177);
  auto made = host::Fd::listen_unix(path, SOCK_SEQPACKET);
  ::umask(before);
  if (!made) return std::unexpected(std::move(made.error()));
  listener_ = std::move(*made);
  path_ = path;
  TRY(host::set_nonblocking(listener_.get()));
  return loop_.add(listener_.get(), EPOLLIN, [this](u32) { accept(); });
}

Result<> ConsoleHub::connect(host::Fd input, host::Fd out, host::Fd err, bool terminal) {
  input_ = std::move(input);
  out_ = std::move(out);
  err_ = std::move(err);
  terminal_ = terminal;
  input_ended_ = input_watched_ = false;
  to_input_.clear();
  TRY(host::set_nonblocking(out_.get()));
  TRY(loop_.add(out_.get(), EPOLLIN, [this](u32) { pump(Stream::out); }));
  if (err_) {
    TRY(host::set_nonblocking(err_.get()));
    TRY(loop_.add(err_.get(), EPOLLIN, [this](u32) { pump(Stream::err); }));
  }
  if (terminal_) {
    TRY_ASSIGN(timer_, host::Fd::timerfd());
    TRY(loop_.add(timer_.get(), EPOLLIN, [this](u32) {
      u64 count = 0;
      (void)!::read(timer_.get(), &count, sizeof count);
      if (out_ && !held_) (void)loop_.modify(out_.get(), readable_now);
    }));
  }
  if (input_) {
    TRY(host::set_nonblocking(input_.get()));
    TRY(loop_.add(input_.get(), 0, [this](u32) { write_input(); }));
  }
  return {};
}

void ConsoleHub::accept() {
  host::Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket || clients_.size() >= most_clients) return;
  Client& client = clients_.emplace_back();
  client.socket = std::move(socket);
  const int fd = client.socket.get();
  const auto added = loop_.add(fd, EPOLLIN, [this, &client](u32 events) {
    if ((events & EPOLLOUT) != 0) flush(client);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) readable(client);
  });
  if (!added) clients_.pop_back();
}

void ConsoleHub::forget(Client& client) {
  loop_.remove(client.socket.get());
  clients_.remove_if([&](const Client& other) { return &other == &client; });
  watch();
}

void ConsoleHub::readable(Client& client) {
  bool gone = false;
  const auto message = receive_console(client.socket.get(), false, &gone);
  if (gone) return forget(client);
  if (message) take(client, *message);
}

void ConsoleHub::take(Client& client, const ConsoleMessage& message) {
  switch (message.word) {
    case ConsoleWord::attach: client.listens = true; break;
    case ConsoleWord::go: hooks_.go(); break;
    case ConsoleWord::no_restart:
      hooks_.no_restart();
      (void)send_console(client.socket.get(), ConsoleWord::done, {}, false);
      break;
    case ConsoleWord::signal: hooks_.signal(std::atoi(message.bytes.c_str())); break;
    case ConsoleWord::input:
      if (input_ && !input_ended_ && to_input_.size() < most_input) to_input_ += message.bytes;
      write_input();
      break;
    case ConsoleWord::input_end:
      // The end of a terminal's input is a character, which the client has sent as such.
      if (!terminal_) input_ended_ = true;
      write_input();
      break;
    case ConsoleWord::resize: {
      unsigned columns = 0, rows = 0;
      if (terminal_ && out_ && std::sscanf(message.bytes.c_str(), "%u %u", &columns, &rows) == 2 && columns < 65536 && rows < 65536) {
        const winsize size{static_cast<unsigned short>(rows), static_cast<unsigned short>(columns), 0, 0};
        (void)::ioctl(out_.get(), TIOCSWINSZ, &size);
      }
      break;
    }
    default: break;
  }
}

void ConsoleHub::write_input() {
  if (!input_) return;
  while (!to_input_.empty()) {
    const ssize_t put = ::write(input_.get(), to_input_.data(), to_input_.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) break;
    if (put < 0) {
      to_input_.clear();
      break;
    }
    to_input_.erase(0, static_cast<std::size_t>(put));
  }
  const bool waits = !to_input_.empty();
  if (waits != input_watched_) (void)loop_.modify(input_.get(), waits ? writable_now : nothing);
  input_watched_ = waits;
  // Who sends more than the program reads has to wait.
  for (Client& client : clients_) (void)loop_.modify(client.socket.get(), (to_input_.size() < most_input ? readable_now : nothing) | (client.queue.empty() ? nothing : writable_now));
  if (!waits && input_ended_) {
    loop_.remove(input_.get());
    input_.reset();
  }
}

void ConsoleHub::pump(Stream stream) {
  host::Fd& fd = stream == Stream::out ? out_ : err_;
  std::array<char, piece> buffer;
  const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
  if (got > 0) {
    pause_ms_ = first_pause_ms;
    return deliver(stream, {buffer.data(), static_cast<std::size_t>(got)});
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // EIO: nobody has the terminal open, or it was hung up (vhangup(2), as at each login). It may be opened again, of which nothing tells.
  if (terminal_ && errno == EIO) look_again_later();
  (void)loop_.modify(fd.get(), 0);
  if (!terminal_) {
    loop_.remove(fd.get());
    fd.reset();
  }
}

void ConsoleHub::look_again_later() {
  if (!timer_) return;
  const itimerspec when{{}, {pause_ms_ / 1000, static_cast<long>(pause_ms_ % 1000) * 1'000'000}};
  (void)::timerfd_settime(timer_.get(), 0, &when, nullptr);
  pause_ms_ = std::min(pause_ms_ * 2, longest_pause_ms);
}

void ConsoleHub::deliver(Stream stream, std::string_view data) {
  log_.write(stream, data);
  const ConsoleWord word = stream == Stream::err ? ConsoleWord::err : ConsoleWord::out;
  for (Client& client : clients_) {
    if (!client.listens) continue;
    if (client.queue.empty() && send_console(client.socket.get(), word, data, false)) continue;
    client.queue.emplace_back(word, std::string(data));
    client.queued += data.size();
    (void)loop_.modify(client.socket.get(), EPOLLIN | EPOLLOUT);
  }
  watch();
}

void ConsoleHub::flush(Client& client) {
  while (!client.queue.empty()) {
    const auto& [word, bytes] = client.queue.front();
    if (!send_console(client.socket.get(), word, bytes, false)) {
      if (errno != EAGAIN) client.queue.clear();
      break;
    }
    client.queued -= bytes.size();
    client.queue.pop_front();
  }
  if (client.queue.empty()) {
    client.queued = 0;
    (void)loop_.modify(client.socket.get(), EPOLLIN);
  }
  watch();
}

void ConsoleHub::watch() {
  bool hold = false;
  for (const Client& client : clients_) hold |= client.queued > crowded;
  if (hold == held_) return;
  held_ = hold;
  if (out_) (void)loop_.modify(out_.get(), hold ? nothing : readable_now);
  if (err_) (void)loop_.modify(err_.get(), hold ? nothing : readable_now);
}

void ConsoleHub::drain() {
  for (const Stream stream : {Stream::out, Stream::err}) {
    host::Fd& fd = stream == Stream::out ? out_ : err_;
    std::array<char, piece> buffer;
    // A process outside the container that has the pipe open could write for ever: no more than the pipe can hold.
    for (std::size_t all = 0; fd && all < 16 * MiB;) {
      const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) break;
      all += static_cast<std::size_t>(got);
      deliver(stream, {buffer.data(), static_cast<std::size_t>(got)});
    }
  }
  for (host::Fd* fd : {&input_, &out_, &err_, &timer_}) {
    if (*fd) loop_.remove(fd->get());
    fd->reset();
  }
  log_.finish();
}

void ConsoleHub::finish(ConsoleWord word, const std::string& text) {
  for (Client& client : clients_) {
    // What waits comes first, however long the client takes, within reason.
    const timeval patience{10, 0};
    (void)::setsockopt(client.socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    const int flags = ::fcntl(client.socket.get(), F_GETFL);
    (void)::fcntl(client.socket.get(), F_SETFL, flags & ~O_NONBLOCK);
    bool alive = true;
    for (const auto& [kind, bytes] : client.queue) alive = alive && send_console(client.socket.get(), kind, bytes, true);
    client.queue.clear();
    if (alive) (void)send_console(client.socket.get(), word, text, true);
  }
}

}  // namespace nagaya::domain
