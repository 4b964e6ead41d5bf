#include "devices/char_backend.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "bus/manual_clock_test_util.hpp"
#include "devices/output_ring.hpp"
#include "devices/serial.hpp"

namespace nagaya::devices {
namespace {

struct Receiver final : CharReceiver {
  std::size_t input(std::span<const u8> data) override {
    const std::size_t n = std::min(data.size(), room);
    text.append(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(n));
    room -= n;
    return n;
  }
  void output_room() override { ++rooms; }
  void connected(bool present) override { carrier = present; }
  std::string text;
  std::size_t room = 1 << 20;
  unsigned rooms = 0;
  bool carrier = true;
};

std::span<const u8> bytes(std::string_view text) { return {reinterpret_cast<const u8*>(text.data()), text.size()}; }

class BackendTest : public ::testing::Test {
 protected:
  BackendTest() {
    char name[] = "/tmp/nagaya-char-XXXXXX";
    dir = ::mkdtemp(name);
  }
  ~BackendTest() override { std::filesystem::remove_all(dir); }
  /// Serves the loop until nothing has happened for a while, or `done` says so.
  template <class F>
  void turn_until(F done) {
    for (int i = 0; i < 2000 && !done(); ++i) loop->run_once(5);
    EXPECT_TRUE(done());
  }
  void turn() {
    for (int i = 0; i < 20; ++i) loop->run_once(0);
  }
  static std::string read_some(int fd) {
    std::string text(100000, '\0');
    const ssize_t n = ::read(fd, text.data(), text.size());
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }

  std::string dir;
  std::unique_ptr<host::EventLoop> loop = *host::EventLoop::create();
  Receiver receiver;
};

TEST(OutputRing, WrapsAndBounds) {
  OutputRing ring(4);
  std::array<u8, 8> out{};
  EXPECT_EQ(ring.put(bytes("abc")), 3u);
  ring.drop(2);
  EXPECT_EQ(ring.put(bytes("defg")), 3u);
  EXPECT_EQ(ring.room(), 0u);
  EXPECT_EQ(ring.peek(out), 4u);
  EXPECT_EQ(std::string(out.begin(), out.begin() + 4), "cdef");
  ring.drop(99);
  EXPECT_TRUE(ring.empty());
}

TEST_F(BackendTest, PipesBothWays) {
  auto [in_read, in_write] = *host::Fd::pipe();
  auto [out_read, out_write] = *host::Fd::pipe();
  auto backend = *fd_backend(*loop, std::move(in_read), std::move(out_write));
  backend->attach(&receiver);
  EXPECT_EQ(backend->write(bytes("hello")), 5u);
  ASSERT_TRUE(host::write_all(in_write.get(), "typed"));
  turn_until([&] { return receiver.text == "typed"; });
  EXPECT_EQ(read_some(out_read.get()), "hello");
  in_write.reset();
  turn();
  EXPECT_EQ(backend->write(bytes("on")), 2u) << "the end of input does not end output";
  turn();
  EXPECT_EQ(read_some(out_read.get()), "on");
  backend->attach(nullptr);
}

TEST_F(BackendTest, SlowReaderPushesBackAndMemoryStaysBounded) {
  auto [out_read, out_write] = *host::Fd::pipe();
  auto backend = *fd_backend(*loop, {}, std::move(out_write));
  backend->attach(&receiver);
  ASSERT_TRUE(host::set_nonblocking(out_read.get()));
  const std::string block(1000, 'x');
  std::size_t taken = 0;
  for (int i = 0; i < 2000; ++i) {
    taken += backend->write(bytes(block));
    loop->run_once(0);
  }
  EXPECT_LE(taken, 200'000u) << "a pipe's and our own buffer";
  EXPECT_EQ(backend->write(bytes("y")), 0u);
  std::size_t got = 0;
  turn_until([&] {
    got += read_some(out_read.get()).size();
    return got == taken;
  });
  EXPECT_GE(receiver.rooms, 1u);
  EXPECT_EQ(backend->write(bytes("y")), 1u);
  backend->attach(nullptr);
}

TEST_F(BackendTest, DeviceWithoutRoomHoldsInput) {
  auto [in_read, in_write] = *host::Fd::pipe();
  auto backend = *fd_backend(*loop, std::move(in_read), {});
  backend->attach(&receiver);
  receiver.room = 3;
  ASSERT_TRUE(host::write_all(in_write.get(), "abcdef"));
  turn_until([&] { return receiver.text == "abc"; });
  turn();
  EXPECT_EQ(receiver.text, "abc");
  receiver.room = 100;
  backend->input_room();
  turn_until([&] { return receiver.text == "abcdef"; });
  backend->attach(nullptr);
}

TEST_F(BackendTest, DrainNeedsNoLoop) {
  auto [out_read, out_write] = *host::Fd::pipe();
  auto backend = *fd_backend(*loop, {}, std::move(out_write));
  backend->attach(&receiver);
  EXPECT_EQ(backend->write(bytes("last words")), 10u);
  backend->drain(1000);
  EXPECT_EQ(read_some(out_read.get()), "last words");
  backend->attach(nullptr);
}

TEST_F(BackendTest, BrokenPipeDropsOutput) {
  ::signal(SIGPIPE, SIG_IGN);
  auto [out_read, out_write] = *host::Fd::pipe();
  auto backend = *fd_backend(*loop, {}, std::move(out_write));
  backend->attach(&receiver);
  out_read.reset();
  const std::string block(10000, 'x');
  for (int i = 0; i < 50; ++i) {
    (void)backend->write(bytes(block));
    turn();
  }
  EXPECT_EQ(backend->write(bytes(block)), block.size()) << "goes nowhere, but never holds the guest";
  backend->attach(nullptr);
}

TEST_F(BackendTest, FileIsWritten) {
  auto backend = *open_char_backend(*loop, "file:" + dir + "/log");
  backend->attach(&receiver);
  (void)backend->write(bytes("line\n"));
  backend->drain(1000);
  EXPECT_EQ(*host::read_file(dir + "/log", 100), (std::vector<u8>{'l', 'i', 'n', 'e', '\n'}));
}

TEST_F(BackendTest, RegularFileAsInput) {
  ASSERT_TRUE(host::replace_file(dir + "/script", bytes(std::string(5000, 's'))));
  auto backend = *fd_backend(*loop, *host::Fd::open(dir + "/script", O_RDONLY), {});
  backend->attach(&receiver);
  turn_until([&] { return receiver.text.size() == 5000; });
  backend->attach(nullptr);
}

TEST_F(BackendTest, NamedPipes) {
  EXPECT_FALSE(open_char_backend(*loop, "pipe:" + dir + "/p"));
  ASSERT_TRUE(host::replace_file(dir + "/plain", {}));
  EXPECT_FALSE(open_char_backend(*loop, "pipe:" + dir + "/plain")) << "not a pipe";
  ASSERT_EQ(::mkfifo((dir + "/p.in").c_str(), 0600), 0);
  ASSERT_EQ(::mkfifo((dir + "/p.out").c_str(), 0600), 0);
  auto backend = *open_char_backend(*loop, "pipe:" + dir + "/p");
  backend->attach(&receiver);
  const host::Fd in = *host::Fd::open(dir + "/p.in", O_WRONLY);
  const host::Fd out = *host::Fd::open(dir + "/p.out", O_RDONLY | O_NONBLOCK);
  (void)backend->write(bytes("o"));
  ASSERT_TRUE(host::write_all(in.get(), "i"));
  turn_until([&] { return receiver.text == "i"; });
  EXPECT_EQ(read_some(out.get()), "o");
  backend->attach(nullptr);
}

TEST_F(BackendTest, PtyIsRawAndDropsUnreadOutput) {
  auto backend = *open_char_backend(*loop, "pty");
  backend->attach(&receiver);
  const host::Fd terminal = *host::Fd::open(backend->where(), O_RDWR | O_NOCTTY | O_NONBLOCK);
  (void)backend->write(bytes("a\nb"));
  ASSERT_TRUE(host::write_all(terminal.get(), "\x03x\r"));
  turn_until([&] { return receiver.text == "\x03x\r"; });
  EXPECT_EQ(read_some(terminal.get()), "a\nb");
  const std::string block(10000, 'x');
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(backend->write(bytes(block)), block.size());
    turn();
  }
  backend->attach(nullptr);
}

TEST_F(BackendTest, SocketClientsComeAndGo) {
  const std::string path = dir + "/console";
  {
    auto backend = *open_char_backend(*loop, "unix:" + path);
    backend->attach(&receiver);
    turn_until([&] { return !receiver.carrier; });
    EXPECT_EQ(backend->write(bytes("nobody hears")), 12u);
    for (int round = 0; round < 3; ++round) {
      host::Fd client = *host::Fd::connect_unix(path);
      turn_until([&] { return receiver.carrier; });
      (void)backend->write(bytes("out"));
      receiver.text.clear();
      ASSERT_TRUE(host::write_all(client.get(), "in"));
      turn_until([&] { return receiver.text == "in"; });
      EXPECT_EQ(read_some(client.get()), "out");
      client.reset();
      turn_until([&] { return !receiver.carrier; });
    }
    backend->attach(nullptr);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(BackendTest, ClientGoneWhileOutputWaitsFreesTheGuest) {
  const std::string path = dir + "/console";
  auto backend = *open_char_backend(*loop, "unix:" + path);
  backend->attach(&receiver);
  host::Fd client = *host::Fd::connect_unix(path);
  turn_until([&] { return receiver.carrier; });
  turn();
  const std::string block(10000, 'x');
  for (int i = 0; i < 100; ++i) {
    (void)backend->write(bytes(block));
    turn();
  }
  EXPECT_EQ(backend->write(bytes("y")), 0u);
  client.reset();
  turn_until([&] { return receiver.rooms > 0; });
  EXPECT_EQ(backend->write(bytes("y")), 1u);
  backend->attach(nullptr);
}

TEST_F(BackendTest, BadDescriptionsSayWhy) {
  for (const char* text : {"", "file", "file:", "stdio:x", "tcp:1", "unix:", "null:", "pipe", "file:/nonexistent/x"}) {
    auto backend = open_char_backend(*loop, text);
    ASSERT_FALSE(backend) << text;
    EXPECT_FALSE(backend.error().message().empty());
  }
  EXPECT_TRUE(open_char_backend(*loop, "null"));
}

TEST_F(BackendTest, SerialPortAcrossThreads) {
  auto [in_read, in_write] = *host::Fd::pipe();
  auto [out_read, out_write] = *host::Fd::pipe();
  auto backend = *fd_backend(*loop, std::move(in_read), std::move(out_write));
  std::jthread runner([&] { loop->run(); });
  bus::testing::ManualClock clock;
  const std::string message(50'000, 'm');
  {
    Serial serial("serial0", clock, {}, backend.get());
    // Before anything is typed: switching the FIFOs on empties them.
    u8 enable = 1;
    serial.ports().io_write(2, std::span(&enable, 1));
    std::jthread reader([&] {
      std::size_t got = 0;
      while (got < message.size()) got += read_some(out_read.get()).size();
    });
    std::jthread writer([&] { ASSERT_TRUE(host::write_all(in_write.get(), message)); });
    std::size_t sent = 0, received = 0;
    while (sent < message.size() || received < message.size()) {
      u8 lsr = 0;
      serial.ports().io_read(5, std::span(&lsr, 1));
      if ((lsr & 0x20) && sent < message.size()) {
        u8 c = 'm';
        serial.ports().io_write(0, std::span(&c, 1));
        ++sent;
      }
      if ((lsr & 0x21) == 0) std::this_thread::yield();
      if (lsr & 1) {
        u8 c = 0;
        serial.ports().io_read(0, std::span(&c, 1));
        ASSERT_EQ(c, 'm');
        ++received;
      }
    }
    backend->drain(5000);
  }
  backend.reset();
  loop->stop();
}

}  // namespace
}  // namespace nagaya::devices
