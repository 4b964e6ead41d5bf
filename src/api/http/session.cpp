// One connection: requests one after the other, until one asks for a WebSocket.
#include <fmt/format.h>

#include <limits>

#include "api/http/accept.hpp"
#include "api/http/answer.hpp"
#include "api/http/context.hpp"
#include "api/http/terminal.hpp"
#include "base/log.hpp"

namespace nagaya::api {
namespace {

class Session {
 public:
  Session(Context& context, LocalStream stream, Peer peer) : context_(context), stream_(std::move(stream)), peer_(std::move(peer)) {
    context_.connections++;
    context_.service.core().metrics.connections++;
  }
  ~Session() {
    context_.connections--;
    context_.service.core().metrics.connections--;
    context_.body_bytes -= counted_;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  net::awaitable<void> run() {
    // Not in the loop's condition: there GCC 12 makes code that traps.
    for (bool more = true; more;) {
      more = co_await serve_one();
    }
  }

 private:
  using Parser = http::request_parser<http::buffer_body>;
  using Seconds = std::chrono::seconds;
  // Reads end by being cancelled, so that there is still a stream to answer on; writes end with the connection.
  void read_mode() { stream_.expires_never(); }
  void write_mode(bool stream = false) { stream_.expires_after(Seconds(stream ? context_.limits.stream_seconds : context_.limits.write_seconds)); }

  net::awaitable<bool> serve_one() {
    Parser parser;
    parser.header_limit(static_cast<u32>(context_.limits.head_bytes));
    parser.body_limit(std::numeric_limits<u64>::max());
    ErrorCode error;
    bool timed_out = false;
    {
      read_mode();
      const Closer closer(context_, [this] { stream_.cancel(); });
      const Deadline deadline(context_.io, Seconds(context_.limits.head_seconds), [this] { stream_.cancel(); });
      if (context_.draining) co_return false;
      co_await http::async_read_header(stream_, buffer_, parser, quietly(error));
      timed_out = deadline.passed();
    }
    if (error) {
      co_await refuse_head(error, timed_out, parser.got_some() || buffer_.size() != 0);
      co_return false;
    }
    const auto begun = std::chrono::steady_clock::now();
    const Head head = head_of(parser.get(), parser.content_length() ? std::optional<u64>(*parser.content_length()) : std::nullopt, parser.chunked());
    // Of all Connection fields: the message's own function looks at the first.
    keep_alive_ = parser.keep_alive() && !context_.draining;
    version_ = parser.get().version();
    head_only_ = head.method == "HEAD";
    auto step = context_.service.begin(head, peer_);
    if (Reply* reply = std::get_if<Reply>(&step)) {
      const bool whole = parser.is_done();
      co_return co_await finish(head, "-", *reply, begun, whole);
    }
    auto job = std::make_shared<Job>(context_.io, std::move(std::get<Call>(step)));
    const std::string name = job->call.operation == nullptr ? "metrics" : job->call.operation->id;
    if (job->call.operation != nullptr && job->call.operation->websocket) {
      co_await run_terminal(parser, head, job, begun);
      co_return false;
    }
    // An upload without a byte is one, too: whoever takes it reads its end.
    if (!parser.is_done() || job->call.upload) {
      if (!parser.is_done() && head.find("expect") && version_ == 11) {
        static constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        write_mode();
        co_await net::async_write(stream_, net::buffer(go_on), quietly(error));
        if (error) co_return false;
      }
      if (job->call.upload) {
        if (!co_await upload(parser, job)) co_return false;
        co_return co_await finish(head, name, job->reply, begun, parser.is_done());
      }
      const Answer<> read = co_await read_body(parser, job);
      if (!read) {
        if (read.error().status == 0) co_return false;
        Reply reply = problem_reply(read.error());
        co_return co_await finish(head, name, reply, begun, false);
      }
    }
    co_await carry_out(job);
    job->body = {};
    context_.body_bytes -= std::exchange(counted_, 0);
    co_return co_await finish(head, name, job->reply, begun, true);
  }

  // What is no request of HTTP is answered as one as far as that goes, and the connection ends.
  net::awaitable<void> refuse_head(ErrorCode error, bool timed_out, bool begun) {
    Problem problem{.status = 400, .detail = fmt::format("this is no request: {}", error.message())};
    if (error == http::error::end_of_stream || (!begun && !timed_out)) co_return end();
    if (timed_out || error == net::error::operation_aborted) {
      if (!begun) co_return end();
      problem = {.status = 408, .detail = "the request did not come"};
    } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      problem = {.status = 431, .detail = fmt::format("the head must have {} bytes at most", context_.limits.head_bytes)};
    } else if (error.category() != make_error_code(http::error::bad_method).category()) {
      co_return;  // the connection broke
    }
    keep_alive_ = false;
    version_ = 11;
    head_only_ = false;
    Reply reply = problem_reply(problem);
    co_await write_whole(reply);
    co_await linger();
  }

  net::awaitable<Answer<>> read_body(Parser& parser, std::shared_ptr<Job> job) {
    std::array<char, 16 * KiB> piece;
    const Deadline deadline(context_.io, Seconds(context_.limits.body_seconds), [this] { stream_.cancel(); });
    read_mode();
    while (!parser.is_done()) {
      parser.get().body().data = piece.data();
      parser.get().body().size = piece.size();
      parser.get().body().more = true;
      ErrorCode error;
      co_await http::async_read_some(stream_, buffer_, parser, quietly(error));
      if (error == http::error::need_buffer) error = {};
      if (deadline.passed()) co_return refuse(408, "the body did not come");
      if (error && error.category() == make_error_code(http::error::bad_chunk).category() && error != http::error::partial_message) {
        co_return refuse(400, fmt::format("the body is damaged: {}", error.message()));
      }
      if (error) co_return refuse(0, "");
      const std::size_t got = piece.size() - parser.get().body().size;
      if (job->body.size() + got > job->call.body_limit) co_return refuse(413, fmt::format("the body must have {} bytes at most", job->call.body_limit));
      if (context_.body_bytes + got > context_.limits.body_bytes_at_once) {
        co_return std::unexpected(Problem{.status = 503, .detail = "too many large requests at once", .retry_after = 1});
      }
      job->body.append(piece.data(), got);
      context_.body_bytes += got;
      counted_ += got;
    }
    co_return Answer<>();
  }

  // The body goes through a pipe to a worker while it comes. False: the client has gone.
  net::awaitable<bool> upload(Parser& parser, std::shared_ptr<Job> job) {
    auto pipe = host::Fd::pipe();
    if (!pipe) {
      job->reply = problem_reply(problem_of(pipe.error()));
      co_return true;
    }
    job->call.upload_stream = std::move(pipe->first);
    net::posix::stream_descriptor sink(context_.io, pipe->second.release());
    if (!start_job(context_, job)) {
      job->reply = problem_reply({.status = 503, .detail = "too many requests wait", .retry_after = 1});
      co_return true;
    }
    const auto piece = std::make_unique<std::array<char, 64 * KiB>>();
    bool gone = false;
    const Closer closer(context_, [this] { stream_.cancel(); });
    while (!parser.is_done()) {
      parser.get().body().data = piece->data();
      parser.get().body().size = piece->size();
      parser.get().body().more = true;
      ErrorCode error;
      {
        read_mode();
        const Deadline deadline(context_.io, Seconds(context_.limits.body_seconds), [this] { stream_.cancel(); });
        co_await http::async_read_some(stream_, buffer_, parser, quietly(error));
      }
      if (error && error != http::error::need_buffer) {
        gone = true;
        break;
      }
      const std::size_t got = piece->size() - parser.get().body().size;
      ErrorCode closed;
      if (got != 0) co_await net::async_write(sink, net::buffer(piece->data(), got), quietly(closed));
      if (closed) break;  // the reader knows why, and says so
    }
    if (gone) job->gone.request_stop();
    sink.close();
    co_await wait_job(job);
    co_return !gone;
  }

  net::awaitable<void> carry_out(std::shared_ptr<Job> job) {
    const int socket = static_cast<int>(stream_.socket().native_handle());
    std::optional<GoneWatch> watch;
    const Closer closer(context_, [job] { job->gone.request_stop(); });
    for (;;) {
      if (!start_job(context_, job)) {
        job->reply = problem_reply({.status = 503, .detail = "too many requests wait", .retry_after = 1});
        co_return;
      }
      if (!watch) watch.emplace(context_.io, socket, [job] { job->gone.request_stop(); });
      co_await wait_job(job);
      if (!std::holds_alternative<Again>(job->reply.body)) co_return;
      if (job->gone.stop_requested() || context_.draining) {
        job->reply = problem_reply({.status = 503, .detail = "the server is going down", .retry_after = 5});
        co_return;
      }
      co_await sleep_until_event(context_, std::chrono::milliseconds(1000));
    }
  }

  // Sends the answer; false: the connection ends.
  net::awaitable<bool> finish(const Head& head, const std::string& name, Reply& reply, std::chrono::steady_clock::time_point begun, bool body_taken) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    context_.service.core().metrics.answered(name, reply.status, seconds);
    log::info("{} {} {} {:.3f} {}", head.method, printable(head.target.substr(0, head.target.find('?')), 200), reply.status, seconds,
              peer_.local ? peer_.name : peer_.address);
    if (!body_taken || reply.close) keep_alive_ = false;
    bool sent = false;
    if (ByteStream* stream = std::get_if<ByteStream>(&reply.body)) {
      sent = co_await write_stream(reply, std::move(*stream));
    } else if (Follow* follow = std::get_if<Follow>(&reply.body)) {
      sent = co_await write_events(reply, std::move(*follow));
    } else {
      sent = co_await write_whole(reply);
    }
    if (sent && keep_alive_ && !context_.draining) co_return true;
    if (sent && !body_taken) {
      co_await linger();
    } else if (sent) {
      end();
    }
    co_return false;
  }

  net::awaitable<bool> write_whole(Reply& reply) {
    http::response<http::string_body> message(http::status(reply.status), version_);
    fill_head(message, reply, keep_alive_, peer_.local);
    if (std::string* body = std::get_if<std::string>(&reply.body)) message.body() = std::move(*body);
    const bool bare = reply.status == 204 || reply.status == 304;
    if (!bare) message.content_length(message.body().size());
    ErrorCode error;
    write_mode();
    if (head_only_ || bare) {
      http::response<http::empty_body> only(std::move(message.base()));
      http::response_serializer<http::empty_body> serializer(only);
      co_await http::async_write_header(stream_, serializer, quietly(error));
    } else {
      co_await http::async_write(stream_, message, quietly(error));
    }
    co_return !error;
  }

  // The head of an answer whose length nobody knows yet. Before HTTP/1.1 its end is the connection's.
  net::awaitable<bool> write_open_head(const Reply& reply) {
    http::response<http::empty_body> message(http::status(reply.status), version_);
    if (version_ < 11) keep_alive_ = false;
    fill_head(message, reply, keep_alive_, peer_.local);
    if (version_ >= 11 && !head_only_) message.chunked(true);
    http::response_serializer<http::empty_body> serializer(message);
    ErrorCode error;
    write_mode();
    co_await http::async_write_header(stream_, serializer, quietly(error));
    co_return !error;
  }

  net::awaitable<bool> write_piece(std::string_view piece) {
    ErrorCode error;
    write_mode(true);
    const net::const_buffer bytes(piece.data(), piece.size());
    if (version_ >= 11) {
      co_await net::async_write(stream_, http::make_chunk(bytes), quietly(error));
    } else {
      co_await net::async_write(stream_, bytes, quietly(error));
    }
    co_return !error;
  }

  net::awaitable<bool> write_end() {
    if (version_ < 11) co_return true;
    ErrorCode error;
    write_mode();
    co_await net::async_write(stream_, http::make_chunk_last(), quietly(error));
    co_return !error;
  }

  net::awaitable<bool> write_stream(const Reply& reply, ByteStream source) {
    if (!co_await write_open_head(reply)) co_return false;
    if (head_only_) co_return true;
    net::posix::stream_descriptor bytes(context_.io, source.bytes.release());
    bool ended = false;
    const auto stop = [&] {
      ended = true;
      bytes.cancel();
    };
    const Closer closer(context_, stop);
    const GoneWatch watch(context_.io, static_cast<int>(stream_.socket().native_handle()), stop);
    const auto piece = std::make_unique<std::array<char, 64 * KiB>>();
    while (!ended) {
      ErrorCode error;
      const std::size_t got = co_await bytes.async_read_some(net::buffer(*piece), quietly(error));
      if (error == net::error::eof) co_return co_await write_end();
      if (error) co_return false;
      const bool taken = co_await write_piece({piece->data(), got});
      if (!taken) co_return false;
    }
    co_return false;  // cut off: without the last chunk the client can tell
  }

  net::awaitable<bool> write_events(const Reply& reply, Follow follow) {
    if (!co_await write_open_head(reply)) co_return false;
    if (head_only_) co_return true;
    Core& core = context_.service.core();
    core.metrics.followers++;
    bool ended = false;
    const ScopeExit leave([&] { core.metrics.followers--; });
    const auto stop = [&] {
      ended = true;
      context_.wake_sleepers();
    };
    const Closer closer(context_, stop);
    const GoneWatch watch(context_.io, static_cast<int>(stream_.socket().native_handle()), stop);
    if (!co_await write_piece(": welcome\n\n")) co_return false;
    auto quiet_since = std::chrono::steady_clock::now();
    while (!ended && !context_.draining) {
      // A token that is withdrawn ends what it opened.
      const auto caller = core.tokens.renewed(follow.caller);
      if (!caller) break;
      std::string text;
      for (const Json& event : core.events.after(follow.after, *caller, follow.domain, 64)) text += event_text(event);
      const auto now = std::chrono::steady_clock::now();
      if (text.empty() && now - quiet_since > Seconds(15)) text = ": still here\n\n";
      if (!text.empty()) {
        quiet_since = now;
        if (!co_await write_piece(text)) co_return false;
        continue;
      }
      if (follow.after >= core.events.last()) co_await sleep_until_event(context_, std::chrono::milliseconds(1000));
    }
    keep_alive_ = false;
    co_return co_await write_end();
  }

  net::awaitable<void> run_terminal(Parser& parser, const Head& head, std::shared_ptr<Job> job, std::chrono::steady_clock::time_point begun) {
    const std::string protocol = terminal_protocol(head);
    const std::string name = job->call.operation->id;
    const Caller caller = job->call.caller;
    Reply refusal;
    if (protocol.empty()) {
      refusal = problem_reply({.status = 400, .detail = "offer the subprotocol nagaya.terminal", .field = "Sec-WebSocket-Protocol"});
    } else if (buffer_.size() != 0) {
      refusal = problem_reply({.status = 400, .detail = "nothing may follow before the answer"});
    } else {
      co_await carry_out(job);
      if (!std::holds_alternative<Terminal>(job->reply.body)) refusal = std::move(job->reply);
    }
    Terminal* terminal = std::get_if<Terminal>(&job->reply.body);
    if (terminal == nullptr || refusal.status != 200) {
      co_await finish(head, name, refusal, begun, true);
      co_return;
    }
    context_.service.core().metrics.answered(name, 101, std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    log::info("{} {} 101 {}", head.method, printable(head.target.substr(0, head.target.find('?')), 200), caller.name);
    const http::request<http::empty_body> request(std::move(parser.get().base()));
    stream_.expires_never();
    co_await serve_terminal(context_, std::move(stream_), request, protocol, std::move(*terminal), caller);
  }

  // A close with unread bytes would be a reset, and the client might never see the answer.
  net::awaitable<void> linger() {
    ErrorCode ignored;
    stream_.socket().shutdown(net::socket_base::shutdown_send, ignored);
    const Deadline deadline(context_.io, Seconds(2), [this] { stream_.cancel(); });
    read_mode();
    std::array<char, 4 * KiB> piece;
    std::size_t left = MiB;
    while (left != 0 && !deadline.passed()) {
      ErrorCode error;
      const std::size_t got = co_await stream_.socket().async_read_some(net::buffer(piece), quietly(error));
      if (error) break;
      left -= std::min(left, got);
    }
  }

  void end() {
    ErrorCode ignored;
    stream_.socket().shutdown(net::socket_base::shutdown_send, ignored);
  }

  Context& context_;
  LocalStream stream_;
  const Peer peer_;
  beast::flat_buffer buffer_{128 * KiB};
  bool keep_alive_ = false, head_only_ = false;
  unsigned version_ = 11;
  std::size_t counted_ = 0;  // bytes of bodies that the context counts for us
};

}  // namespace

void serve(Context& context, LocalSocket socket, Peer peer) {
  auto session = std::make_shared<Session>(context, LocalStream(std::move(socket)), std::move(peer));
  net::co_spawn(
      context.io, [session] { return session->run(); },
      [session](std::exception_ptr error) {
        if (error) log::warning("a connection ended with an exception");
      });
}

}  // namespace nagaya::api
