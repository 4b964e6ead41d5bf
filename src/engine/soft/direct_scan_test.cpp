#include "engine/soft/direct_scan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace nagaya::engine::soft {
namespace {

/// A page of ordinary instructions with these bytes in the middle.
bool found(std::initializer_list<u8> bytes, std::size_t at = 2000) {
  std::vector<u8> page(4096, 0x90);
  for (std::size_t i = 0; i + 7 < at; i += 7) {  // mov [rsp + 8], rax; nop; nop
    const u8 usual[] = {0x48, 0x89, 0x44, 0x24, 0x08, 0x90, 0x90};
    std::ranges::copy(usual, page.begin() + static_cast<std::ptrdiff_t>(i));
  }
  std::copy(bytes.begin(), bytes.end(), page.begin() + static_cast<std::ptrdiff_t>(at));
  return shows_host(page);
}

TEST(DirectScan, FindsWhatShowsTheHost) {
  EXPECT_FALSE(found({0x90}));
  EXPECT_TRUE(found({0x0f, 0xa2}));              // cpuid
  EXPECT_TRUE(found({0x0f, 0xa2}, 0));
  EXPECT_TRUE(found({0x0f, 0xa2}, 4094));
  EXPECT_TRUE(found({0xf3, 0x0f, 0xc7, 0xf8}));  // rdpid rax
  EXPECT_TRUE(found({0xf3, 0x41, 0x0f, 0xc7, 0xf8}));
  EXPECT_TRUE(found({0x0f, 0x03, 0xc1}));        // lsl eax, ecx
  EXPECT_TRUE(found({0x0f, 0x34}));
  EXPECT_TRUE(found({0x0f, 0x01, 0xd9}));        // vmmcall
  EXPECT_TRUE(found({0x0f, 0x01, 0xc1}));
  EXPECT_TRUE(found({0x0f, 0x01, 0xef}));        // wrpkru
}

TEST(DirectScan, LeavesWhatDoesNot) {
  EXPECT_FALSE(found({0x0f, 0xc7, 0xf8}));        // rdseed eax
  EXPECT_FALSE(found({0x0f, 0x01, 0xd0}));        // xgetbv
  EXPECT_FALSE(found({0x0f, 0x31}));              // rdtsc: trapped
  EXPECT_FALSE(found({0x0f, 0x05}));              // syscall: trapped
  EXPECT_FALSE(found({0xb8, 0x0f, 0xa2, 0, 0}));  // mov eax, a20fh
  EXPECT_FALSE(found({0x48, 0x8d, 0x88, 0x0f, 0x03, 0, 0}));  // lea rcx, [rax + 30fh]
  EXPECT_FALSE(found({0xe8, 0x0f, 0x34, 0x01, 0x00}));        // call
}

TEST(DirectScan, ShortPieces) {
  EXPECT_FALSE(shows_host({}));
  const u8 one[] = {0x0f};
  EXPECT_FALSE(shows_host(one));
}

}  // namespace
}  // namespace nagaya::engine::soft
