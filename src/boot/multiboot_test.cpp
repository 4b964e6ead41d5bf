#include <gtest/gtest.h>

#include "boot/boot_test_util.hpp"
#include "boot/image_test_util.hpp"

namespace nagaya::boot {
namespace {

using test::at;
using test::make_multiboot_header;

constexpr u32 addresses = 1 << 16;
constexpr u32 base = 2 * MiB;

Bytes flat_kernel() {
  Bytes file(64, 0x90);  // code before the header
  append(file, make_multiboot_header(addresses | 3, base + 64, base, 0, base + 8192, base + 4));
  append(file, Bytes(100, 0xcc));
  return file;
}

TEST(Multiboot, LoadsByTheAddressesInTheHeader) {
  const auto memory = test::ram(64 * MiB);
  BootConfig config = test::config_for(flat_kernel(), "one two");
  config.source.kernel_name = "/boot/toy";
  config.source.initrd = Bytes(100, 0x33);
  config.source.modules.push_back({Bytes(50, 0x44), "mod arg"});
  ASSERT_TRUE(memory->fill(Gpa(base), 16384, 0xff));
  const auto plan = load_kernel(*memory, config);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->protocol, Protocol::multiboot);
  EXPECT_EQ(plan->bsp.rip, base + 4);
  EXPECT_EQ(plan->bsp.gpr[x86::RAX], 0x2badb002u);
  EXPECT_EQ(plan->bsp.cr0 & 0x8000'0001, 1u);
  EXPECT_EQ(at<u8>(*memory, base), 0x90);
  EXPECT_EQ(at<u8>(*memory, base + 64 + 32 + 99), 0xcc);
  EXPECT_EQ(at<u8>(*memory, base + 64 + 32 + 100), 0);
  EXPECT_EQ(at<u8>(*memory, base + 8191), 0);
  EXPECT_EQ(at<u8>(*memory, base + 8192), 0xff);

  const u64 info = plan->bsp.gpr[x86::RBX];
  EXPECT_EQ(at<u32>(*memory, info), 0x24du);
  EXPECT_EQ(at<u32>(*memory, info + 4), 639u);
  EXPECT_EQ(at<u32>(*memory, info + 8), 63u * 1024);
  EXPECT_EQ(test::text_at(*memory, at<u32>(*memory, info + 16)), "/boot/toy one two");
  ASSERT_EQ(at<u32>(*memory, info + 20), 2u);
  const u32 list = at<u32>(*memory, info + 24);
  const u32 first = at<u32>(*memory, list);
  EXPECT_EQ(first % page_size, 0u);
  EXPECT_EQ(at<u32>(*memory, list + 4), first + 100);
  EXPECT_EQ(at<u8>(*memory, first + 99), 0x33);
  EXPECT_EQ(test::text_at(*memory, at<u32>(*memory, list + 8)), "initrd");
  EXPECT_EQ(at<u8>(*memory, at<u32>(*memory, list + 16)), 0x44);
  EXPECT_EQ(test::text_at(*memory, at<u32>(*memory, list + 24)), "mod arg");
  const u32 map = at<u32>(*memory, info + 48);
  EXPECT_EQ(at<u32>(*memory, info + 44), plan->memory_map.ranges().size() * 24);
  EXPECT_EQ(at<u32>(*memory, map), 20u);
  EXPECT_EQ(at<u64>(*memory, map + 12), plan->memory_map.ranges()[0].size);
  EXPECT_EQ(test::text_at(*memory, at<u32>(*memory, info + 64)), "nagaya");
}

TEST(Multiboot, LoadsElfKernelsAlsoLinkedHigh) {
  const auto memory = test::ram(64 * MiB);
  for (bool is_64 : {false, true}) {
    test::ElfSpec spec{.is_64 = is_64, .paddr = MiB, .vaddr = 0xc010'0000, .entry = 0xc010'0020};
    spec.code = make_multiboot_header(0);
    append(spec.code, Bytes(64, 0x90));
    const auto plan = load_kernel(*memory, test::config_for(test::make_elf(spec)));
    ASSERT_TRUE(plan) << plan.error().message();
    EXPECT_EQ(plan->protocol, Protocol::multiboot);
    EXPECT_EQ(plan->bsp.rip, MiB + 0x20);
  }
}

TEST(Multiboot, EntryThatIsPhysicalStaysSo) {
  const auto memory = test::ram(64 * MiB);
  test::ElfSpec spec{.is_64 = false, .paddr = MiB, .vaddr = MiB, .entry = MiB + 0x20};
  spec.code = make_multiboot_header(3);
  append(spec.code, Bytes(64, 0x90));
  EXPECT_EQ(load_kernel(*memory, test::config_for(test::make_elf(spec)))->bsp.rip, MiB + 0x20);
}

TEST(Multiboot, VideoWishIsNoted) {
  const auto memory = test::ram(64 * MiB);
  Bytes file = make_multiboot_header(addresses | 4, base, base, 0, 0, base);
  append_zeros(file, 64);
  const auto plan = load_kernel(*memory, test::config_for(file));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->notes.size(), 1u);
}

TEST(Multiboot, NonsenseIsRefused) {
  const auto memory = test::ram(64 * MiB);
  const auto refused = [&](const Bytes& header, const char* why) {
    Bytes file = header;
    append_zeros(file, 64);
    const std::string message = test::failure(load_kernel(*memory, test::config_for(file)));
    EXPECT_NE(message.find(why), std::string::npos) << message;
  };
  refused(make_multiboot_header(8), "requires features 0x8");
  refused(make_multiboot_header(0), "not ELF");
  refused(make_multiboot_header(addresses, base - 1, base), "before its load address");
  refused(make_multiboot_header(addresses, base + 4, base), "before the start of the file");
  refused(make_multiboot_header(addresses, base, base, base - 1), "load end");
  refused(make_multiboot_header(addresses, base, base, base + 4096), "more than the file has");
  refused(make_multiboot_header(addresses, base, base, 0, base + 1, base), "bss ends before");
  refused(make_multiboot_header(addresses, base, base, 0, 0, base - 1), "entry");
  refused(make_multiboot_header(addresses, base, base, 0, 0, base + 96), "entry");
  refused(make_multiboot_header(addresses, 0xffff'fff0, 0xffff'fff0, 0, 0, 0xffff'fff0), "below 4 GiB");
  refused(make_multiboot_header(addresses, 0x9'fff0, 0x9'fff0, 0, 0, 0x9'fff0), "not RAM");
}

TEST(Multiboot, HeaderCountsOnlyWithChecksumInTheFirst8KiB) {
  const auto memory = test::ram(64 * MiB);
  Bytes late(8192 - 8);
  append(late, make_multiboot_header(addresses, base, base, 0, 0, base));
  EXPECT_FALSE(load_kernel(*memory, test::config_for(late)));
  Bytes wrong = flat_kernel();
  wrong[64 + 8] ^= 1;
  EXPECT_FALSE(load_kernel(*memory, test::config_for(wrong)));
}

}  // namespace
}  // namespace nagaya::boot
