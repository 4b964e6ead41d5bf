#include <gtest/gtest.h>

#include <optional>

#include "bus/bytes.hpp"
#include "bus/device_contract_test_util.hpp"
#include "bus/manual_clock_test_util.hpp"
#include "devices/debug_console.hpp"
#include "devices/debug_exit.hpp"
#include "devices/pc_testdev.hpp"

namespace nagaya::devices {
namespace {

using bus::testing::RecordingSink;

u64 get(bus::IoTarget& target, u64 offset, unsigned size) {
  std::array<u8, 8> data{};
  target.io_read(offset, std::span(data).first(size));
  return bus::load_le(std::span(data).first(size));
}

void put(bus::IoTarget& target, u64 offset, unsigned size, u64 value) {
  std::array<u8, 8> data{};
  bus::store_le(data, value);
  target.io_write(offset, std::span<const u8>(data).first(size));
}

TEST(DebugExit, ValueBecomesStatus) {
  std::optional<u32> status;
  DebugExit device([&](u32 s) { status = s; });
  EXPECT_EQ(get(device, 0, 4), 0u);
  EXPECT_FALSE(status);
  put(device, 0, 1, 0);
  EXPECT_EQ(status, 1u);
  put(device, 0, 4, 0x10);
  EXPECT_EQ(status, 0x21u);
  put(device, 2, 2, 0xffff);
  EXPECT_EQ(status, 0x1ffffu);
}

TEST(DebugConsole, WritesToItsSink) {
  struct Sink final : CharSink {
    std::size_t write(std::span<const u8> data) override {
      text.append(data.begin(), data.end());
      return data.size();
    }
    std::string text;
  } sink;
  DebugConsole console(sink);
  put(console, 0, 1, 'h');
  put(console, 0, 2, 'i' | 'x' << 8);
  EXPECT_EQ(sink.text, "hi");
  EXPECT_EQ(get(console, 0, 1), 0xe9u);
}

TEST(PcTestdev, PortEchoesItsLanes) {
  RecordingSink sink;
  PcTestdev device(sink);
  put(device.ioport(), 0, 4, 0x11223344);
  EXPECT_EQ(get(device.ioport(), 0, 4), 0x11223344u);
  put(device.ioport(), 1, 2, 0xaabb);
  EXPECT_EQ(get(device.ioport(), 0, 4), 0x11aabb44u);
  EXPECT_EQ(get(device.ioport(), 3, 1), 0x11u);
}

TEST(PcTestdev, LinesFollow) {
  RecordingSink sink;
  PcTestdev device(sink);
  put(device.irq_port(), 5, 1, 1);
  EXPECT_TRUE(sink.lines[5]);
  put(device.irq_port(), 5, 1, 0);
  EXPECT_FALSE(sink.lines[5]);
  put(device.irq_port(), 23, 1, 2);
  EXPECT_TRUE(sink.lines[23]);
  put(device.irq_port(), 24, 1, 1);
  EXPECT_FALSE(sink.lines.contains(24));
  device.reset();
  EXPECT_FALSE(sink.lines[23]);
}

TEST(PcTestdev, MemoryEchoes) {
  RecordingSink sink;
  PcTestdev device(sink);
  put(device.mmio(), 0x1233, 8, 0x1122334455667788);
  EXPECT_EQ(get(device.mmio(), 0x1233, 8), 0x1122334455667788u);
  put(device.mmio(), 0xffff, 8, 0x55);
  EXPECT_EQ(get(device.mmio(), 0xffff, 2), 0xff55u) << "what reaches past the end reads as ones";
  put(device.flush_port(), 0, 4, 0xdeadb000);
}

TEST(PcTestdev, Contract) {
  RecordingSink sink;
  const auto make = [&] { return std::make_unique<PcTestdev>(sink); };
  auto device = make();
  bus::testing::poke_nonsense(device->ioport(), 0, 4, 4);
  bus::testing::poke_nonsense(device->irq_port(), 0, 24, 4);
  bus::testing::poke_nonsense(device->flush_port(), 0, 4, 4);
  bus::testing::poke_nonsense(device->mmio(), 0xff00, 0x100);
  bus::testing::check_round_trip(*device, *make());
  const auto good = bus::testing::saved(*device);
  auto victim = make();
  EXPECT_FALSE(bus::testing::restored(*victim, std::span(good).first(good.size() - 1)));
  EXPECT_EQ(bus::testing::saved(*victim), bus::testing::saved(*make()));
  bus::testing::check_reset(*device, *make());
}

}  // namespace
}  // namespace nagaya::devices
