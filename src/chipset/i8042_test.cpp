#include "chipset/i8042.hpp"

#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "bus/manual_clock_test_util.hpp"

namespace nagaya::chipset {
namespace {

using bus::testing::RecordingSink;
using Bytes = std::vector<unsigned>;

class I8042Test : public ::testing::Test {
 protected:
  static u8 get(bus::IoTarget& target) {
    u8 value = 0;
    target.io_read(0, std::span(&value, 1));
    return value;
  }
  static void put(bus::IoTarget& target, u8 value) { target.io_write(0, std::span(&value, 1)); }
  void command(u8 value) { put(kbc.command_port(), value); }
  void data(u8 value) { put(kbc.data_port(), value); }
  u8 status() { return get(kbc.command_port()); }
  Bytes drain() {
    Bytes bytes;
    while (status() & 1) bytes.push_back(get(kbc.data_port()));
    return bytes;
  }
  Bytes ask(u8 cmd) {
    command(cmd);
    return drain();
  }
  Bytes keyboard(std::initializer_list<u8> bytes) {
    Bytes all;
    for (u8 byte : bytes) {
      data(byte);
      for (unsigned b : drain()) all.push_back(b);
    }
    return all;
  }
  Bytes mouse(std::initializer_list<u8> bytes) {
    Bytes all;
    for (u8 byte : bytes) {
      command(0xd4);
      data(byte);
      EXPECT_TRUE(status() & 0x20);
      for (unsigned b : drain()) all.push_back(b);
    }
    return all;
  }
  void set_mode(u8 value) {
    command(0x60);
    data(value);
  }

  RecordingSink sink;
  unsigned resets = 0;
  I8042 kbc{bus::IrqLine(sink, 1), bus::IrqLine(sink, 12), {.reset = [this] { ++resets; }, .mouse = true}};
};

TEST_F(I8042Test, ControllerTests) {
  EXPECT_EQ(ask(0xaa), Bytes{0x55});
  EXPECT_EQ(ask(0xab), Bytes{0});
  EXPECT_EQ(ask(0xa9), Bytes{0});
  EXPECT_EQ(ask(0x20), Bytes{0x47});
  EXPECT_EQ(ask(0xd0), Bytes{0xcf});
  EXPECT_EQ(ask(0xa4), Bytes{0xf1});
  EXPECT_EQ(status() & 0x1d, 0x1c);
  command(0x65);
  data(0x5a);
  EXPECT_EQ(ask(0x25), Bytes{0x5a});
}

TEST_F(I8042Test, MouselessControllerFailsTheLoopTest) {
  I8042 bare({}, {}, {});
  put(bare.command_port(), 0xd3);
  put(bare.data_port(), 0x5a);
  EXPECT_EQ(get(bare.command_port()) & 0x21, 0x01);
  EXPECT_EQ(get(bare.data_port()), 0x5a);
  put(bare.command_port(), 0xa9);
  EXPECT_EQ(get(bare.data_port()), 1);
}

// The conversation of Linux' atkbd, untranslated.
TEST_F(I8042Test, KeyboardProbe) {
  set_mode(0x04);
  EXPECT_EQ(keyboard({0xf2}), (Bytes{0xfa, 0xab, 0x83}));
  EXPECT_EQ(keyboard({0xed, 0x00}), (Bytes{0xfa, 0xfa}));
  EXPECT_EQ(keyboard({0xf0, 0x02}), (Bytes{0xfa, 0xfa}));
  EXPECT_EQ(keyboard({0xf0, 0x00}), (Bytes{0xfa, 0xfa, 0x02}));
  EXPECT_EQ(keyboard({0xf3, 0x00}), (Bytes{0xfa, 0xfa}));
  EXPECT_EQ(keyboard({0xf5}), Bytes{0xfa});
  EXPECT_FALSE(kbc.key(0x1e, true)) << "off";
  EXPECT_EQ(keyboard({0xf4}), Bytes{0xfa});
  EXPECT_EQ(keyboard({0xff}), (Bytes{0xfa, 0xaa}));
  EXPECT_EQ(keyboard({0xee}), Bytes{0xee});
  EXPECT_EQ(keyboard({0xfe}), Bytes{0xee});
  EXPECT_EQ(keyboard({0x12}), Bytes{0xfe});
  EXPECT_EQ(keyboard({0xf0, 0x03}), (Bytes{0xfa, 0xfe}));
  set_mode(0x44);
  EXPECT_EQ(keyboard({0xf2}), (Bytes{0xfa, 0xab, 0x41})) << "translated too";
}

TEST_F(I8042Test, KeysInEachSet) {
  const auto press = [&](u16 code) {
    EXPECT_TRUE(kbc.key(code, true));
    EXPECT_TRUE(kbc.key(code, false));
    return drain();
  };
  EXPECT_EQ(press(0x1e), (Bytes{0x1e, 0x9e})) << "A";
  EXPECT_EQ(press(0x41), (Bytes{0x41, 0xc1})) << "F7, whose code of set 2 is 83h";
  EXPECT_EQ(press(0xe04d), (Bytes{0xe0, 0x4d, 0xe0, 0xcd})) << "right arrow";
  EXPECT_EQ(press(Ps2Keyboard::print_screen), (Bytes{0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa}));
  EXPECT_EQ(press(Ps2Keyboard::pause), (Bytes{0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5}));
  set_mode(0x05);
  EXPECT_EQ(press(0x1e), (Bytes{0x1c, 0xf0, 0x1c}));
  EXPECT_EQ(press(0xe04d), (Bytes{0xe0, 0x74, 0xe0, 0xf0, 0x74}));
  keyboard({0xf0, 0x01});
  EXPECT_EQ(press(0xe04d), (Bytes{0xe0, 0x4d, 0xe0, 0xcd}));
  EXPECT_EQ(press(0x0000), Bytes{});
  EXPECT_EQ(press(0x1234), Bytes{});
}

TEST(Ps2Translation, EveryKeyComesBack) {
  for (unsigned code = 1; code < 0x80; ++code) {
    const u8 set2 = set1_to_set2(static_cast<u8>(code));
    if (set2 != 0) {
      EXPECT_EQ(set2_to_set1(set2), code);
    }
  }
  EXPECT_EQ(set1_to_set2(0x39), 0x29) << "space";
  EXPECT_EQ(set1_to_set2(0x1c), 0x5a) << "enter";
}

TEST_F(I8042Test, InterruptPerByte) {
  kbc.key(0xe04d, true);
  EXPECT_TRUE(sink.lines[1]);
  EXPECT_EQ(sink.edges[1], 1u);
  get(kbc.data_port());
  EXPECT_EQ(sink.edges[1], 2u) << "each byte gives its own edge";
  get(kbc.data_port());
  EXPECT_FALSE(sink.lines[1]);
  EXPECT_EQ(get(kbc.data_port()), 0x4d) << "the last byte can be read again";
  set_mode(0x44);
  kbc.key(0x1e, true);
  EXPECT_FALSE(sink.lines[1]);
  EXPECT_EQ(status() & 1, 1);
}

TEST_F(I8042Test, DisabledInterfaceHoldsKeys) {
  command(0xad);
  kbc.key(0x1e, true);
  EXPECT_EQ(status() & 1, 0);
  EXPECT_EQ(ask(0x20), Bytes{0x57});
  command(0xae);
  EXPECT_EQ(drain(), Bytes{0x1e});
}

TEST_F(I8042Test, ControllerAnswersGoBeforeKeys) {
  kbc.key(0x1e, true);
  kbc.key(0x1e, false);
  command(0x20);
  EXPECT_EQ(drain(), (Bytes{0x1e, 0x47, 0x9e}));
}

TEST_F(I8042Test, TypingIntoAClosedGuestIsBounded) {
  unsigned taken = 0;
  for (int i = 0; i < 10000; ++i) taken += kbc.key(0x1e, true);
  EXPECT_LE(taken, 130u);
  EXPECT_EQ(drain().size(), taken);
}

TEST_F(I8042Test, Resets) {
  command(0xfe);
  EXPECT_EQ(resets, 1u);
  command(0xff);
  EXPECT_EQ(resets, 1u);
  command(0xd1);
  data(0xff);
  EXPECT_EQ(resets, 1u);
  command(0xd1);
  data(0xfe);
  EXPECT_EQ(resets, 2u);
  put(kbc.port92(), 2);
  EXPECT_EQ(resets, 2u);
  put(kbc.port92(), 3);
  EXPECT_EQ(resets, 3u);
}

TEST_F(I8042Test, A20IsOneBitSeenEverywhere) {
  EXPECT_EQ(get(kbc.port92()), 2);
  command(0xd1);
  data(0xdd);
  EXPECT_EQ(get(kbc.port92()), 0);
  put(kbc.port92(), 2);
  EXPECT_EQ(ask(0xd0), Bytes{0xcf});
  command(0xdd);
  EXPECT_EQ(ask(0xd0), Bytes{0xcd});
}

TEST_F(I8042Test, MouseSpeaksPlainAndWheel) {
  set_mode(0x47);
  EXPECT_EQ(mouse({0xff}), (Bytes{0xfa, 0xaa, 0x00}));
  EXPECT_EQ(mouse({0xf2}), (Bytes{0xfa, 0x00}));
  kbc.mouse(5, 5, 0, 1);
  EXPECT_EQ(drain(), Bytes{}) << "not reporting";
  EXPECT_EQ(mouse({0xf4}), Bytes{0xfa});
  kbc.mouse(3, -2, 1, 1);
  EXPECT_TRUE(sink.lines[12]);
  EXPECT_EQ(drain(), (Bytes{0x29, 3, 0xfe}));
  kbc.mouse(300, 0, 0, 0);
  EXPECT_EQ(drain(), (Bytes{0x08, 255, 0, 0x08, 45, 0}));
  EXPECT_EQ(mouse({0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2}), (Bytes{0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 3}));
  kbc.mouse(0, 0, -1, 4);
  EXPECT_EQ(drain(), (Bytes{0x0c, 0, 0, 0xff}));
  EXPECT_EQ(mouse({0xe9}), (Bytes{0xfa, 0x22, 2, 80}));
  EXPECT_EQ(mouse({0xee, 0x77, 0xec}), (Bytes{0xfa, 0x77, 0xfa}));
  EXPECT_EQ(mouse({0xe8, 0x07}), (Bytes{0xfa, 0xfe}));
  EXPECT_EQ(mouse({0xeb}), (Bytes{0xfa, 0x0c, 0, 0, 0}));
}

TEST_F(I8042Test, MouseFloodIsJoined) {
  mouse({0xf4});
  for (int i = 0; i < 100000; ++i) kbc.mouse(1 << 30, -(1 << 30), 1 << 30, static_cast<u8>(i));
  EXPECT_LE(drain().size(), 300u);
}

TEST(I8042Contract, Holds) {
  RecordingSink sink;
  const auto make = [&] {
    return std::make_unique<I8042>(bus::IrqLine(sink, 1), bus::IrqLine(sink, 12), I8042Config{.mouse = true});
  };
  auto nonsense = [](I8042& device, u32 seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 300; ++i) {
      u8 value = static_cast<u8>(random());
      bus::IoTarget* ports[] = {&device.data_port(), &device.command_port(), &device.port92()};
      bus::IoTarget& port = *ports[random() % 3];
      if (random() % 4) port.io_write(0, std::span(&value, 1));
      else port.io_read(0, std::span(&value, 1));
      if (random() % 3 == 0) device.key(static_cast<u16>(random()), random() % 2);
      if (random() % 3 == 0) device.mouse(static_cast<int>(random()), 5, 1, value);
    }
  };
  for (u32 seed = 1; seed <= 40; ++seed) {
    auto device = make();
    nonsense(*device, seed);
    bus::testing::check_round_trip(*device, *make());
    bus::testing::check_reset(*device, *make());
  }
  auto device = make();
  nonsense(*device, 99);
  bus::testing::poke_nonsense(device->data_port(), 0, 1, 4);
  bus::testing::poke_nonsense(device->command_port(), 0, 1, 4);
  bus::testing::check_bad_states(*device, [&]() -> std::unique_ptr<bus::Device> { return make(); });
}

}  // namespace
}  // namespace nagaya::chipset
