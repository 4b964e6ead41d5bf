// Messages of a WebSocket that several coroutines send: Beast takes one write at a time.
#pragma once
#include <string_view>

#include "api/asio/asio.hpp"

namespace nagaya::api {

/// Whose turn it is; all who ask run on one thread.
class Turn {
 public:
  explicit Turn(net::io_context& io) : free_(io) {}

  net::awaitable<void> take() {
    while (taken_) {
      ErrorCode ignored;
      free_.expires_at(net::steady_timer::time_point::max());
      co_await free_.async_wait(quietly(ignored));
    }
    taken_ = true;
  }
  void leave() {
    taken_ = false;
    free_.cancel();
  }

 private:
  net::steady_timer free_;
  bool taken_ = false;
};

/// False: the peer has gone.
template <class WebSocket>
net::awaitable<bool> send_message(WebSocket& socket, Turn& turn, std::string_view bytes, bool binary) {
  co_await turn.take();
  ErrorCode error;
  socket.binary(binary);
  co_await socket.async_write(net::buffer(bytes.data(), bytes.size()), quietly(error));
  turn.leave();
  co_return !error;
}

}  // namespace nagaya::api
