#include "chipset/pm.hpp"

#include <gtest/gtest.h>

#include "bus/bytes.hpp"
#include "bus/device_contract_test_util.hpp"
#include "bus/manual_clock_test_util.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::chipset {
namespace {

namespace pc = x86::pc;
using bus::testing::ManualClock;
using bus::testing::RecordingSink;

class PmTest : public ::testing::Test {
 protected:
  u64 in(u16 port, unsigned size) {
    std::array<u8, 4> data{};
    pm.ports().io_read(port - pc::pm_base, std::span(data).first(size));
    return bus::load_le(std::span(data).first(size));
  }
  void out(u16 port, unsigned size, u64 value) {
    std::array<u8, 4> data{};
    bus::store_le(data, value);
    pm.ports().io_write(port - pc::pm_base, std::span<const u8>(data).first(size));
  }
  void smi(u8 value) { pm.smi_ports().io_write(0, std::span(&value, 1)); }
  bool sci() { return sink.lines[9]; }

  ManualClock clock;
  RecordingSink sink;
  unsigned offs = 0, resets = 0;
  PmConfig config{.power_off = [this] { ++offs; }, .reset = [this] { ++resets; }};
  Pm pm{clock, bus::IrqLine(sink, 9), config};
};

TEST_F(PmTest, TimerCountsAndWraps) {
  EXPECT_EQ(in(pc::pm_timer_port, 4), 0u);
  clock.advance(1'000'000'000);
  EXPECT_EQ(in(pc::pm_timer_port, 4), 3'579'545u);
  EXPECT_EQ(in(pc::pm_timer_port + 1, 1), 3'579'545u >> 8 & 0xff);
  clock.advance(1'199'000'000'000);
  EXPECT_EQ(in(pc::pm_timer_port, 4), 3'579'545ull * 1200 & 0xffff'ffff);
}

TEST_F(PmTest, TwentyFourBitTimer) {
  config.timer_32bit = false;
  Pm narrow(clock, {}, config);
  clock.advance(10'000'000'000);
  std::array<u8, 4> data{};
  narrow.ports().io_read(8, data);
  EXPECT_EQ(bus::load_le(data), 35'795'450u & 0xff'ffff);
}

TEST_F(PmTest, AcpiEnableIsToldThroughSmi) {
  EXPECT_EQ(in(pc::pm1_control_port, 2), 0u);
  smi(pc::acpi_enable_value);
  EXPECT_EQ(in(pc::pm1_control_port, 2), 1u);
  smi(pc::acpi_disable_value);
  EXPECT_EQ(in(pc::pm1_control_port, 2), 0u);
}

TEST_F(PmTest, PowerButton) {
  pm.press_power_button();
  EXPECT_FALSE(sci());
  EXPECT_FALSE(pm.power_button_heard());
  EXPECT_EQ(in(pc::pm1_event_port, 2), 0x100u);
  out(pc::pm1_event_port, 2, 0x100);
  smi(pc::acpi_enable_value);
  out(pc::pm1_event_port + 2, 2, 0x120);
  EXPECT_TRUE(pm.power_button_heard());
  EXPECT_FALSE(sci());
  pm.press_power_button();
  EXPECT_TRUE(sci());
  out(pc::pm1_event_port, 2, 0x1);
  EXPECT_TRUE(sci()) << "only its own bit clears it";
  out(pc::pm1_event_port + 1, 1, 0x1);
  EXPECT_FALSE(sci());
}

TEST_F(PmTest, TimerCarryInterrupt) {
  smi(pc::acpi_enable_value);
  EXPECT_EQ(clock.armed(), 0u);
  out(pc::pm1_event_port + 2, 2, 1);
  const u64 half = (u64{1} << 31) * 1'000'000'000 / 3'579'545;
  clock.advance(half - 1000);
  EXPECT_FALSE(sci());
  clock.advance(2000);
  EXPECT_TRUE(sci());
  out(pc::pm1_event_port, 2, 1);
  EXPECT_FALSE(sci());
  out(pc::pm1_event_port + 2, 2, 0);
  clock.advance(half);
  EXPECT_FALSE(sci());
  EXPECT_EQ(in(pc::pm1_event_port, 2), 1u) << "the status follows without the interrupt too";
}

TEST_F(PmTest, GeneralPurposeEvents) {
  smi(pc::acpi_enable_value);
  out(pc::gpe0_port + 2, 1, 0x04);
  pm.raise_gpe(3);
  EXPECT_FALSE(sci());
  pm.raise_gpe(2);
  EXPECT_TRUE(sci());
  EXPECT_EQ(in(pc::gpe0_port, 2), 0x0cu);
  out(pc::gpe0_port, 1, 0x04);
  EXPECT_FALSE(sci());
  pm.raise_gpe(99);
}

TEST_F(PmTest, SoftOff) {
  out(pc::pm1_control_port, 2, 1 | 1 << 13);
  EXPECT_EQ(offs, 0u) << "S0 is no sleep";
  out(pc::pm1_control_port, 2, 5 << 10);
  EXPECT_EQ(offs, 0u);
  out(pc::pm1_control_port, 2, 5 << 10 | 1 << 13);
  EXPECT_EQ(offs, 1u);
  EXPECT_EQ(in(pc::pm1_control_port, 2), 5u << 10) << "SLP_EN reads as zero";
  out(pc::pm1_control_port + 1, 1, 5 << 2 | 1 << 5);
  EXPECT_EQ(offs, 2u) << "the high byte alone says it too";
}

TEST_F(PmTest, ResetRegister) {
  const auto write = [&](u8 value) { pm.reset_port().io_write(0, std::span(&value, 1)); };
  write(2);
  EXPECT_EQ(resets, 0u);
  u8 value = 0;
  pm.reset_port().io_read(0, std::span(&value, 1));
  EXPECT_EQ(value, 2);
  write(pc::reset_value);
  EXPECT_EQ(resets, 1u);
}

TEST_F(PmTest, RestoredTimerGoesOnElsewhere) {
  clock.advance(5'000'000'000);
  const auto bytes = bus::testing::saved(pm);
  ManualClock other;
  other.advance(77);
  Pm copy(other, {}, config);
  ASSERT_TRUE(bus::testing::restored(copy, bytes));
  std::array<u8, 4> data{};
  copy.ports().io_read(8, data);
  EXPECT_EQ(bus::load_le(data), 5u * 3'579'545);
}

TEST(PmContract, Holds) {
  ManualClock clock;
  RecordingSink sink;
  clock.advance(123'456'789'012);
  auto make = [&] { return std::make_unique<Pm>(clock, bus::IrqLine(sink, 9), PmConfig{}); };
  for (u32 seed = 1; seed <= 24; ++seed) {
    auto device = make();
    bus::testing::poke_nonsense(device->ports(), 0, Pm::io_size, 8, seed);
    bus::testing::poke_nonsense(device->smi_ports(), 0, 2, 4, seed);
    bus::testing::poke_nonsense(device->reset_port(), 0, 1, 4, seed);
    clock.advance(seed * 1'000'000'000'000);
    bus::testing::check_round_trip(*device, *make());
    bus::testing::check_reset(*device, *make());
  }
  auto device = make();
  bus::testing::poke_nonsense(device->ports(), 0, Pm::io_size);
  bus::testing::check_bad_states(*device, [&]() -> std::unique_ptr<bus::Device> { return make(); });
}

}  // namespace
}  // namespace nagaya::chipset
