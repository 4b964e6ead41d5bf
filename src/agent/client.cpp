#include "agent/client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "host/timer_queue.hpp"

namespace nagaya::agent {
namespace {

constexpr int answer_timeout_ms = 20'000;
constexpr useconds_t pause_us = 100'000;
constexpr std::size_t longest_answer = 32;
constexpr const char* hint = "is nagaya-agent running in the guest?";

/// "OK 1073741824\n"; nothing when nobody listens in the guest.
Result<bool> greeted(int fd) {
  std::string line;
  while (line.size() < longest_answer) {
    pollfd wait{fd, POLLIN, 0};
    const int ready = ::poll(&wait, 1, answer_timeout_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return fail_errno("the guest's agent does not answer", ready == 0 ? ETIMEDOUT : 0);
    char byte;
    const ssize_t n = ::recv(fd, &byte, 1, 0);
    if (n <= 0) return false;
    if (byte == '\n') return line.starts_with("OK ");
    line += byte;
  }
  return false;
}

Result<Channel> connect_once(const std::string& socket) {
  auto fd = host::Fd::connect_unix(socket);
  if (!fd) {
    if (fd.error().code == ENOENT || fd.error().code == ECONNREFUSED) {
      return std::unexpected(Error{"the machine does not run, or has no vsock", "nobody is at '" + socket + "'", {}, fd.error().code});
    }
    return std::unexpected(std::move(fd.error()));
  }
  const std::string line = "CONNECT " + std::to_string(vsock_port) + "\n";
  if (::send(fd->get(), line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    return std::unexpected(Error{"the guest's agent does not answer", "the connection ended", hint, ECONNRESET});
  }
  TRY_ASSIGN(const bool there, greeted(fd->get()));
  if (!there) return std::unexpected(Error{"the guest's agent does not answer", "nobody listens in the guest", hint, ECONNRESET});
  return Channel(std::move(*fd));
}

Result<std::vector<u8>> ask_once(const std::string& socket, const Request& request, int patience_ms) {
  TRY_ASSIGN(Channel channel, connect(socket, patience_ms));
  return ask(channel, request);
}

}  // namespace

std::unexpected<Error> failure_of(const Frame& frame) {
  if (frame.kind != Kind::failed) return fail("the guest's agent", "an answer that has no place here");
  auto failure = decode_failure(frame.payload);
  if (!failure) return std::unexpected(std::move(failure.error()));
  // The text is the guest's: no control characters reach a terminal.
  for (char& c : failure->text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 127) c = '?';
  }
  return std::unexpected(Error{failure->text.substr(0, 4096), {}, {}, failure->code});
}

Result<Channel> connect(const std::string& socket, int patience_ms) {
  const u64 end = host::monotonic_ns() + static_cast<u64>(patience_ms) * 1'000'000;
  while (true) {
    auto channel = connect_once(socket);
    if (channel || channel.error().code != ECONNRESET || host::monotonic_ns() >= end) return channel;
    ::usleep(pause_us);
  }
}

Result<std::vector<u8>> ask(Channel& channel, const Request& request) {
  const auto payload = encode(request);
  if (payload.size() > most_payload) return fail("the request to the guest's agent", "it is too long");
  TRY(channel.send(Kind::request, payload));
  TRY_ASSIGN(auto frame, channel.receive(answer_timeout_ms));
  if (!frame) return fail("the guest's agent", "it ended the connection");
  if (frame->kind != Kind::accepted) return failure_of(*frame);
  return std::move(frame->payload);
}

Result<std::vector<std::string>> ping(const std::string& socket, int patience_ms) {
  TRY_ASSIGN(const auto answer, ask_once(socket, {.operation = Operation::ping}, patience_ms));
  return decode_texts(answer);
}

Result<> set_time(const std::string& socket, int patience_ms) {
  const u64 end = host::monotonic_ns() + static_cast<u64>(patience_ms) * 1'000'000;
  while (true) {
    // Of the whole exchange: a restored guest may take the connection before it reads that its transport was reset
    // (Virtio 1.2, 5.10.6.7.1), and then ends it.
    auto done = [&]() -> Result<> {
      TRY_ASSIGN(Channel channel, connect_once(socket));
      TRY(ask(channel, {.operation = Operation::set_time, .time_ns = host::wall_clock_ns()}));
      return {};
    }();
    if (done || host::monotonic_ns() >= end) return done;
    ::usleep(pause_us);
  }
}

Result<> power(const std::string& socket, Power kind) {
  TRY(ask_once(socket, {.operation = Operation::power, .power = kind}, 0));
  return {};
}

Result<std::vector<std::string>> addresses(const std::string& socket) {
  TRY_ASSIGN(const auto answer, ask_once(socket, {.operation = Operation::addresses}, 0));
  return decode_texts(answer);
}

}  // namespace nagaya::agent
