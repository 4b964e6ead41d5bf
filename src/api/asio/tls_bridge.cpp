#include "api/asio/tls_bridge.hpp"

#include <boost/asio/local/connect_pair.hpp>

namespace nagaya::api {
namespace {

using namespace std::chrono_literals;

struct Bridge {
  Bridge(std::unique_ptr<TlsStream> t, LocalSocket p) : tls(std::move(t)), plain(std::move(p)), finished(plain.get_executor()) {}
  std::unique_ptr<TlsStream> tls;
  LocalSocket plain;
  net::steady_timer finished;
  int directions = 2;

  void cut() {
    ErrorCode ignored;
    plain.close(ignored);
    beast::get_lowest_layer(*tls).close();
  }

  net::awaitable<void> inwards() {
    const auto piece = std::make_unique<std::array<char, 16384>>();
    for (;;) {
      ErrorCode error;
      beast::get_lowest_layer(*tls).expires_never();
      const std::size_t got = co_await tls->async_read_some(net::buffer(*piece), quietly(error));
      if (error == net::error::eof) {
        plain.shutdown(net::socket_base::shutdown_send, error);
        co_return;
      }
      if (!error) co_await net::async_write(plain, net::buffer(piece->data(), got), quietly(error));
      if (error == net::error::broken_pipe) co_return;  // the other direction still has the answer
      if (error) co_return cut();
    }
  }

  net::awaitable<void> outwards() {
    const auto piece = std::make_unique<std::array<char, 16384>>();
    for (;;) {
      ErrorCode error;
      const std::size_t got = co_await plain.async_read_some(net::buffer(*piece), quietly(error));
      if (error) break;
      net::steady_timer patience(plain.get_executor(), 600s);
      patience.async_wait([this](ErrorCode cancelled) {
        if (!cancelled) cut();
      });
      co_await net::async_write(*tls, net::buffer(piece->data(), got), quietly(error));
      if (error) co_return cut();
    }
    ErrorCode ignored;
    net::steady_timer patience(plain.get_executor(), 3s);
    patience.async_wait([this](ErrorCode cancelled) {
      if (!cancelled) cut();
    });
    co_await tls->async_shutdown(quietly(ignored));
    cut();
  }
};

}  // namespace

std::pair<LocalSocket, LocalSocket> local_pair(const net::any_io_executor& executor, ErrorCode& error) {
  std::pair<LocalSocket, LocalSocket> out{LocalSocket(executor), LocalSocket(executor)};
  net::local::connect_pair(out.first, out.second, error);
  return out;
}

net::awaitable<void> bridge(std::unique_ptr<TlsStream> tls, LocalSocket plain) {
  // Shared with both directions, which end after each other.
  const auto both = std::make_shared<Bridge>(std::move(tls), std::move(plain));
  const auto ended = [both](std::exception_ptr) {
    both->directions--;
    both->finished.cancel();
  };
  net::co_spawn(both->plain.get_executor(), [both] { return both->inwards(); }, ended);
  net::co_spawn(both->plain.get_executor(), [both] { return both->outwards(); }, ended);
  while (both->directions != 0) {
    ErrorCode ignored;
    both->finished.expires_at(net::steady_timer::time_point::max());
    co_await both->finished.async_wait(quietly(ignored));
  }
}

}  // namespace nagaya::api
