#include "boot/firmware_files.hpp"

#include <gtest/gtest.h>

#include <map>

#include "boot/acpi/tables.hpp"

namespace nagaya::boot {
namespace {

// Does what firmware does with the script, and compares with the tables placed by us.
TEST(FirmwareFiles, TheScriptPlacesTheTablesAsWeDo) {
  constexpr u64 tables_base = 0x7ff0'0000;
  const Platform platform{.cpus = 2, .ram_size = GiB, .ram_end = GiB};
  const auto files = build_firmware_files(platform);
  ASSERT_TRUE(files) << files.error().message();
  std::map<std::string, Bytes> by_name;
  for (const FirmwareFile& file : *files) by_name[file.name] = file.content;
  const Bytes& script = by_name.at("etc/table-loader");
  ASSERT_EQ(script.size() % 128, 0u);
  const auto text = [&](std::size_t at) { return std::string(reinterpret_cast<const char*>(&script[at])); };
  int allocated = 0;
  for (std::size_t at = 0; at < script.size(); at += 128) {
    const u32 command = *peek<u32>(script, at);
    Bytes& file = by_name.at(text(at + 4));
    if (command == 1) {
      ++allocated;
      EXPECT_EQ(script[at + 64], text(at + 4) == "etc/acpi/rsdp" ? 2 : 1);
    } else if (command == 2) {
      EXPECT_EQ(allocated, 2);
      EXPECT_EQ(text(at + 60), "etc/acpi/tables");
      const u32 offset = *peek<u32>(script, at + 116);
      if (script[at + 120] == 4) {
        poke<u32>(file, offset, *peek<u32>(file, offset) + static_cast<u32>(tables_base));
      } else {
        poke<u64>(file, offset, *peek<u64>(file, offset) + tables_base);
      }
    } else {
      ASSERT_EQ(command, 3u);
      const u32 sum = *peek<u32>(script, at + 60), start = *peek<u32>(script, at + 64),
                size = *peek<u32>(script, at + 68);
      file[sum] = static_cast<u8>(file[sum] + checksum(std::span(file).subspan(start, size)));
    }
  }
  auto expected = acpi::build(platform);
  ASSERT_TRUE(expected);
  acpi::place(*expected, tables_base);
  EXPECT_EQ(by_name.at("etc/acpi/rsdp"), expected->root);
  EXPECT_EQ(by_name.at("etc/acpi/tables"), expected->tables);
}

TEST(FirmwareFiles, SmbiosAnchorFitsTheStructures) {
  const auto files = build_firmware_files({.ram_size = GiB, .ram_end = GiB});
  ASSERT_TRUE(files);
  const Bytes &tables = (*files)[3].content, &anchor = (*files)[4].content;
  ASSERT_EQ(anchor.size(), 31u);
  EXPECT_EQ(checksum(anchor), 0);
  EXPECT_EQ(*peek<u16>(anchor, 22), tables.size());
}

}  // namespace
}  // namespace nagaya::boot
