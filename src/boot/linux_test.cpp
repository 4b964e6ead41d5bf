// bzImages and bare Linux ELF kernels.
#include <gtest/gtest.h>

#include "boot/boot_test_util.hpp"
#include "boot/image_test_util.hpp"

namespace nagaya::boot {
namespace {

namespace zp = zero_page;
using test::at;
using test::BzImageSpec;
using test::config_for;
using test::make_bzimage;
using test::make_elf;
using test::ram;

Bytes kernel_64() { return make_elf({.linux_note = true}); }
Bytes kernel_32() {
  return make_elf({.is_64 = false, .vaddr = 0xc100'0000, .linux_note = true});
}

class Payload : public testing::TestWithParam<Compression> {};

TEST_P(Payload, IsDecompressedAndEnteredDirectly) {
  const auto memory = ram(64 * MiB);
  const Bytes image = make_bzimage({.payload = test::compress(GetParam(), kernel_64())});
  const auto elf = extract_elf(image);
  ASSERT_TRUE(elf) << elf.error().message();
  EXPECT_EQ(*elf, kernel_64());
  const auto plan = load_kernel(*memory, config_for(image));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->protocol, Protocol::linux64);
  EXPECT_EQ(plan->bsp.rip, 16 * MiB);
  EXPECT_EQ(at<u8>(*memory, 16 * MiB), 0x90);
  EXPECT_NE(plan->summary.find("6.6.6-test"), std::string::npos) << plan->summary;
}

INSTANTIATE_TEST_SUITE_P(Formats, Payload,
                         testing::Values(Compression::gzip, Compression::bzip2, Compression::lzma, Compression::xz,
                                         Compression::lz4, Compression::zstd, Compression::unknown /* stored */),
                         [](const auto& info) { return name(info.param); });

TEST(Linux64, EntersLongModeWithAnIdentityMap) {
  const auto memory = ram(64 * MiB);
  const auto plan = load_kernel(*memory, config_for(make_bzimage({.payload = kernel_64()})));
  ASSERT_TRUE(plan) << plan.error().message();
  const x86::CpuState& cpu = plan->bsp;
  EXPECT_EQ(cpu.cr0 & 0x8000'0001, 0x8000'0001);
  EXPECT_NE(cpu.cr4 & 1 << 5, 0u);
  EXPECT_EQ(cpu.msr.efer & 0x500, 0x500u);
  EXPECT_EQ(cpu.rflags, 2u);
  EXPECT_TRUE(cpu.seg[x86::CS].l());
  EXPECT_EQ(cpu.seg[x86::CS].selector, 0x10);
  EXPECT_EQ(cpu.seg[x86::DS].selector, 0x18);
  EXPECT_TRUE(cpu.tr.present());
  // The descriptors in memory say the same as the loaded ones.
  EXPECT_EQ(at<u64>(*memory, cpu.gdtr.base + 0x10), 0x00af'9b00'0000'ffffu);
  EXPECT_EQ(at<u64>(*memory, cpu.gdtr.base + 0x18), 0x00cf'9300'0000'ffffu);
  // Walk the tables for a few addresses.
  for (u64 address : {u64{0}, 16 * MiB, 3 * GiB + 123 * MiB, 4 * GiB - 2 * MiB}) {
    const u64 pml4e = at<u64>(*memory, cpu.cr3 + (address >> 39) * 8);
    const u64 pdpte = at<u64>(*memory, (pml4e & ~u64{0xfff}) + (address >> 30 & 511) * 8);
    const u64 pde = at<u64>(*memory, (pdpte & ~u64{0xfff}) + (address >> 21 & 511) * 8);
    EXPECT_EQ(pml4e & pdpte & pde & 3, 3u);
    EXPECT_EQ(pde, (address & ~(2 * MiB - 1)) | 0x83);
  }
}

TEST(Linux64, FillsTheZeroPage) {
  const auto memory = ram(64 * MiB);
  BootConfig config = config_for(make_bzimage({.payload = kernel_64()}), "console=ttyS0 quiet");
  config.source.initrd = Bytes(10000, 0x5a);
  config.rng_seed = Bytes(32, 0x77);
  const auto plan = load_kernel(*memory, config);
  ASSERT_TRUE(plan) << plan.error().message();
  const u64 page = plan->bsp.gpr[x86::RSI];
  EXPECT_EQ(at<u16>(*memory, page + zp::boot_flag), 0xaa55);
  EXPECT_EQ(at<u32>(*memory, page + zp::magic), 0x53726448u);
  EXPECT_EQ(at<u16>(*memory, page + zp::version), 0x20f);
  EXPECT_EQ(at<u8>(*memory, page + zp::loader_type), 0xff);
  EXPECT_EQ(at<u64>(*memory, page + zp::acpi_rsdp), plan->rsdp);
  EXPECT_EQ(test::text_at(*memory, at<u32>(*memory, page + zp::cmdline_address)), "console=ttyS0 quiet");
  const u32 initrd = at<u32>(*memory, page + zp::ramdisk_address);
  EXPECT_EQ(initrd, 64 * MiB - 3 * page_size);
  EXPECT_EQ(at<u32>(*memory, page + zp::ramdisk_size), 10000u);
  EXPECT_EQ(at<u8>(*memory, initrd + 9999), 0x5a);
  const u64 seed = at<u64>(*memory, page + zp::setup_data);
  EXPECT_EQ(at<u32>(*memory, seed + 8), 9u);
  EXPECT_EQ(at<u32>(*memory, seed + 12), 32u);
  EXPECT_EQ(at<u8>(*memory, seed + 16 + 31), 0x77);
  const auto ranges = plan->memory_map.ranges();
  ASSERT_EQ(at<u8>(*memory, page + zp::e820_count), ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_EQ(at<u64>(*memory, page + zp::e820_table + i * 20), ranges[i].base);
    EXPECT_EQ(at<u64>(*memory, page + zp::e820_table + i * 20 + 8), ranges[i].size);
    EXPECT_EQ(at<u32>(*memory, page + zp::e820_table + i * 20 + 16), static_cast<u32>(ranges[i].kind));
  }
}

TEST(Linux, InitrdStaysBelowTheKernelsLimit) {
  const auto memory = ram(512 * MiB);
  BootConfig config = config_for(make_bzimage({.payload = kernel_64(), .initrd_max = 0x07ff'ffff}));
  config.source.initrd = Bytes(page_size);
  const auto plan = load_kernel(*memory, config);
  ASSERT_TRUE(plan);
  EXPECT_EQ(at<u32>(*memory, plan->bsp.gpr[x86::RSI] + zp::ramdisk_address), 128 * MiB - page_size);
}

TEST(Linux, StubIsEnteredWhenAskedOrNeeded) {
  const auto memory = ram(64 * MiB);
  BootConfig config = config_for(make_bzimage({.payload = test::compress(Compression::xz, kernel_64())}));
  config.decompress_in_guest = true;
  const auto asked = load_kernel(*memory, config);
  ASSERT_TRUE(asked) << asked.error().message();
  EXPECT_EQ(asked->bsp.rip, 16 * MiB + 0x200);
  EXPECT_EQ(at<u8>(*memory, 16 * MiB), 0xf4);

  const auto lzo = load_kernel(*memory, config_for(make_bzimage({.payload = {0x89, 'L', 'Z', 'O', 0, 13, 10}})));
  ASSERT_TRUE(lzo) << lzo.error().message();
  EXPECT_EQ(lzo->bsp.rip, 16 * MiB + 0x200);
  EXPECT_EQ(lzo->notes.size(), 1u);

  config = config_for(make_bzimage({.payload = kernel_64()}));
  config.protocol = Protocol::linux32;
  const auto narrow = load_kernel(*memory, config);
  ASSERT_TRUE(narrow) << narrow.error().message();
  EXPECT_EQ(narrow->protocol, Protocol::linux32);
  EXPECT_EQ(narrow->bsp.rip, 16 * MiB);
}

TEST(Linux, RelocatableStubFindsAnotherPlaceInSmallMemory) {
  const auto memory = ram(16 * MiB);
  BzImageSpec spec{.payload = {1, 2, 3}};
  const auto moved = load_kernel(*memory, config_for(make_bzimage(spec)));
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_EQ(moved->bsp.rip, 2 * MiB + 0x200);
  EXPECT_EQ(at<u32>(*memory, moved->bsp.gpr[x86::RSI] + zp::code32_start), 2 * MiB);
  spec.init_size = 64 * MiB;
  EXPECT_NE(test::failure(load_kernel(*memory, config_for(make_bzimage(spec)))).find("more memory"), std::string::npos);
}

TEST(Linux32, EntersFlatProtectedMode) {
  const auto memory = ram(64 * MiB);
  const auto plan = load_kernel(
      *memory, config_for(make_bzimage({.payload = kernel_32(), .kernel_64 = false, .initrd_max = 0x37ff'ffff})));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->protocol, Protocol::linux32);
  const x86::CpuState& cpu = plan->bsp;
  EXPECT_EQ(cpu.rip, 16 * MiB);
  EXPECT_EQ(cpu.cr0 & 0x8000'0001, 1u);
  EXPECT_EQ(cpu.msr.efer, 0u);
  EXPECT_TRUE(cpu.seg[x86::CS].db());
  EXPECT_FALSE(cpu.seg[x86::CS].l());
  EXPECT_EQ(cpu.seg[x86::CS].limit, 0xffff'ffff);
  EXPECT_EQ(at<u64>(*memory, cpu.gdtr.base + 0x10), 0x00cf'9b00'0000'ffffu);
  EXPECT_EQ(at<u16>(*memory, cpu.gpr[x86::RSI] + zp::boot_flag), 0xaa55);
  BootConfig config = config_for(make_bzimage({.payload = kernel_32(), .kernel_64 = false}));
  config.protocol = Protocol::linux64;
  EXPECT_NE(test::failure(load_kernel(*memory, config)).find("32-bit kernel"), std::string::npos);
}

TEST(LinuxElf, BareVmlinuxWithoutPvhGetsAMadeUpHeader) {
  const auto memory = ram(64 * MiB);
  const auto plan = load_kernel(*memory, config_for(kernel_64()));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->protocol, Protocol::linux64);
  EXPECT_EQ(at<u32>(*memory, plan->bsp.gpr[x86::RSI] + zp::magic), 0x53726448u);
  EXPECT_EQ(load_kernel(*memory, config_for(kernel_32()))->protocol, Protocol::linux32);
}

struct Broken {
  const char* what;
  std::size_t offset;
  u64 value;
  int width;
  const char* message;
};
class BrokenBzImage : public testing::TestWithParam<Broken> {};

TEST_P(BrokenBzImage, IsRefusedWithAReason) {
  const auto memory = ram(64 * MiB);
  Bytes image = make_bzimage({.payload = test::compress(Compression::gzip, kernel_64())});
  const Broken& b = GetParam();
  if (b.width == 1) poke<u8>(image, b.offset, static_cast<u8>(b.value));
  if (b.width == 2) poke<u16>(image, b.offset, static_cast<u16>(b.value));
  if (b.width == 4) poke<u32>(image, b.offset, static_cast<u32>(b.value));
  if (b.width == 8) poke<u64>(image, b.offset, b.value);
  const std::string message = test::failure(load_kernel(*memory, config_for(image)));
  EXPECT_NE(message.find(b.message), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(
    Fields, BrokenBzImage,
    testing::Values(Broken{"protocol", zp::version, 0x201, 2, "older than 2.02"},
                    Broken{"zimage", zp::load_flags, 0, 1, "zImage"},
                    Broken{"setup", zp::header, 200, 1, "ends inside the set-up code"},
                    Broken{"jump", zp::jump + 1, 3, 1, "header ends already"},
                    Broken{"syssize", 0x1f4, 0xffff'ffff, 4, "bytes of kernel code"},
                    Broken{"alignment", zp::kernel_alignment, 3, 4, "power of two"},
                    Broken{"preferred", zp::preferred_address, ~u64{0}, 8, "outside 1 MiB..4 GiB"},
                    Broken{"low", zp::preferred_address, 0x1000, 8, "outside 1 MiB..4 GiB"},
                    Broken{"payload_at", zp::payload_offset, 0xffff'fff0, 4, "outside the file"},
                    Broken{"payload_size", zp::payload_length, 0x7fff'ffff, 4, "outside the file"},
                    Broken{"cmdline", zp::cmdline_size, 4, 4, "takes at most 4"},
                    Broken{"damage", test::setup_size + 0x400 + 20, 0x5555'5555'5555, 8, "corrupt"}),
    [](const auto& info) { return info.param.what; });

TEST(Linux, PayloadThatGrowsBeyondInitSizeIsABomb) {
  const auto memory = ram(256 * MiB);
  test::ElfSpec elf;
  elf.code = Bytes(32 * MiB, 0);
  const auto plan =
      load_kernel(*memory, config_for(make_bzimage({.payload = test::compress(Compression::xz, make_elf(elf))})));
  EXPECT_NE(test::failure(plan).find("grows beyond"), std::string::npos);
}

TEST(Linux, EveryTruncationIsAnErrorOrHarmless) {
  const auto memory = ram(32 * MiB);
  const Bytes image = make_bzimage({.payload = test::compress(Compression::gzip, kernel_64())});
  for (std::size_t size = 0; size < image.size() - 16; size += 3) {
    EXPECT_FALSE(
        load_kernel(*memory, config_for(Bytes(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(size)))))
        << size;
  }
}

TEST(Linux, CallersMistakesAreNamed) {
  const auto memory = ram(64 * MiB);
  const Bytes image = make_bzimage({.payload = kernel_64()});
  EXPECT_NE(test::failure(load_kernel(*memory, config_for(image, std::string(2048, 'x')))).find("2047"),
            std::string::npos);
  EXPECT_NE(test::failure(load_kernel(*memory, config_for(image, std::string("a\0b", 3)))).find("NUL"),
            std::string::npos);
  BootConfig config = config_for(image);
  config.source.initrd = Bytes(60 * MiB);
  EXPECT_NE(test::failure(load_kernel(*memory, config)).find("cannot place the initrd"), std::string::npos);
  config = config_for(image);
  config.platform.cpus = 0;
  EXPECT_NE(test::failure(load_kernel(*memory, config)).find("processors"), std::string::npos);
  const auto tiny = ram(512 * KiB);
  EXPECT_NE(test::failure(load_kernel(*tiny, config_for(image))).find("1 MiB"), std::string::npos);
  const auto small = ram(8 * MiB);
  EXPECT_NE(test::failure(load_kernel(*small, config_for(image))).find("more memory"), std::string::npos);
}

}  // namespace
}  // namespace nagaya::boot
