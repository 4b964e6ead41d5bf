// The client's end of a console or program over a WebSocket.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/beast/websocket.hpp>
#include <cerrno>
#include <optional>

#include "api/asio/turn.hpp"
#include "api/client/link.hpp"
#include "host/fd.hpp"

namespace nagaya::api {
namespace {

namespace websocket = beast::websocket;
using Json = nlohmann::json;
constexpr char detach_byte = 0x1D;  // Ctrl-]

/// A descriptor of ours that may be a file, which epoll does not take: then reading never waits.
class Input {
 public:
  Input(net::io_context& io, int fd) : waiting_(io) {
    ErrorCode error;
    const int copy = fd < 0 ? -1 : ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy >= 0) waiting_.assign(copy, error);
    if (copy >= 0 && error) file_ = host::Fd(copy);
  }
  [[nodiscard]] bool given() const { return waiting_.is_open() || file_; }
  void cancel() {
    ErrorCode ignored;
    if (waiting_.is_open()) waiting_.cancel(ignored);
  }
  /// Bytes; 0 at the end. The descriptor stays blocking: it is shared with whoever started us.
  net::awaitable<std::size_t> read(std::span<char> out) {
    if (waiting_.is_open()) {
      ErrorCode error;
      co_await waiting_.async_wait(net::posix::stream_descriptor::wait_read, quietly(error));
      if (error) co_return 0;
    }
    const ssize_t got = ::read(waiting_.is_open() ? waiting_.native_handle() : file_.get(), out.data(), out.size());
    co_return got < 0 ? 0 : static_cast<std::size_t>(got);
  }

 private:
  net::posix::stream_descriptor waiting_;
  host::Fd file_;
};

class Attached {
 public:
  Attached(net::io_context& io, LocalStream link, const RemoteStreams& streams)
      : io_(io), socket_(std::move(link)), streams_(streams), input_(io, streams.input), resized_(io), free_(io), turn_(io) {}

  net::awaitable<Result<std::optional<int>>> run(const Remote& remote, const std::string& path) {
    ErrorCode error;
    socket_.set_option(websocket::stream_base::decorator([&](websocket::request_type& request) {
      request.set(http::field::sec_websocket_protocol, streams_.terminal ? "nagaya.terminal" : "nagaya.streams");
      if (!remote.token.empty()) request.set(http::field::authorization, "Bearer " + remote.token);
    }));
    websocket::response_type response;
    co_await socket_.async_handshake(response, authority(remote), "/v1" + path, quietly(error));
    if (error == websocket::error::upgrade_declined) co_return told(response.result_int(), response.body());
    if (error) co_return broken(remote, error);
    socket_.read_message_max(4 * MiB);
    if (input_.given() || !streams_.terminal) start(send_input());
    if (streams_.terminal && streams_.size) start(send_sizes());
    co_await receive();
    ended_ = true;
    input_.cancel();
    if (resized_.is_open()) resized_.cancel(error);
    while (parts_ != 0) {
      free_.expires_at(net::steady_timer::time_point::max());
      co_await free_.async_wait(quietly(error));
    }
    if (failure_) co_return std::unexpected(std::move(*failure_));
    co_return code_;
  }

 private:
  void start(net::awaitable<void> part) {
    parts_++;
    net::co_spawn(io_, std::move(part), [this](std::exception_ptr) {
      parts_--;
      free_.cancel();
    });
  }

  net::awaitable<void> receive() {
    beast::flat_buffer message;
    for (;;) {
      ErrorCode error;
      co_await socket_.async_read(message, quietly(error));
      if (error) {
        const bool orderly = error == websocket::error::closed || code_ || detached_;
        if (!orderly) failure_ = Error{"the connection to the server broke", error.message()};
        co_return;
      }
      const std::string_view bytes(static_cast<const char*>(message.data().data()), message.size());
      if (socket_.got_text()) {
        const Json said = Json::parse(bytes, nullptr, false);
        if (said.is_object() && said.contains("exit") && said["exit"].is_number_integer()) code_ = said["exit"].get<int>();
      } else if (streams_.terminal) {
        (void)host::write_all(streams_.output, bytes);
      } else if (!bytes.empty()) {
        (void)host::write_all(bytes[0] == 2 ? streams_.errors : streams_.output, bytes.substr(1));
      }
      message.consume(message.size());
    }
  }

  net::awaitable<bool> send(std::string_view bytes, bool binary) { return send_message(socket_, turn_, bytes, binary); }

  net::awaitable<void> send_input() {
    std::array<char, 16 * KiB> bytes;
    bytes[0] = 0;
    const std::size_t skip = streams_.terminal ? 0 : 1;
    while (!ended_) {
      std::size_t got = 0;
      if (input_.given()) got = co_await input_.read(std::span(bytes).subspan(skip));
      if (ended_) co_return;
      if (got == 0) {
        if (skip != 0) co_await send({bytes.data(), 1}, true);
        co_return;
      }
      const std::string_view typed(bytes.data() + skip, got);
      if (streams_.detach_key && typed.find(detach_byte) != std::string_view::npos) {
        detached_ = true;
        ErrorCode ignored;
        co_await socket_.async_close(websocket::close_code::normal, quietly(ignored));
        co_return;
      }
      if (!co_await send({bytes.data(), got + skip}, true)) co_return;
    }
  }

  net::awaitable<void> send_sizes() {
    ErrorCode error;
    if (streams_.resized >= 0) resized_.assign(::fcntl(streams_.resized, F_DUPFD_CLOEXEC, 3), error);
    while (!ended_) {
      const host::TerminalSize size = streams_.size();
      // Made before: GCC 12 cannot keep lists of initializers across a co_await.
      const std::string message = fmt::format("{{\"resize\": [{}, {}]}}", size.columns, size.rows);
      co_await send(message, false);
      if (!resized_.is_open()) co_return;
      co_await resized_.async_wait(net::posix::stream_descriptor::wait_read, quietly(error));
      if (error) co_return;
      std::array<u8, 512> drained;
      (void)::read(resized_.native_handle(), drained.data(), drained.size());
    }
  }

  net::io_context& io_;
  websocket::stream<LocalStream> socket_;
  const RemoteStreams& streams_;
  Input input_;
  net::posix::stream_descriptor resized_;
  net::steady_timer free_;
  Turn turn_;
  int parts_ = 0;
  bool ended_ = false, detached_ = false;
  std::optional<int> code_;
  std::optional<Error> failure_;
};

net::awaitable<Result<std::optional<int>>> connect_and_attach(net::io_context& io, const Remote& remote, net::ssl::context* tls, const std::string& path,
                                                              const RemoteStreams& streams) {
  auto link = co_await connect(remote, tls);
  if (!link) co_return std::unexpected(std::move(link.error()));
  Attached attached(io, std::move(*link), streams);
  co_return co_await attached.run(remote, path);
}

}  // namespace

Result<std::optional<int>> Client::attach(const std::string& path, const RemoteStreams& streams) const {
  TRY_ASSIGN(const auto tls, client_tls(remote_));
  net::io_context io{1};
  Result<std::optional<int>> out;
  net::co_spawn(io, connect_and_attach(io, remote_, tls.get(), path, streams), [&](std::exception_ptr thrown, Result<std::optional<int>> result) {
    if (thrown) {
      out = fail("the connection to the server failed");
    } else {
      out = std::move(result);
    }
  });
  io.run();
  return out;
}

}  // namespace nagaya::api
