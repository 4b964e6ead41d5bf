#include "devices/serial.hpp"

#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "bus/manual_clock_test_util.hpp"

namespace nagaya::devices {
namespace {

using bus::testing::ManualClock;
using bus::testing::RecordingSink;

struct FakeBackend final : CharBackend {
  std::size_t write(std::span<const u8> data) override {
    const std::size_t n = std::min(data.size(), room);
    out.append(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(n));
    room -= n;
    return n;
  }
  void attach(CharReceiver* r) override { receiver = r; }
  void input_room() override { ++asked; }
  void drain(unsigned) override {}
  std::string where() const override { return {}; }
  std::string out;
  std::size_t room = 1 << 20;
  CharReceiver* receiver = nullptr;
  unsigned asked = 0;
};

class SerialTest : public ::testing::Test {
 protected:
  u8 in(u64 reg) {
    u8 value = 0;
    serial.ports().io_read(reg, std::span(&value, 1));
    return value;
  }
  void out(u64 reg, u8 value) { serial.ports().io_write(reg, std::span(&value, 1)); }
  std::size_t feed(std::string_view text) {
    return serial.input(std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
  }
  std::string drain() {
    std::string text;
    while (in(5) & 1) text += static_cast<char>(in(0));
    return text;
  }
  bool irq() { return sink.lines[4]; }

  ManualClock clock;
  RecordingSink sink;
  FakeBackend backend;
  Serial serial{"serial0", clock, bus::IrqLine(sink, 4), &backend};
};

TEST_F(SerialTest, PowerOnState) {
  EXPECT_EQ(in(5), 0x60);
  EXPECT_EQ(in(2), 0x01);
  EXPECT_EQ(in(6), 0xb0);
  EXPECT_FALSE(irq());
}

TEST_F(SerialTest, TransmitsAndInterruptsOnce) {
  out(1, 2);
  EXPECT_TRUE(irq()) << "enabling the interrupt with an empty transmitter raises it";
  EXPECT_EQ(in(2) & 0xf, 2);
  EXPECT_FALSE(irq()) << "reading IIR clears it";
  EXPECT_EQ(in(2) & 0xf, 1);
  out(0, 'x');
  EXPECT_EQ(backend.out, "x");
  EXPECT_TRUE(irq());
  out(1, 0);
  EXPECT_FALSE(irq());
}

TEST_F(SerialTest, FullBackEndHoldsTheTransmitter) {
  out(2, 1);
  out(1, 2);
  in(2);
  backend.room = 2;
  for (char c : std::string("abcd")) out(0, static_cast<u8>(c));
  EXPECT_EQ(backend.out, "ab");
  EXPECT_EQ(in(5) & 0x60, 0);
  EXPECT_FALSE(irq());
  backend.room = 1;
  serial.output_room();
  EXPECT_EQ(backend.out, "abc");
  EXPECT_EQ(in(5) & 0x60, 0);
  backend.room = 100;
  serial.output_room();
  EXPECT_EQ(backend.out, "abcd");
  EXPECT_EQ(in(5) & 0x60, 0x60);
  EXPECT_TRUE(irq());
}

TEST_F(SerialTest, FloodWithoutRoomKeepsSixteenBytes) {
  out(2, 1);
  backend.room = 0;
  for (int i = 0; i < 1000; ++i) out(0, static_cast<u8>('a' + i % 26));
  backend.room = 1000;
  serial.output_room();
  EXPECT_EQ(backend.out.size(), 16u);
}

TEST_F(SerialTest, ReceivesWithoutFifos) {
  out(1, 1);
  EXPECT_EQ(feed("ab"), 1u);
  EXPECT_TRUE(irq());
  EXPECT_EQ(in(2), 4);
  EXPECT_EQ(in(0), 'a');
  EXPECT_FALSE(irq());
  EXPECT_EQ(backend.asked, 1u) << "the back end hears that there is room again";
  EXPECT_EQ(feed("b"), 1u);
  EXPECT_EQ(drain(), "b");
}

TEST_F(SerialTest, TriggerLevelAndTimeout) {
  out(3, 0x83);  // DLAB: 9600 baud, 8N1
  out(0, 12);
  out(1, 0);
  out(3, 0x03);
  out(2, 0x81);  // trigger at 8
  out(1, 1);
  feed("1234567");
  EXPECT_FALSE(irq());
  constexpr u64 character = 10ull * 1'000'000'000 / 9600;
  clock.advance(4 * character - 1000);
  EXPECT_FALSE(irq());
  clock.advance(2000);
  EXPECT_TRUE(irq());
  EXPECT_EQ(in(2), 0xcc);
  EXPECT_EQ(in(0), '1');
  EXPECT_FALSE(irq()) << "reading the data clears the timeout";
  feed("89");
  EXPECT_EQ(in(2), 0xc4);
  EXPECT_EQ(drain(), "23456789");
  EXPECT_EQ(in(2), 0xc1);
  EXPECT_EQ(clock.armed(), 0u) << "nothing runs when nothing waits";
}

TEST_F(SerialTest, FifoTakesSixteenAndPushesBack) {
  out(2, 1);
  EXPECT_EQ(feed("0123456789abcdefXYZ"), 16u);
  EXPECT_EQ(in(5) & 2, 0) << "no overrun: the host waits";
  for (int i = 0; i < 7; ++i) in(0);
  EXPECT_EQ(backend.asked, 0u);
  in(0);
  EXPECT_EQ(backend.asked, 1u);
  EXPECT_EQ(feed("XYZ"), 3u);
  EXPECT_EQ(drain(), "89abcdefXYZ");
}

TEST_F(SerialTest, LoopbackModemAndData) {
  out(4, 0x1a);
  EXPECT_EQ(in(6) & 0xf0, 0x90) << "RTS→CTS, OUT2→DCD: what drivers probe for";
  out(4, 0x1f);
  EXPECT_EQ(in(6) & 0xf0, 0xf0);
  out(4, 0x1b);
  EXPECT_EQ(in(6) & 0x0f, 0x04) << "trailing edge of ring";
  out(3, 0);  // five bits
  out(0, 0xff);
  EXPECT_EQ(in(0), 0x1f);
  EXPECT_EQ(backend.out, "") << "nothing leaves";
  EXPECT_EQ(feed("no"), 0u) << "nothing enters";
  out(4, 0x0b);
  EXPECT_EQ(backend.asked, 1u);
  EXPECT_EQ(in(6) & 0xf0, 0xb0);
}

TEST_F(SerialTest, OverrunInLoopback) {
  out(4, 0x10);
  out(3, 3);
  out(0, 'a');
  out(0, 'b');
  EXPECT_EQ(in(5) & 0x03, 3);
  EXPECT_EQ(in(5) & 0x02, 0) << "reading LSR clears it";
  EXPECT_EQ(in(0), 'b') << "without FIFOs the newest stays";
  out(2, 1);
  for (int i = 0; i < 17; ++i) out(0, static_cast<u8>('a' + i));
  EXPECT_EQ(in(5) & 0x02, 2);
  EXPECT_EQ(drain(), "abcdefghijklmnop") << "with FIFOs the oldest stay";
}

TEST_F(SerialTest, BreakAndPriorities) {
  out(2, 1);
  out(1, 0xf);
  in(2);
  feed("a");
  serial.receive_break();
  EXPECT_EQ(in(5) & 0x91, 0x81) << "the break is in the FIFO, not at its top";
  EXPECT_EQ(in(0), 'a');
  EXPECT_EQ(in(2), 0xc6) << "line status comes first";
  EXPECT_EQ(in(5) & 0x11, 0x11);
  EXPECT_EQ(in(2), 0xc4);
  EXPECT_EQ(in(0), 0);
  serial.connected(false);
  EXPECT_EQ(in(2), 0xc0);
  EXPECT_EQ(in(6), 0x0b);
  EXPECT_EQ(in(2), 0xc1);
}

TEST_F(SerialTest, DivisorScratchAndWideAccess) {
  out(3, 0x80);
  out(0, 0x34);
  out(1, 0x12);
  std::array<u8, 2> word{};
  serial.ports().io_read(0, word);
  EXPECT_EQ(word, (std::array<u8, 2>{0x34, 0x12}));
  out(3, 3);
  out(7, 0xa5);
  EXPECT_EQ(in(7), 0xa5);
  EXPECT_EQ(in(1), 0);
}

TEST_F(SerialTest, FcrTogglesClearAndReadBack) {
  out(2, 0xc1);
  EXPECT_EQ(in(2) & 0xc0, 0xc0);
  feed("abc");
  out(2, 0);
  EXPECT_EQ(in(5) & 1, 0);
  EXPECT_EQ(in(2) & 0xc0, 0);
}

TEST_F(SerialTest, PauseHoldsInputAndTime) {
  out(2, 0xc1);
  out(1, 1);
  feed("a");
  serial.pause();
  EXPECT_EQ(feed("b"), 0u);
  clock.advance(1'000'000'000);
  EXPECT_FALSE(irq());
  serial.resume();
  EXPECT_EQ(backend.asked, 1u);
  clock.advance(1'000'000'000);
  EXPECT_TRUE(irq());
}

TEST_F(SerialTest, SavedTimeoutGoesOn) {
  out(2, 0xc1);
  out(1, 1);
  feed("a");
  clock.advance(1'000'000);
  const auto bytes = bus::testing::saved(serial);
  RecordingSink other;
  Serial copy("serial0", clock, bus::IrqLine(other, 4), nullptr);
  ASSERT_TRUE(bus::testing::restored(copy, bytes));
  clock.advance(1'000'000'000);
  EXPECT_TRUE(other.lines[4]);
}

TEST(SerialContract, Holds) {
  struct Bench {
    ManualClock clock;
    RecordingSink sink;
    FakeBackend backend;
  } bench;
  bench.backend.room = 40;  // so that the transmitter fills too
  auto make = [&] { return std::make_unique<Serial>("serial0", bench.clock, bus::IrqLine(bench.sink, 4), nullptr); };
  for (u32 seed = 1; seed <= 24; ++seed) {
    auto device = std::make_unique<Serial>("serial0", bench.clock, bus::IrqLine(bench.sink, 4), &bench.backend);
    bus::testing::poke_nonsense(device->ports(), 0, Serial::io_size, 4, seed, 4);
    (void)device->input(std::array<u8, 20>{});
    bench.clock.advance(seed * 100'000);
    bus::testing::check_round_trip(*device, *make());
    bus::testing::check_reset(*device, *make());
  }
  auto device = make();
  bus::testing::poke_nonsense(device->ports(), 0, Serial::io_size, 4);
  bus::testing::check_bad_states(*device, [&]() -> std::unique_ptr<bus::Device> { return make(); });
}

}  // namespace
}  // namespace nagaya::devices
