#include "netd/splice.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cstring>
#include <thread>

#include "host/fd.hpp"

namespace nagaya::netd {
namespace {

std::string message(std::size_t size, char fill) { return std::string(net::header_size, '\0') + std::string(size, fill); }

TEST(Splice, CarriesPacketsBothWaysAndOffloadsAndEndsWithEither) {
  auto left = net::link_pair(), right = net::link_pair();
  auto stop = host::Fd::eventfd();
  ASSERT_TRUE(left && right && stop);
  auto first = net::adopt_link(std::move(left->second)), second = net::adopt_link(std::move(right->second));
  ASSERT_TRUE(first && second);
  std::thread pump([&] { splice_links(**first, **second, stop->get()); });
  const auto next = [](int fd) {
    std::string out(70000, '\0');
    for (;;) {
      const ssize_t got = ::recv(fd, out.data(), out.size(), 0);
      if (got <= 0) return std::string();
      if (got != static_cast<ssize_t>(net::control_size)) return out.substr(0, static_cast<std::size_t>(got));
    }
  };
  // More than the sockets hold: the pump has to wait for us, and loses nothing.
  std::thread sender([&] {
    for (int i = 0; i < 400; ++i) {
      const std::string text = message(10000, static_cast<char>('a' + i % 26));
      ASSERT_EQ(::send(left->first.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    }
  });
  for (int i = 0; i < 400; ++i) ASSERT_EQ(next(right->first.get()), message(10000, static_cast<char>('a' + i % 26)));
  sender.join();
  const std::string back = message(60, 'z');
  ASSERT_GT(::send(right->first.get(), back.data(), back.size(), 0), 0);
  EXPECT_EQ(next(left->first.get()), back);

  // What the right side can receive is told to the left.
  const u32 bits = net::offload::csum | net::offload::tso4;
  ASSERT_GT(::send(right->first.get(), &bits, sizeof bits, 0), 0);
  u32 told = 0;
  while (told != bits) ASSERT_EQ(::recv(left->first.get(), &told, sizeof told, 0), static_cast<ssize_t>(sizeof told));

  right->first.reset();
  pump.join();
}

}  // namespace
}  // namespace nagaya::netd
