#include "api/http/terminal.hpp"

#include <boost/beast/websocket.hpp>

#include "api/asio/turn.hpp"
#include "api/http/answer.hpp"
#include "api/schema.hpp"

namespace nagaya::api {

namespace websocket = beast::websocket;

Answer<TerminalMessage> parse_terminal_message(std::string_view text) {
  const auto message = read_json(text);
  if (!message) return std::unexpected(message.error());
  if (!message->is_object() || message->size() != 1 || !message->contains("resize")) return refuse(400, "only resize is understood");
  const Json& size = (*message)["resize"];
  const auto fits = [](const Json& n) { return n.is_number_integer() && n >= 1 && n <= 65535; };
  if (!size.is_array() || size.size() != 2 || !fits(size[0]) || !fits(size[1])) return refuse(400, "resize: it must be [columns, rows]", "resize");
  return TerminalMessage{size[0].get<u16>(), size[1].get<u16>()};
}

namespace {

class TerminalSession {
 public:
  TerminalSession(Context& context, LocalStream stream, std::string protocol, Terminal terminal, Caller caller)
      : context_(context), socket_(std::move(stream)), framed_(protocol == "nagaya.streams"), protocol_(std::move(protocol)), terminal_(std::move(terminal)),
        caller_(std::move(caller)), program_(context.io), errors_(context.io), turn_(context.io), changed_(context.io) {}

  net::awaitable<void> run(const http::request<http::empty_body>& request) {
    ErrorCode error;
    program_.assign(net::local::stream_protocol(), terminal_.stream.release(), error);
    if (!error && terminal_.errors) errors_.assign(terminal_.errors.release(), error);
    if (error) co_return;
    // Not Beast's own idle time: it counts a client as silent while we do not read because the program does not.
    socket_.set_option(websocket::stream_base::timeout{.handshake_timeout = std::chrono::seconds(context_.limits.handshake_seconds),
                                                       .idle_timeout = websocket::stream_base::none(),
                                                       .keep_alive_pings = false});
    socket_.control_callback([this](websocket::frame_type, beast::string_view) { heard_ = std::chrono::steady_clock::now(); });
    socket_.set_option(websocket::stream_base::decorator([this](websocket::response_type& response) {
      response.set(http::field::sec_websocket_protocol, protocol_);
      response.set(http::field::cache_control, "no-store");
    }));
    socket_.read_message_max(MiB);
    socket_.auto_fragment(false);
    co_await socket_.async_accept(request, quietly(error));
    if (error) co_return;
    auto& metrics = context_.service.core().metrics;
    metrics.websockets++;
    const ScopeExit leave([&] { metrics.websockets--; });
    const Closer closer(context_, [this] { begin_close(websocket::close_code::going_away); });
    const GoneWatch gone(context_.io, static_cast<int>(beast::get_lowest_layer(socket_).socket().native_handle()), [this] { cut(); });
    parts_ = errors_.is_open() ? 4 : 3;
    open_outputs_ = errors_.is_open() ? 2 : 1;
    start(input());
    start(output(program_, 1));
    if (errors_.is_open()) start(output(errors_, 2));
    start(watch_client());
    // Everything above uses this object: it goes when the last part has ended.
    while (parts_ != 0) co_await wait_change();
    ErrorCode ignored;
    if (!closing_ && socket_.is_open()) co_await socket_.async_close(websocket::close_code::normal, quietly(ignored));
  }

 private:
  void start(net::awaitable<void> part) {
    net::co_spawn(
        context_.io, std::move(part), [this](std::exception_ptr) {
          parts_--;
          changed_.cancel();
        });
  }

  net::awaitable<void> wait_change() {
    ErrorCode ignored;
    changed_.expires_at(net::steady_timer::time_point::max());
    co_await changed_.async_wait(quietly(ignored));
  }

  // From the client to the program. The next message is read when this one was taken.
  net::awaitable<void> input() {
    beast::flat_buffer message;
    for (;;) {
      ErrorCode error;
      heard_ = std::chrono::steady_clock::now();
      reading_ = true;
      co_await socket_.async_read(message, quietly(error));
      reading_ = false;
      if (error) break;
      const std::string_view bytes(static_cast<const char*>(message.data().data()), message.size());
      if (socket_.got_text()) {
        const auto said = parse_terminal_message(bytes);
        if (!said) {
          begin_close(websocket::close_code::policy_error);
          break;
        }
        if (said->columns != 0 && terminal_.resize) terminal_.resize(said->columns, said->rows);
      } else {
        const bool taken = co_await give(bytes);
        // A program that reads no more still writes.
        if (!taken) deaf_ = true;
      }
      message.consume(message.size());
    }
    client_gone_ = true;
    ErrorCode ignored;
    program_.close(ignored);
    errors_.close(ignored);
    terminal_.keep.reset();
    ended_.request_stop();
    context_.wake_sleepers();
  }

  net::awaitable<bool> give(std::string_view bytes) {
    ErrorCode error;
    if (deaf_) co_return true;
    if (framed_) {
      if (bytes.empty() || bytes[0] != 0) {
        begin_close(websocket::close_code::policy_error);
        co_return true;
      }
      bytes.remove_prefix(1);
      if (bytes.empty()) {
        program_.shutdown(net::socket_base::shutdown_send, error);
        co_return !error;
      }
    }
    co_await net::async_write(program_, net::buffer(bytes.data(), bytes.size()), quietly(error));
    co_return !error;
  }

  template <class Source>
  net::awaitable<void> output(Source& source, char number) {
    const auto piece = std::make_unique<std::array<char, 32 * KiB>>();
    (*piece)[0] = number;
    const std::size_t skip = framed_ ? 1 : 0;
    for (;;) {
      ErrorCode error;
      const std::size_t got = co_await source.async_read_some(net::buffer(piece->data() + skip, piece->size() - skip), quietly(error));
      if (error || client_gone_) break;
      if (!co_await send({piece->data(), got + skip}, true)) break;
    }
    if (--open_outputs_ == 0 && !client_gone_) co_await tell_end();
  }

  net::awaitable<void> tell_end() {
    auto code = std::make_shared<std::optional<int>>();
    // Named: of a closure within a co_await, GCC 12 destroys what it holds twice.
    const std::function<void()> ask = [code, exit_code = terminal_.exit_code] { *code = exit_code(); };
    if (terminal_.exit_code) co_await run_slow(context_, ask);
    if (!client_gone_) {
      Json message = Json::object();
      message["exit"] = nullptr;
      if (*code) message["exit"] = **code;
      const std::string text = message.dump();
      co_await send(text, false);
    }
    begin_close(websocket::close_code::normal);
  }

  net::awaitable<bool> send(std::string_view bytes, bool binary) { return send_message(socket_, turn_, bytes, binary); }

  // A token that is withdrawn, or that has expired, ends what it opened; so does a client that answers no ping.
  net::awaitable<void> watch_client() {
    const std::chrono::seconds pause(context_.limits.ping_seconds);
    auto pinged = std::chrono::steady_clock::now();
    while (!ended_.stop_requested()) {
      if (!context_.service.core().tokens.renewed(caller_)) begin_close(websocket::close_code::policy_error);
      const auto now = std::chrono::steady_clock::now();
      if (reading_ && now - heard_ > 2 * pause) cut();
      if (reading_ && !closing_ && now - pinged > pause) {
        pinged = now;
        ErrorCode ignored;
        co_await socket_.async_ping({}, quietly(ignored));
      }
      co_await sleep_until_event(context_, std::chrono::milliseconds(1000));
    }
  }

  void cut() { beast::get_lowest_layer(socket_).close(); }

  void begin_close(websocket::close_code code) {
    if (closing_) return;
    closing_ = true;
    parts_++;
    start(close(code));
  }

  net::awaitable<void> close(websocket::close_code code) {
    const Deadline deadline(context_.io, std::chrono::seconds(10), [this] { cut(); });
    ErrorCode ignored;
    co_await socket_.async_close(code, quietly(ignored));
  }

  Context& context_;
  websocket::stream<LocalStream> socket_;
  const bool framed_;
  const std::string protocol_;
  Terminal terminal_;
  const Caller caller_;
  net::local::stream_protocol::socket program_;
  net::posix::stream_descriptor errors_;
  Turn turn_;
  net::steady_timer changed_;
  std::stop_source ended_;
  std::chrono::steady_clock::time_point heard_{};
  bool reading_ = false, closing_ = false, client_gone_ = false, deaf_ = false;
  int parts_ = 0, open_outputs_ = 1;
};

}  // namespace

net::awaitable<void> serve_terminal(Context& context, LocalStream stream, const http::request<http::empty_body>& request, std::string protocol,
                                    Terminal terminal, Caller caller) {
  TerminalSession session(context, std::move(stream), std::move(protocol), std::move(terminal), std::move(caller));
  co_await session.run(request);
}

}  // namespace nagaya::api
