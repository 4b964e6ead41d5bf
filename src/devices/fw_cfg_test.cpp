#include "devices/fw_cfg.hpp"

#include <gtest/gtest.h>

#include "bus/bytes.hpp"
#include "bus/device_contract_test_util.hpp"

namespace nagaya::devices {
namespace {

FwCfgItems sample() {
  FwCfgItems items;
  items.set_u16(FwCfgKey::nb_cpus, 2);
  items.set_string(FwCfgKey::kernel_cmdline, "quiet");
  EXPECT_TRUE(items.add_file("opt/b", {1, 2, 3}));
  EXPECT_TRUE(items.add_e820(std::array<FwCfgE820, 1>{FwCfgE820{0x100000, 0x700000, 1}}));
  return items;
}

class FwCfgTest : public ::testing::Test {
 protected:
  void select(u16 key) {
    std::array<u8, 2> data{static_cast<u8>(key), static_cast<u8>(key >> 8)};
    device.io_write(0, data);
  }
  std::string bytes(std::size_t n) {
    std::string text;
    for (std::size_t i = 0; i < n; ++i) {
      u8 value = 0;
      device.io_read(1, std::span(&value, 1));
      text += static_cast<char>(value);
    }
    return text;
  }
  /// Runs a DMA operation with its descriptor at `at`; returns the control word that is left.
  u32 dma(u32 control, u32 length, u64 address, u64 at = 0x1000) {
    std::vector<u8> d;
    auto be = [&](u64 v, unsigned n) {
      for (unsigned i = n; i-- > 0;) d.push_back(static_cast<u8>(v >> (8 * i)));
    };
    be(control, 4);
    be(length, 4);
    be(address, 8);
    (void)memory->write(Gpa(at), d);
    d.clear();
    be(at, 8);
    device.io_write(4, std::span(d).first(4));
    device.io_write(8, std::span(d).subspan(4));
    std::array<u8, 4> left{};
    (void)memory->read(Gpa(at), left);
    return static_cast<u32>(left[0]) << 24 | left[1] << 16 | left[2] << 8 | left[3];
  }
  std::string guest(u64 at, std::size_t n) {
    std::string text(n, '?');
    EXPECT_TRUE(memory->read(Gpa(at), std::span(reinterpret_cast<u8*>(text.data()), n)));
    return text;
  }

  std::unique_ptr<memory::GuestMemory> memory = *memory::GuestMemory::create(8 * MiB);
  FwCfg device{*memory, sample()};
};

TEST_F(FwCfgTest, SignatureIdAndItems) {
  select(0);
  EXPECT_EQ(bytes(6), std::string("QEMU\0\0", 6)) << "past the end zeros";
  select(1);
  EXPECT_EQ(bytes(4), std::string("\3\0\0\0", 4));
  select(5);
  EXPECT_EQ(bytes(2), std::string("\2\0", 2));
  select(9);
  EXPECT_EQ(bytes(6), std::string("quiet\0", 6));
  select(0x4009);
  EXPECT_EQ(bytes(5), "quiet") << "the write bit is ignored";
  select(0x7777);
  EXPECT_EQ(bytes(3), std::string(3, '\0'));
}

TEST_F(FwCfgTest, DirectoryNamesFiles) {
  select(0x19);
  EXPECT_EQ(bytes(4), std::string("\0\0\0\2", 4));
  EXPECT_EQ(bytes(8), std::string("\0\0\0\x14\0\x20\0\0", 8));
  EXPECT_EQ(bytes(56), "etc/e820" + std::string(48, '\0'));
  EXPECT_EQ(bytes(8), std::string("\0\0\0\3\0\x21\0\0", 8));
  EXPECT_EQ(bytes(56), "opt/b" + std::string(51, '\0'));
  select(0x20);
  EXPECT_EQ(bytes(20), std::string("\0\0\x10\0\0\0\0\0\0\0\x70\0\0\0\0\0\1\0\0\0", 20));
}

TEST_F(FwCfgTest, DmaReadsSkipsAndSelects) {
  std::array<u8, 8> signature{};
  device.io_read(4, std::span(signature).first(4));
  device.io_read(8, std::span(signature).subspan(4));
  EXPECT_EQ(std::string(signature.begin(), signature.end()), "QEMU CFG");
  (void)memory->fill(Gpa(0x2000), 16, '#');
  EXPECT_EQ(dma(9 << 16 | 8 | 2, 3, 0x2000), 0u);
  EXPECT_EQ(guest(0x2000, 4), "qui#");
  EXPECT_EQ(dma(4, 1, 0), 0u);
  EXPECT_EQ(dma(2, 4, 0x2000), 0u);
  EXPECT_EQ(guest(0x2000, 5), std::string("t\0\0\0#", 5)) << "goes on after what was read and skipped, then zeros";
}

TEST_F(FwCfgTest, DmaChecksItsAddresses) {
  EXPECT_EQ(dma(9 << 16 | 8 | 2, 8, 0xfee0'0000), 1u);
  EXPECT_EQ(dma(9 << 16 | 8 | 2, 0xffff'ffff, 0x2000), 1u);
  EXPECT_EQ(dma(9 << 16 | 8 | 2, 8, ~u64{0} - 3), 1u);
  EXPECT_EQ(dma(9 << 16 | 8 | 16, 8, 0x2000), 1u) << "nothing can be written";
  dma(8 | 2, 8, 0x2000, 0x7f'fff8);
  dma(8 | 2, 8, 0x2000, ~u64{0} - 8);
  dma(8 | 2, 8, 0x2000, 0xc000'0000);
  EXPECT_EQ(dma(9 << 16 | 8 | 2, 16, 0x1000), 0u) << "over its own descriptor";
}

TEST_F(FwCfgTest, FileNamesAreChecked) {
  FwCfgItems items;
  EXPECT_FALSE(items.add_file("", {}));
  EXPECT_FALSE(items.add_file(std::string(56, 'x'), {}));
  EXPECT_TRUE(items.add_file(std::string(55, 'x'), {}));
  EXPECT_FALSE(items.add_file(std::string(55, 'x'), {}));
  EXPECT_FALSE(items.add_file(std::string("a\0b", 3), {}));
}

TEST_F(FwCfgTest, Contract) {
  bus::testing::check_device_contract<FwCfg>([&] { return std::make_unique<FwCfg>(*memory, sample()); }, 0, FwCfg::io_size, 8);
}

}  // namespace
}  // namespace nagaya::devices
