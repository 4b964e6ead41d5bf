#include "boot/firmware.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "boot/boot_test_util.hpp"
#include "boot/bytes.hpp"
#include "boot/mptable.hpp"
#include "boot/smbios.hpp"

namespace nagaya::boot {
namespace {

namespace pc = x86::pc;

// The paragraph-aligned place of a signature in the BIOS area, as systems search for it.
u64 find(const Bytes& area, u64 area_base, std::string_view signature, u64 from) {
  for (u64 at = from; at < area_base + area.size(); at += 16) {
    if (std::memcmp(area.data() + (at - area_base), signature.data(), signature.size()) == 0) return at;
  }
  return 0;
}

TEST(Firmware, TablesAreWhereSystemsLook) {
  const auto memory = test::ram(16 * MiB);
  const Platform platform{.cpus = pc::max_cpus, .serial_ports = 2, .ram_size = 16 * MiB, .ram_end = 16 * MiB};
  const auto rsdp = write_firmware_tables(*memory, platform);
  ASSERT_TRUE(rsdp) << rsdp.error().message();
  Bytes area(pc::bios_tables_end - pc::bios_tables_base);
  ASSERT_TRUE(memory->read(Gpa(pc::bios_tables_base), area));
  EXPECT_EQ(find(area, pc::bios_tables_base, "RSD PTR ", pc::bios_tables_base), *rsdp);
  EXPECT_NE(find(area, pc::bios_tables_base, "_MP_", 0xf0000), 0u);
  EXPECT_NE(find(area, pc::bios_tables_base, "_SM_", 0xf0000), 0u);
  EXPECT_NE(find(area, pc::bios_tables_base, "_SM3_", 0xf0000), 0u);
  EXPECT_EQ(test::at<u16>(*memory, 0x400), 0x3f8);
  EXPECT_EQ(test::at<u16>(*memory, 0x402), 0x2f8);
  EXPECT_EQ(test::at<u16>(*memory, 0x404), 0);
  EXPECT_EQ(test::at<u16>(*memory, 0x40e) * 16u, pc::ebda_base);
  EXPECT_EQ(test::at<u16>(*memory, 0x413), 639);
  EXPECT_EQ(test::at<u8>(*memory, pc::ebda_base), 1);
}

TEST(MpTable, CountsItsEntriesAndSumsToZero) {
  constexpr u32 base = 0xf'0000;
  const Bytes all = build_mp_table({.cpus = 3}, base);
  EXPECT_EQ(checksum(std::span(all).first(16)), 0);
  EXPECT_EQ(*peek<u32>(all, 4), base + 16);
  const auto table = std::span(all).subspan(16);
  EXPECT_EQ(*peek<u16>(table, 4), table.size());
  EXPECT_EQ(checksum(table), 0);
  u32 count = 0, processors = 0, boot_processors = 0;
  std::set<u32> pins;
  for (std::size_t at = 44; at < table.size(); ++count) {
    const u8 type = table[at];
    ASSERT_LE(type, 4);
    if (type == 0) {
      ++processors;
      boot_processors += table[at + 3] >> 1 & 1;
    }
    if (type == 3) pins.insert(table[at + 7]);
    at += type == 0 ? 20 : 8;
  }
  EXPECT_EQ(count, *peek<u16>(table, 34));
  EXPECT_EQ(processors, 3u);
  EXPECT_EQ(boot_processors, 1u);
  EXPECT_EQ(pins.size(), 15u + pc::pci_irq_count);
}

TEST(Smbios, StructuresAreWellFormed) {
  Platform platform{
      .cpus = 4, .ram_size = 6 * GiB, .ram_end = 4 * GiB + 6 * GiB - pc::ram_low_limit, .serial_number = "S-1"};
  for (u8 i = 0; i < 16; ++i) platform.uuid[i] = i;
  constexpr u32 base = 0xf'8000;
  const Bytes all = build_smbios(platform, base);
  EXPECT_EQ(checksum(std::span(all).first(24)), 0);
  EXPECT_EQ(checksum(std::span(all).subspan(32, 31)), 0);
  EXPECT_EQ(checksum(std::span(all).subspan(48, 15)), 0);
  const u32 size = *peek<u32>(all, 12);
  EXPECT_EQ(*peek<u64>(all, 16), base + 64);
  EXPECT_EQ(*peek<u32>(all, 32 + 24), base + 64);
  EXPECT_EQ(*peek<u16>(all, 32 + 22), size);
  const auto table = std::span(all).subspan(64);
  ASSERT_EQ(table.size(), size);
  u32 count = 0;
  std::set<u16> handles;
  std::set<u8> types;
  std::size_t at = 0;
  while (at < table.size()) {
    const u8 type = table[at];
    types.insert(type);
    EXPECT_TRUE(handles.insert(*peek<u16>(table, at + 2)).second);
    if (type == 1) {
      EXPECT_EQ(table[at + 8], 3);  // the UUID's first field is little-endian
      EXPECT_EQ(table[at + 16], 8);
    }
    if (type == 4) {
      EXPECT_EQ(table[at + 0x23], 4);
    }
    if (type == 16) {
      EXPECT_EQ(*peek<u32>(table, at + 7), 6 * MiB);  // in KiB
    }
    if (type == 17) {
      EXPECT_EQ(*peek<u16>(table, at + 12), 6 * 1024);
    }
    at += table[at + 1];
    while (table[at] != 0 || table[at + 1] != 0) ++at;
    at += 2;
    ++count;
  }
  EXPECT_EQ(count, *peek<u16>(all, 32 + 28));
  EXPECT_EQ(types, (std::set<u8>{0, 1, 3, 4, 16, 17, 19, 32, 127}));
}

TEST(Smbios, StructuresHaveTheLengthsOfTheirVersion) {
  const Bytes table = smbios_structures({.ram_size = GiB, .ram_end = GiB});
  const std::map<u8, u8> lengths = {{0, 24},  {1, 27},  {3, 22},  {4, 48}, {16, 23},
                                    {17, 40}, {19, 31}, {32, 11}, {127, 4}};
  for (std::size_t at = 0; at < table.size();) {
    EXPECT_EQ(table[at + 1], lengths.at(table[at])) << int{table[at]};
    at += table[at + 1];
    while (table[at] != 0 || table[at + 1] != 0) ++at;
    at += 2;
  }
}

}  // namespace
}  // namespace nagaya::boot
