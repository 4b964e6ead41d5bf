#include <gtest/gtest.h>

#include "boot/boot_test_util.hpp"
#include "boot/image_test_util.hpp"

namespace nagaya::boot {
namespace {

using test::at;

TEST(Pvh, HandsOverStartInformation) {
  const auto memory = test::ram(64 * MiB);
  BootConfig config = test::config_for(test::make_elf({.pvh_entry = 16 * MiB + 4}), "hello");
  config.source.initrd = Bytes(5000, 0x11);
  config.source.modules.push_back({Bytes(10, 0x22), "second module"});
  const auto plan = load_kernel(*memory, config);
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->protocol, Protocol::pvh);
  const x86::CpuState& cpu = plan->bsp;
  EXPECT_EQ(cpu.rip, 16 * MiB + 4);
  EXPECT_EQ(cpu.cr0, 0x11u);
  EXPECT_EQ(cpu.cr4, 0u);
  EXPECT_EQ(cpu.seg[x86::CS].limit, 0xffff'ffff);
  EXPECT_TRUE(cpu.seg[x86::CS].db());
  EXPECT_EQ(cpu.tr.limit, 0x67u);
  EXPECT_EQ(cpu.tr.type(), 0xb);
  const u64 info = cpu.gpr[x86::RBX];
  EXPECT_EQ(at<u32>(*memory, info), 0x336ec578u);
  EXPECT_EQ(at<u32>(*memory, info + 4), 1u);
  ASSERT_EQ(at<u32>(*memory, info + 12), 2u);
  const u64 list = at<u64>(*memory, info + 16);
  EXPECT_EQ(at<u64>(*memory, list + 8), 5000u);
  EXPECT_EQ(at<u8>(*memory, at<u64>(*memory, list) + 4999), 0x11);
  EXPECT_EQ(at<u64>(*memory, list + 16), 0u);
  EXPECT_EQ(at<u8>(*memory, at<u64>(*memory, list + 32) + 9), 0x22);
  EXPECT_EQ(test::text_at(*memory, at<u64>(*memory, list + 32 + 16)), "second module");
  EXPECT_EQ(test::text_at(*memory, at<u64>(*memory, info + 24)), "hello");
  EXPECT_EQ(at<u64>(*memory, info + 32), plan->rsdp);
  const u64 map = at<u64>(*memory, info + 40);
  ASSERT_EQ(at<u32>(*memory, info + 48), plan->memory_map.ranges().size());
  EXPECT_EQ(at<u64>(*memory, map + 24), plan->memory_map.ranges()[1].base);
  EXPECT_EQ(at<u32>(*memory, map + 24 + 16), 2u);
}

TEST(Pvh, KernelOverTheTablesOrPastTheEndIsRefused) {
  const auto memory = test::ram(32 * MiB);
  const auto low = load_kernel(
      *memory, test::config_for(test::make_elf({.paddr = 0xf'0000, .entry = 0xf'0000, .pvh_entry = 0xf'0000})));
  EXPECT_NE(test::failure(low).find("not RAM"), std::string::npos) << test::failure(low);
  const auto high = load_kernel(*memory, test::config_for(test::make_elf({.paddr = 64 * MiB, .pvh_entry = 64 * MiB})));
  EXPECT_NE(test::failure(high).find("more memory"), std::string::npos) << test::failure(high);
  const auto huge =
      load_kernel(*memory, test::config_for(test::make_elf({.bss = u64{1} << 60, .pvh_entry = 16 * MiB})));
  EXPECT_FALSE(huge);
}

}  // namespace
}  // namespace nagaya::boot
