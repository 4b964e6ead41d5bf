// The XSAVE family on live vector state (light/execute_xsave.cpp) against the same instructions on the saved image: an enabled
// breakpoint has them take the slow way.
#include <gtest/gtest.h>

#include <random>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {
namespace {

using testing::SystemGuest;

constexpr u64 area_at = SystemGuest::data_at + 0x1000;

struct Outcome {
  x86::CpuState state;
  int vector;
  std::vector<u8> memory;
};

Outcome run(SystemGuest& guest, x86::CpuState s, const std::vector<u8>& memory, bool slow) {
  std::memcpy(guest.ram() + area_at - 0x1000, memory.data(), memory.size());
  if (slow) s.dr7 |= 1, s.dr[0] = 0x123000;
  Outcome out{guest.go(s), guest.vector, {}};
  out.memory.assign(guest.ram() + area_at - 0x1000, guest.ram() + area_at - 0x1000 + memory.size());
  return out;
}

void expect_same(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.vector, b.vector);
  EXPECT_EQ(a.state.rip, b.state.rip);
  EXPECT_EQ(a.state.cr2, b.state.cr2);
  EXPECT_EQ(a.state.gpr, b.state.gpr);
  // As far as the header says that the bytes matter.
  u64 used[2];
  std::memcpy(&used[0], a.state.xsave.data() + 512, 8);
  std::memcpy(&used[1], b.state.xsave.data() + 512, 8);
  EXPECT_EQ(used[0] & ~u64{3}, used[1] & ~u64{3});
  EXPECT_EQ(std::memcmp(a.state.xsave.data() + 160, b.state.xsave.data() + 160, 256), 0);
  EXPECT_EQ(std::memcmp(a.state.xsave.data() + 24, b.state.xsave.data() + 24, 4), 0);
  if (used[0] & 4) { EXPECT_EQ(std::memcmp(a.state.xsave.data() + 576, b.state.xsave.data() + 576, 256), 0); }
  for (std::size_t i = 0; i < a.memory.size(); ++i) {
    if (a.memory[i] != b.memory[i]) {
      ADD_FAILURE() << "byte " << i << ": " << +a.memory[i] << " and " << +b.memory[i];
      break;
    }
  }
}

struct Form {
  const char* name;
  std::vector<u8> bytes;
};
const Form forms[] = {{"xsave64 [rdi]", {0x48, 0x0f, 0xae, 0x27}},   {"xsavec64 [rdi]", {0x48, 0x0f, 0xc7, 0x27}},
                      {"xsaves64 [rdi]", {0x48, 0x0f, 0xc7, 0x2f}},  {"xrstor64 [rdi]", {0x48, 0x0f, 0xae, 0x2f}},
                      {"xrstors64 [rdi]", {0x48, 0x0f, 0xc7, 0x1f}}};

TEST(XsaveLive, EqualsTheImage) {
  std::mt19937_64 random(3);
  SystemGuest guest;
  ASSERT_TRUE(guest.ok());
  for (const Form& form : forms) {
    std::vector<u8> code = form.bytes;
    code.insert(code.end(), {0x48, 0xff, 0xc3, 0xe6, 0xf4, 0xf4});  // inc rbx; out 0f4h, al; hlt
    guest.code(code);
    for (unsigned i = 0; i < 200; ++i) {
      x86::CpuState s = i & 1 ? SystemGuest::user() : SystemGuest::kernel();
      s.rflags |= 0x3000;
      s.xcr0 = i & 2 ? 7 : 3;
      s.gpr[x86::RAX] = i & 4 ? ~u64{0} : random();
      s.gpr[x86::RDX] = random();
      s.gpr[x86::RDI] = area_at + (i % 3 == 0 ? 0 : i % 3 == 1 ? 4096 - 512 : 4096 - 640) + (i % 16 == 15 ? 8 : 0);
      const u64 in_use = random() & 7;
      std::memcpy(s.xsave.data() + 512, &in_use, 8);
      for (unsigned b = 32; b < 416; ++b) s.xsave[b] = b < 160 && b % 16 >= 10 ? 0 : static_cast<u8>(random());
      for (unsigned b = 576; b < 832; ++b) s.xsave[b] = static_cast<u8>(random());
      const u16 fcw = 0x37f;
      const u32 mxcsr = random() & 1 ? 0x1f80 : 0x1fa0;
      std::memcpy(s.xsave.data(), &fcw, 2);
      std::memcpy(s.xsave.data() + 24, &mxcsr, 4);
      std::vector<u8> memory(0x4000);
      for (u8& b : memory) b = static_cast<u8>(random());
      u8* area = memory.data() + (s.gpr[x86::RDI] - area_at + 0x1000);
      std::memcpy(area, &fcw, 2), std::memset(area + 2, 0, 22);
      std::memcpy(area + 24, &mxcsr, 4);
      for (unsigned r = 0; r < 8; ++r) std::memset(area + 32 + 16 * r + 10, 0, 6);
      u64 header[8] = {random() & 7, 0, 0, 0, 0, 0, 0, 0};
      const unsigned kind = static_cast<unsigned>(random() & 7);
      if (kind < 5) header[1] = u64{1} << 63 | header[0] | (random() & 7);
      if (kind == 5) header[random() % 8] |= u64{1} << (random() % 64);
      std::memcpy(area + 512, header, sizeof header);
      if (random() % 16 == 0) area[27] = 1;  // a reserved bit of MXCSR
      if (i % 5 == 4) {
        guest.pte(area_at + 4096) &= ~u64{1};
      }
      SCOPED_TRACE(::testing::Message() << form.name << " round " << i);
      expect_same(run(guest, s, memory, false), run(guest, s, memory, true));
      guest.pte(area_at + 4096) |= 1;
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace nagaya::engine::soft
