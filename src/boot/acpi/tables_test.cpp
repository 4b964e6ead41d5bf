#include "boot/acpi/tables.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>

#include "x86/pc_layout.hpp"

namespace nagaya::boot::acpi {
namespace {

namespace pc = x86::pc;
constexpr u64 base = 0xe'0040;

// The tables of an image by signature, reached as a system would, by pointers and checked checksums.
std::map<std::string, Bytes> tables_of(const Image& image) {
  std::map<std::string, Bytes> out;
  EXPECT_EQ(checksum(std::span(image.root).first(20)), 0);
  EXPECT_EQ(checksum(image.root), 0);
  const auto take = [&](u64 address) {
    const u64 at = address - base;
    const u32 length = *peek<u32>(image.tables, at + 4);
    const auto table = slice(image.tables, at, length);
    EXPECT_TRUE(table);
    const std::string signature(reinterpret_cast<const char*>(table->data()), 4);
    if (signature != "FACS") {
      EXPECT_EQ(checksum(*table), 0) << signature;
    }
    out[signature] = Bytes(table->begin(), table->end());
    return out[signature];
  };
  const Bytes rsdt = take(*peek<u32>(image.root, 16)), xsdt = take(*peek<u64>(image.root, 24));
  EXPECT_EQ((rsdt.size() - 36) / 4, (xsdt.size() - 36) / 8);
  for (std::size_t i = 0; 36 + i * 8 < xsdt.size(); ++i) {
    EXPECT_EQ(*peek<u64>(xsdt, 36 + i * 8), *peek<u32>(rsdt, 36 + i * 4));
    take(*peek<u64>(xsdt, 36 + i * 8));
  }
  const Bytes fadt = out["FACP"];
  EXPECT_EQ(*peek<u32>(fadt, 40), *peek<u64>(fadt, 140));
  EXPECT_EQ(*peek<u32>(fadt, 36) % 64, 0u);
  take(*peek<u32>(fadt, 36));
  take(*peek<u64>(fadt, 140));
  return out;
}

std::map<std::string, Bytes> tables_for(const Platform& platform) {
  auto image = build(platform);
  EXPECT_TRUE(image) << image.error().message();
  place(*image, base);
  return tables_of(*image);
}

TEST(AcpiTables, AllAreReachedAndSumToZero) {
  const auto tables = tables_for({.cpus = 2, .fw_cfg = true});
  for (const char* signature : {"RSDT", "XSDT", "FACP", "FACS", "APIC", "MCFG", "DSDT"}) {
    EXPECT_TRUE(tables.contains(signature)) << signature;
  }
}

TEST(AcpiTables, FadtDescribesTheFixedHardware) {
  const Bytes fadt = tables_for({}).at("FACP");
  ASSERT_EQ(fadt.size(), 276u);
  EXPECT_EQ(*peek<u16>(fadt, 46), pc::sci_irq);
  EXPECT_EQ(*peek<u32>(fadt, 48), pc::smi_command_port);
  EXPECT_EQ(fadt[52], pc::acpi_enable_value);
  EXPECT_EQ(*peek<u32>(fadt, 56), pc::pm1_event_port);
  EXPECT_EQ(*peek<u32>(fadt, 64), pc::pm1_control_port);
  EXPECT_EQ(*peek<u32>(fadt, 76), pc::pm_timer_port);
  EXPECT_EQ(*peek<u32>(fadt, 80), pc::gpe0_port);
  EXPECT_EQ(fadt[88], 4);
  EXPECT_EQ(fadt[89], 2);
  EXPECT_EQ(fadt[91], 4);
  EXPECT_EQ(fadt[108], 0x32);
  EXPECT_EQ(*peek<u16>(fadt, 109), 0x7);
  const u32 flags = *peek<u32>(fadt, 112);
  EXPECT_EQ(flags >> 20 & 1, 0u);  // not hardware-reduced
  EXPECT_EQ(flags >> 10 & 1, 1u);  // the reset register counts
  EXPECT_EQ(fadt[116], 1);
  EXPECT_EQ(*peek<u64>(fadt, 120), pc::reset_port);
  EXPECT_EQ(fadt[128], pc::reset_value);
  EXPECT_EQ(*peek<u64>(fadt, 152), pc::pm1_event_port);
  EXPECT_EQ(*peek<u64>(fadt, 212), pc::pm_timer_port);
  EXPECT_EQ(*peek<u64>(fadt, 224), pc::gpe0_port);
}

TEST(AcpiTables, MadtListsEveryProcessor) {
  const Bytes madt = tables_for({.cpus = 255}).at("APIC");
  EXPECT_EQ(*peek<u32>(madt, 36), pc::lapic_base);
  u32 processors = 0, ioapics = 0;
  for (std::size_t at = 44; at < madt.size(); at += madt[at + 1]) {
    ASSERT_GE(madt[at + 1], 2);
    if (madt[at] == 0) {
      EXPECT_EQ(madt[at + 3], processors++);
    }
    if (madt[at] == 1) ++ioapics;
    if (madt[at] == 2) {
      EXPECT_EQ(madt[at + 3], pc::sci_irq);
      EXPECT_EQ(*peek<u16>(madt, at + 8), 0xd);
    }
  }
  EXPECT_EQ(processors, 255u);
  EXPECT_EQ(ioapics, 1u);
}

TEST(AcpiTables, ImpossibleProcessorCountsAreRefused) {
  EXPECT_FALSE(build({.cpus = 0}));
  EXPECT_FALSE(build({.cpus = pc::max_cpus + 1}));
}

// Intel's compiler takes every table apart and puts it together again: the most exacting reader there is.
TEST(AcpiTables, IaslAcceptsThem) {
  if (std::system("iasl -v > /dev/null 2>&1") != 0) GTEST_SKIP() << "iasl (package acpica-tools) is not here";
  namespace fs = std::filesystem;
  std::string pattern = (fs::temp_directory_path() / "nagaya-acpi-XXXXXX").string();
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  const fs::path folder = pattern;
  for (const auto& [signature, table] : tables_for({.cpus = 3, .serial_ports = 4, .fw_cfg = true})) {
    if (signature == "FACS") continue;  // has no checksum, which iasl calls an error when it stands alone
    const fs::path binary = folder / (signature + ".dat");
    std::FILE* file = std::fopen(binary.c_str(), "wb");
    ASSERT_NE(file, nullptr);
    std::fwrite(table.data(), 1, table.size(), file);
    std::fclose(file);
    const std::string in = fmt::format("cd '{}' && ", folder.string());
    EXPECT_EQ(std::system((in + "iasl -d " + signature + ".dat > log 2>&1 && ! grep -iE 'error|invalid' log").c_str()),
              0)
        << signature;
    if (signature == "RSDT" || signature == "XSDT") continue;  // iasl does not compile these
    EXPECT_EQ(std::system((in + "iasl -oa -p again " + signature + ".dsl > log 2>&1 || { cat log; false; }").c_str()),
              0)
        << signature;
    EXPECT_EQ(std::system((in + "grep -q '0 Errors, 0 Warnings' log || { cat log; false; }").c_str()), 0) << signature;
    if (signature != "DSDT") continue;
    // With optimization off the bytes come out as ours, apart from the compiler's own identification in the header.
    EXPECT_EQ(std::system((in + "cmp -i 36 DSDT.dat again.aml").c_str()), 0);
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace nagaya::boot::acpi
