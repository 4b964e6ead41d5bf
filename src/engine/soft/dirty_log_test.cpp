// The dirty log while guests run: a copy kept up to date by it, as in a live migration, equals the memory in the end.
#include <gtest/gtest.h>

#include <thread>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

// Writes by every road: inline stores, locked ones, across pages, strings, the stack, port input into memory, page-table bits.
// RSI: base, RCX: rounds.
NAGAYA_GUEST_CODE(dirty_everywhere, R"(
  mov %rcx, %rbp
2: imul $0x9e3779b1, %ebp, %eax
  mov %eax, %ebx
  shr $12, %ebx
  and $0x3fff8, %ebx
  add %rax, (%rsi,%rbx)
  lock incl 0x40000(%rsi,%rbx)
  mov %rax, 0x80ffb(%rsi)
  test $7, %ebp
  jnz 3f
  lea 0xc0000(%rsi,%rbx), %rdi
  mov $100, %ecx
  rep stosl
  lea 0x100000(%rsi,%rbx), %rdi
  mov $0x60, %edx
  insb
  insl
  mov $9, %ecx
  rep insw
  lea 0x140000(%rsi,%rbx), %rsp
  push %rbx
  fxsave 0x180000(%rsi)
  and $0x7f8, %ebx
  andb $0x9f, 0x6000(,%rbx)
3: dec %rbp
  jnz 2b
  out %al, $0xf4
)");

namespace {

using testing::SystemGuest;
using namespace x86;

TEST(DirtyLog, ACopyKeptByItEqualsTheMemory) {
  SystemGuest g;
  g.code(dirty_everywhere);
  auto s = SystemGuest::kernel();
  s.gpr[RSI] = 0x200000, s.gpr[RCX] = 60000;
  std::vector<u8> copy(SystemGuest::ram_size);
  ASSERT_TRUE(g.engine().set_dirty_log(true));
  std::memcpy(copy.data(), g.ram(), copy.size());
  const auto update = [&] {
    const auto pages = g.engine().take_dirty();
    ASSERT_TRUE(pages);
    for (const Gpa page : *pages) std::memcpy(copy.data() + page.value, g.ram() + page.value, 4096);
  };
  std::atomic<bool> over{false};
  unsigned updates = 0;
  std::thread migration([&] {
    while (!over) update(), ++updates;
  });
  for (int round = 0; round < 4; ++round) {
    const auto out = g.go(s);
    ASSERT_EQ(g.vector, -1);
    ASSERT_EQ(g.last_exit.reason, ExitReason::kicked);
    ASSERT_EQ(out.gpr[RBP], 0u);
  }
  over = true;
  migration.join();
  update();
  for (u64 page = 0; page < SystemGuest::ram_size; page += 4096)
    ASSERT_EQ(std::memcmp(copy.data() + page, g.ram() + page, 4096), 0) << std::hex << page;
  EXPECT_GT(updates, 0u);
  // Nothing more is said to be written than what was.
  const auto none = g.engine().take_dirty();
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->empty());
  ASSERT_TRUE(g.engine().set_dirty_log(false));
}

}  // namespace
}  // namespace nagaya::engine::soft
