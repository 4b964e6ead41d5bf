// What kind of file it is, and whole boots of kernels from outside.
#include "boot/boot.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "boot/boot_test_util.hpp"
#include "boot/image_test_util.hpp"

namespace nagaya::boot {
namespace {

using test::config_for;
using test::ram;

TEST(Boot, FilesThatAreNoKernelsAreNamed) {
  const auto memory = ram(16 * MiB);
  const auto message = [&](Bytes file) { return test::failure(load_kernel(*memory, config_for(std::move(file)))); };
  EXPECT_NE(message({}).find("empty"), std::string::npos);
  EXPECT_NE(message(Bytes(10000, 'x')).find("neither a bzImage nor an ELF"), std::string::npos);
  Bytes arm(100);
  poke<u32>(arm, 56, 0x644d5241);
  EXPECT_NE(message(arm).find("ARM64"), std::string::npos);
  Bytes disk(4096);
  poke<u16>(disk, 510, 0xaa55);
  EXPECT_NE(message(disk).find("boot sector"), std::string::npos);
  EXPECT_NE(message({'0', '7', '0', '7', '0', '1', '0', '0'}).find("initrd"), std::string::npos);
  EXPECT_NE(message(test::make_elf({})).find("neither a PVH entry note nor a multiboot header"), std::string::npos);
}

TEST(Boot, PvhComesBeforeMultibootAndCanBeOverruled) {
  const auto memory = ram(64 * MiB);
  test::ElfSpec spec{.pvh_entry = 16 * MiB + 32};
  spec.code = test::make_multiboot_header(3);
  append(spec.code, Bytes(64));
  BootConfig config = config_for(test::make_elf(spec));
  EXPECT_EQ(load_kernel(*memory, config)->protocol, Protocol::pvh);
  config.protocol = Protocol::multiboot;
  EXPECT_EQ(load_kernel(*memory, config)->protocol, Protocol::multiboot);
  config.protocol = Protocol::linux64;
  EXPECT_NE(test::failure(load_kernel(*memory, config)).find("linux64"), std::string::npos);
}

TEST(Boot, KernelCompressedAsAWholeIsUnpacked) {
  const auto memory = ram(64 * MiB);
  const Bytes elf = test::make_elf({.pvh_entry = 16 * MiB});
  const auto plan = load_kernel(*memory, config_for(test::compress(Compression::gzip, elf)));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->protocol, Protocol::pvh);
  EXPECT_FALSE(load_kernel(*memory, config_for(test::compress(Compression::gzip, Bytes(100 * MiB)))));
}

TEST(Boot, FilesAreReadWithinTheLimit) {
  const std::string path = testing::TempDir() + "nagaya-boot-test-file";
  std::ofstream(path) << std::string(5000, 'k');
  const auto source =
      read_boot_source({.kernel = path, .initrd = path, .cmdline = "c", .modules = {path + " an argument"}}, 5000);
  ASSERT_TRUE(source) << source.error().message();
  EXPECT_EQ(source->kernel.size(), 5000u);
  EXPECT_EQ(source->initrd.size(), 5000u);
  EXPECT_EQ(source->modules.at(0).bytes.size(), 5000u);
  EXPECT_EQ(source->modules.at(0).cmdline, path + " an argument");
  const auto message = [](const BootFiles& files) {
    const auto result = read_boot_source(files, 4999);
    return result ? "" : result.error().message();
  };
  EXPECT_NE(message({.kernel = path}).find("larger than the guest's memory"), std::string::npos);
  EXPECT_NE(message({.kernel = "/dev/zero"}).find("larger than the guest's memory"), std::string::npos);
  EXPECT_NE(message({.kernel = "/dev/null"}).find("empty"), std::string::npos);
  EXPECT_NE(message({.kernel = "/"}).find("cannot read"), std::string::npos);
  EXPECT_NE(message({.kernel = path + "-not"}).find("No such file"), std::string::npos);
  std::remove(path.c_str());
}

// A distribution's kernel, when one is named: as bzImage, decompressed in the guest, and as the ELF inside.
TEST(Boot, RealKernel) {
  const char* path = std::getenv("NAGAYA_TEST_KERNEL");
  if (path == nullptr) GTEST_SKIP() << "NAGAYA_TEST_KERNEL names no bzImage";
  const auto memory = ram(256 * MiB);
  auto source = read_boot_source({.kernel = path, .cmdline = "console=ttyS0"}, 256 * MiB);
  ASSERT_TRUE(source) << source.error().message();
  BootConfig config;
  config.source = std::move(*source);
  const auto direct = load_kernel(*memory, config);
  ASSERT_TRUE(direct) << direct.error().message();
  EXPECT_TRUE(direct->notes.empty());
  config.decompress_in_guest = true;
  const auto stub = load_kernel(*memory, config);
  ASSERT_TRUE(stub) << stub.error().message();
  EXPECT_EQ(stub->protocol, direct->protocol);
  EXPECT_NE(stub->summary.find("decompressed in the guest"), std::string::npos) << stub->summary;
  auto elf = extract_elf(config.source.kernel);
  ASSERT_TRUE(elf) << elf.error().message();
  config.source.kernel = std::move(*elf);
  const auto inner = load_kernel(*memory, config);
  ASSERT_TRUE(inner) << inner.error().message();
}

}  // namespace
}  // namespace nagaya::boot
