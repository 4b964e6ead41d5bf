// Asio and Beast, compiled once: whoever includes this links `api_asio`, where their bodies are (Boost.Asio and Boost.Beast,
// "Separate compilation"). Templates over streams are still compiled where they are used, so few files include it.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace nagaya::api {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using ErrorCode = boost::system::error_code;

/// For co_await: the error goes into `error` instead of an exception.
inline auto quietly(ErrorCode& error) { return net::redirect_error(net::use_awaitable, error); }

}  // namespace nagaya::api
