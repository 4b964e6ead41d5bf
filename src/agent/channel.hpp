// Frames over a connected stream socket, for both sides.
#pragma once
#include "agent/protocol.hpp"
#include "host/fd.hpp"

namespace nagaya::agent {

class Channel {
 public:
  explicit Channel(host::Fd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] int fd() const { return socket_.get(); }

  // ---- One after the other. ----
  /// Waits until the frame is on its way.
  Result<> send(Kind kind, std::span<const u8> payload = {});
  /// Waits for a frame; nothing at the end of the connection. `timeout_ms` -1: no limit.
  Result<std::optional<Frame>> receive(int timeout_ms = -1);

  // ---- Beside other work. ----
  /// Puts a frame behind those that wait.
  void queue(Kind kind, std::span<const u8> payload = {}) { put_frame(out_, kind, payload); }
  /// Bytes that wait to be sent.
  [[nodiscard]] std::size_t waiting() const { return out_.size() - out_at_; }
  /// Sends what the socket has room for.
  Result<> flush();
  /// Takes what has arrived; false at the end of the connection.
  Result<bool> fill();
  Result<std::optional<Frame>> next() { return reader_.next(); }

 private:
  host::Fd socket_;
  FrameReader reader_;
  std::vector<u8> out_;
  std::size_t out_at_ = 0;
};

}  // namespace nagaya::agent
