// FXSAVE and the XSAVE family, x87 environments, gathers, scatters and masked moves, against the host's own.
#include <sys/mman.h>

#include <random>

#include "engine/soft/exec_env_test.hpp"
#include "engine/soft/xstate.hpp"

namespace nagaya::engine::soft {
namespace {

using namespace x86;

using Area = std::array<u8, 4096>;

class VectorTest : public ExecEnv {
 protected:
  VectorTest() {
    mode(64);
    if (cpu.host_xcr0 & 4) cpuid_set(1, 0, 0, 0, 1u << 26 | 1u << 28, 0);
  }
  bool avx() const { return cpu.host_xcr0 & 4; }
  bool avx512() const { return (cpu.host_xcr0 & 0xe6) == 0xe6; }

  /// Random guest vector state with the components of `used` in use.
  void randomise(u64 used) {
    auto& image = cpu.s.xsave;
    image.fill(0);
    const auto& layout = xlayout();
    for (unsigned i = 1; i < x_components; ++i) {
      if (!((used & cpu.host_xcr0) >> i & 1)) continue;
      for (unsigned j = 0; j < layout.size[i]; ++j) image[layout.offset[i] + j] = static_cast<u8>(random_());
    }
    const u16 fcw = 0x27f, fsw = static_cast<u16>((random_() % 8) << 11);
    std::memcpy(image.data(), &fcw, 2);
    std::memcpy(image.data() + 2, &fsw, 2);
    image[4] = static_cast<u8>(random_());
    for (unsigned i = 0; i < 8; ++i) {
      for (unsigned j = 0; j < 8; ++j) image[32 + i * 16 + j] = static_cast<u8>(random_());
      image[32 + i * 16 + 7] |= 0x80;
      image[32 + i * 16 + 8] = static_cast<u8>(random_());
      image[32 + i * 16 + 9] = static_cast<u8>(0x40);
    }
    const u32 mxcsr = 0x1fa0;
    std::memcpy(image.data() + 24, &mxcsr, 4);
    std::memcpy(image.data() + 28, &layout.mxcsr_mask, 4);
    used &= cpu.host_xcr0;
    std::memcpy(image.data() + 512, &used, 8);
  }
  u64 header(u64 address, unsigned word = 0) { return at(address + 512 + word * 8u); }
  void request(u64 components) {
    reg(RAX) = components & 0xffffffff;
    reg(RDX) = components >> 32;
    reg(RBX) = area;
    cpu.s.rip = rip0;
  }
  /// Vector state as the host has it after loading s.xsave, running `work`, and saving again.
  template <class Work>
  void on_host(Area& out, const Work& work) {
    alignas(64) static Area own;
    alignas(64) static Area image;
    own.fill(0);
    image.fill(0);
    std::memcpy(image.data(), cpu.s.xsave.data(), cpu.s.xsave.size());
    const u32 low = static_cast<u32>(cpu.host_xcr0), high = 0;
    asm volatile("xsave %0" : "+m"(own) : "a"(low), "d"(high) : "memory");
    asm volatile("xrstor %0" ::"m"(image), "a"(low), "d"(high) : "memory");
    work();
    asm volatile("xsave %0" : "+m"(image) : "a"(low), "d"(high) : "memory");
    asm volatile("xrstor %0" ::"m"(own), "a"(low), "d"(high) : "memory");
    out = image;
  }
  static constexpr u64 area = 0x20000;
  std::mt19937_64 random_{7};
};

TEST_F(VectorTest, FxsaveLayoutAndPointersHidden) {
  randomise(3);
  std::memset(cpu.s.xsave.data() + 6, 0x99, 18);
  std::memset(ram_ + area, 0xee, 512);
  request(0);
  ASSERT_TRUE(run({0x48, 0x0f, 0xae, 0x03}));
  EXPECT_EQ(std::memcmp(ram_ + area, cpu.s.xsave.data(), 6), 0);
  for (unsigned i = 6; i < 24; ++i) EXPECT_EQ(at<u8>(area + i), 0) << i;
  EXPECT_EQ(std::memcmp(ram_ + area + 24, cpu.s.xsave.data() + 24, 392), 0);
  EXPECT_EQ(at<u8>(area + 416), 0xee);
  const auto before = cpu.s.xsave;
  randomise(3);
  request(0);
  ASSERT_TRUE(run({0x48, 0x0f, 0xae, 0x0b}));
  EXPECT_EQ(std::memcmp(before.data(), cpu.s.xsave.data(), 6), 0);
  EXPECT_EQ(std::memcmp(before.data() + 32, cpu.s.xsave.data() + 32, 384), 0);
}

TEST_F(VectorTest, FxrstorRefusals) {
  request(0);
  at<u32>(area + 24) = 0x80000000;
  EXPECT_FALSE(run({0x0f, 0xae, 0x0b}));
  expect_fault(vec_gp, 0);
  reg(RBX) = area + 8;
  EXPECT_FALSE(run({0x0f, 0xae, 0x0b}));
  expect_fault(vec_gp, 0);
  cpu.s.cr0 |= cr0_ts;
  EXPECT_FALSE(run({0x0f, 0xae, 0x03}));
  expect_fault(vec_nm);
}

/// XSAVE of random state equals what the host's XSAVE writes over the same memory, for all requests and uses.
TEST_F(VectorTest, XsaveEqualsHost) {
  alignas(64) static Area theirs;
  for (int round = 0; round < 200; ++round) {
    const u64 used = (random_() | 1) & cpu.host_xcr0;
    if (avx512() && (used & 0xe0) && !(used & 4)) continue;
    randomise(used);
    const u64 mask = random_() & 0xff;
    const int form = round % 3;
    for (unsigned i = 0; i < theirs.size(); ++i) theirs[i] = static_cast<u8>(0x5a);
    std::memset(theirs.data() + 512, 0, 64);
    theirs[512] = 5;
    std::memcpy(ram_ + area, theirs.data(), theirs.size());
    Area ignored;
    on_host(ignored, [&] {
      const u32 low = static_cast<u32>(mask), high = 0;
      if (form == 0) asm volatile("xsave %0" : "+m"(theirs) : "a"(low), "d"(high) : "memory");
      if (form == 1) asm volatile("xsavec %0" : "+m"(theirs) : "a"(low), "d"(high) : "memory");
      if (form == 2) asm volatile("xsaveopt %0" : "+m"(theirs) : "a"(low), "d"(high) : "memory");
    });
    request(mask);
    ASSERT_TRUE(form == 0 ? run({0x0f, 0xae, 0x23}) : form == 1 ? run({0x0f, 0xc7, 0x23}) : run({0x0f, 0xae, 0x33}));
    for (unsigned i = 0; i < theirs.size(); ++i) {
      if (i >= 6 && i < 24) continue;                            // pointers
      if (i >= 32 && i < 160 && (i - 32) % 16 >= 10) continue;   // reserved
      if (form == 2 && i < 160) continue;                        // the host may know that x87 is unchanged
      ASSERT_EQ(at<u8>(area + i), theirs[i]) << "byte " << i << " mask " << mask << " used " << used << " form " << form;
    }
  }
}

TEST_F(VectorTest, XrstorUndoesXsave) {
  for (int round = 0; round < 100; ++round) {
    u64 used = (random_() | 3) & cpu.host_xcr0;
    randomise(used);
    const auto before = cpu.s.xsave;
    const bool compact = round % 2;
    std::memset(ram_ + area, 0, 4096);
    request(0xff);
    ASSERT_TRUE(compact ? run({0x48, 0x0f, 0xc7, 0x23}) : run({0x48, 0x0f, 0xae, 0x23}));
    EXPECT_EQ(header(area, 1), compact ? u64{1} << 63 | cpu.host_xcr0 : 0);
    randomise(cpu.host_xcr0);
    request(0xff);
    ASSERT_TRUE(run({0x48, 0x0f, 0xae, 0x2b}));
    XState state(cpu);
    EXPECT_EQ(state.in_use(), used & cpu.host_xcr0);
    EXPECT_EQ(std::memcmp(before.data() + 24, cpu.s.xsave.data() + 24, 4), 0);
    for (unsigned i = 1; i < x_components; ++i) {
      if (!(used >> i & 1)) continue;
      ASSERT_EQ(std::memcmp(before.data() + xlayout().offset[i], cpu.s.xsave.data() + xlayout().offset[i], xlayout().size[i]), 0);
    }
  }
}

TEST_F(VectorTest, XrstorRefusesBadHeaders) {
  const auto refused = [&](bool supervisor = false) {
    request(0xff);
    const auto before = cpu.s.xsave;
    EXPECT_FALSE(supervisor ? run({0x0f, 0xc7, 0x1b}) : run({0x0f, 0xae, 0x2b}));
    expect_fault(vec_gp, 0);
    EXPECT_EQ(before, cpu.s.xsave);
    std::memset(ram_ + area, 0, 4096);
  };
  at(area + 512) = u64{1} << 40;
  refused();
  at(area + 520) = 1;
  refused();
  at(area + 528) = 1;
  refused();
  at(area + 512) = 2, at<u32>(area + 24) = 0x01000000;
  refused();
  at(area + 520) = u64{1} << 63 | 3, at(area + 512) = 4;
  refused();
  at(area + 520) = u64{1} << 63 | 3, at(area + 544) = 4;
  refused();
  at(area + 520) = 0;
  refused(true);
  request(0xff);
  reg(RBX) = area + 32;
  EXPECT_FALSE(run({0x0f, 0xae, 0x2b}));
  expect_fault(vec_gp, 0);
  cpu.s.cr4 &= ~cr4_osxsave;
  EXPECT_FALSE(run({0x0f, 0xae, 0x2b}));
  expect_fault(vec_ud);
}

TEST_F(VectorTest, XsaveFaultsBeforeWriting) {
  randomise(cpu.host_xcr0);
  unmap(area + 0x1000);
  std::memset(ram_ + area, 0, 4096);
  request(0xff);
  reg(RBX) = area + 0x1000 - 0x200;
  EXPECT_FALSE(run({0x0f, 0xae, 0x23}));
  expect_fault(vec_pf, 2);
  EXPECT_EQ(cpu.s.cr2, area + 0x1000);
  for (unsigned i = 0; i < 4096; ++i) ASSERT_EQ(at<u8>(area + i), 0);
}

TEST_F(VectorTest, X87EnvironmentsEqualHost) {
  alignas(64) static std::array<u8, 128> theirs;
  for (int round = 0; round < 64; ++round) {
    randomise(1);
    theirs.fill(0);
    Area after;
    switch (round % 4) {
      case 0: on_host(after, [&] { asm volatile("fnstenv %0" : "+m"(theirs)); }); break;
      case 1: on_host(after, [&] { asm volatile("fnsave %0" : "+m"(theirs)); }); break;
      case 2: on_host(after, [&] { asm volatile(".byte 0x66\n\tfnstenv %0" : "+m"(theirs)); }); break;
      default: on_host(after, [&] { asm volatile(".byte 0x66\n\tfnsave %0" : "+m"(theirs)); }); break;
    }
    std::memset(ram_ + area, 0, 128);
    request(0);
    switch (round % 4) {
      case 0: ASSERT_TRUE(run({0xd9, 0x33})); break;
      case 1: ASSERT_TRUE(run({0xdd, 0x33})); break;
      case 2: ASSERT_TRUE(run({0x66, 0xd9, 0x33})); break;
      default: ASSERT_TRUE(run({0x66, 0xdd, 0x33})); break;
    }
    const unsigned environment = round % 4 < 2 ? 28 : 14;
    for (unsigned i = 0; i < 108; ++i) {
      const unsigned pointers = environment == 28 ? 12 : 6;
      if (i >= pointers && i < environment - (environment == 28 ? 2 : 0)) continue;
      ASSERT_EQ(at<u8>(area + i), theirs[i]) << "byte " << i << " round " << round;
    }
    XState state(cpu);
    EXPECT_EQ(std::memcmp(state.bytes(), after.data(), 5), 0);
    // And back.
    if (round % 4 == 1) {
      request(0);
      ASSERT_TRUE(run({0xdd, 0x23}));  // frstor
      std::memset(ram_ + area + 256, 0, 108);
      reg(RBX) = area + 256;
      ASSERT_TRUE(run({0xdd, 0x33}));
      EXPECT_EQ(std::memcmp(ram_ + area, ram_ + area + 256, 108), 0);
    }
  }
}

/// Loading an environment turns the stack under the registers.
TEST_F(VectorTest, FldenvKeepsPhysicalRegisters) {
  for (int round = 0; round < 16; ++round) {
    randomise(1);
    alignas(64) static std::array<u8, 28> environment;
    environment.fill(0);
    const u16 fcw = 0x27f, fsw = static_cast<u16>((random_() % 8) << 11), tags = static_cast<u16>(random_());
    std::memcpy(environment.data(), &fcw, 2);
    std::memcpy(environment.data() + 4, &fsw, 2);
    std::memcpy(environment.data() + 8, &tags, 2);
    Area after;
    on_host(after, [&] { asm volatile("fldenv %0" ::"m"(environment)); });
    std::memcpy(ram_ + area, environment.data(), 28);
    request(0);
    ASSERT_TRUE(run({0xd9, 0x23}));
    EXPECT_EQ(std::memcmp(cpu.s.xsave.data(), after.data(), 5), 0);
    for (unsigned i = 0; i < 8; ++i) ASSERT_EQ(std::memcmp(cpu.s.xsave.data() + 32 + i * 16, after.data() + 32 + i * 16, 10), 0);
  }
}

class GatherTest : public VectorTest {
 protected:
#ifdef NAGAYA_SANITIZED
  void SetUp() override { GTEST_SKIP() << "instrumented test code does not keep the vector registers for the host's instruction"; }
#endif
  static constexpr u64 base = 0x30000;
  /// Registers 1 (destination), 2 (indices, small), 3 (mask) with random data over a table at `base`.
  void set_up(unsigned index_size) {
    randomise(cpu.host_xcr0);
    XState state(cpu);
    std::array<u8, 64> indices{};
    for (unsigned i = 0; i < 64 / index_size; ++i) {
      const i64 index = static_cast<i64>(random_() % 200) - 100;
      std::memcpy(indices.data() + std::size_t{i} * index_size, &index, index_size);
    }
    state.write_vector(2, indices.data(), 64, true);
    for (unsigned i = 0; i < 0x1000; ++i) at<u8>(base + i) = static_cast<u8>(random_());
    reg(RBX) = base + 0x800;
  }
  /// Compares all of the vector state and the table with the host running `code`, a function that takes the table in RBX.
  void compare(std::initializer_list<int> bytes) {
    std::vector<u8> table(ram_ + base, ram_ + base + 0x1000);
    Area after;
    on_host(after, [&] { run_host(bytes, table.data() + 0x800); });
    cpu.s.rip = rip0;
    ASSERT_TRUE(run(bytes));
    XState state(cpu);
    EXPECT_EQ(std::memcmp(cpu.s.xsave.data() + 24, after.data() + 24, 4), 0) << "MXCSR";
    for (unsigned i = 1; i < x_components; ++i) {
      if (!(cpu.host_xcr0 >> i & 1)) continue;
      for (unsigned j = 0; j < xlayout().size[i]; ++j) {
        const unsigned at = xlayout().offset[i] + j;
        ASSERT_EQ(cpu.s.xsave[at], after[at]) << "component " << i << " byte " << j;
      }
    }
    EXPECT_EQ(std::memcmp(ram_ + base, table.data(), table.size()), 0);
  }
  static void run_host(std::initializer_list<int> bytes, u8* rbx);
};

/// Puts the bytes into an executable page and calls it with RBX (and RDI) set.
void GatherTest::run_host(std::initializer_list<int> bytes, u8* rbx) {
  static u8* page = nullptr;
  if (!page) page = static_cast<u8*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  u8* to = page;
  for (const int byte : bytes) *to++ = static_cast<u8>(byte);
  *to = 0xc3;
  asm volatile("lea -128(%%rsp), %%rsp\n\tcall *%0\n\tlea 128(%%rsp), %%rsp" ::"r"(page), "b"(rbx), "D"(rbx) : "memory", "cc");
}

TEST_F(GatherTest, Avx2EqualsHost) {
  if (!avx()) GTEST_SKIP();
  for (int round = 0; round < 10; ++round) {
    set_up(4), compare({0xc4, 0xe2, 0x65, 0x90, 0x0c, 0x93});  // vpgatherdd ymm1, [rbx+ymm2*4], ymm3
    set_up(4), compare({0xc4, 0xe2, 0xe5, 0x90, 0x0c, 0xd3});  // vpgatherdq
    set_up(8), compare({0xc4, 0xe2, 0x65, 0x91, 0x0c, 0x93});  // vpgatherqd
    set_up(8), compare({0xc4, 0xe2, 0xe1, 0x91, 0x0c, 0xd3});  // vpgatherqq xmm
    set_up(8), compare({0xc4, 0xe2, 0x61, 0x93, 0x0c, 0x93});  // vgatherqps xmm
    set_up(4), compare({0xc4, 0xe2, 0xe5, 0x92, 0x0c, 0xd3});  // vgatherdpd
  }
}

TEST_F(GatherTest, Avx2FaultLeavesProgress) {
  if (!avx()) GTEST_SKIP();
  set_up(4);
  {
    XState state(cpu);
    const std::array<i32, 8> indices{0, 1, 0x100000, 3, 0, 0, 0, 0};
    state.write_vector(2, indices.data(), 32, true);
    const std::array<u32, 8> mask{~0u, ~0u, ~0u, ~0u, 0, 0, 0, 0};
    state.write_vector(3, mask.data(), 32, true);
  }
  at(0x3000 + 2 * 8) = 0;  // the page table of 4 MiB …
  tlb_flush_all(cpu);
  EXPECT_FALSE(run({0xc4, 0xe2, 0x65, 0x90, 0x0c, 0x93}));
  expect_fault(vec_pf, 0);
  EXPECT_EQ(cpu.s.cr2, base + 0x800 + 0x400000);
  EXPECT_EQ(cpu.s.rip, rip0);
  XState state(cpu);
  std::array<u32, 8> data, mask;
  state.read_vector(1, data.data(), 32);
  state.read_vector(3, mask.data(), 32);
  EXPECT_EQ(data[0], at<u32>(base + 0x800));
  EXPECT_EQ(data[1], at<u32>(base + 0x804));
  EXPECT_EQ(mask, (std::array<u32, 8>{0, 0, ~0u, ~0u, 0, 0, 0, 0}));
}

TEST_F(GatherTest, Avx512EqualsHost) {
  if (!avx512()) GTEST_SKIP();
  for (int round = 0; round < 10; ++round) {
    set_up(4), compare({0x62, 0xf2, 0x7d, 0x4b, 0x90, 0x0c, 0x93});  // vpgatherdd zmm1{k3}, [rbx+zmm2*4]
    set_up(8), compare({0x62, 0xf2, 0xfd, 0x4b, 0x91, 0x0c, 0xd3});  // vpgatherqq zmm
    set_up(8), compare({0x62, 0xf2, 0x7d, 0x2b, 0x91, 0x0c, 0x93});  // vpgatherqd xmm1, ymm2
    set_up(4), compare({0x62, 0xf2, 0x7d, 0x4b, 0xa0, 0x0c, 0x93});  // vpscatterdd
    set_up(8), compare({0x62, 0xf2, 0xfd, 0x2b, 0xa3, 0x0c, 0xd3});  // vscatterqpd ymm
    set_up(8), compare({0x62, 0xf2, 0x7d, 0x4b, 0xa1, 0x0c, 0x93});  // vpscatterqd
  }
}

TEST_F(GatherTest, MaskedMovesEqualHost) {
  if (!avx()) GTEST_SKIP();
  for (int round = 0; round < 10; ++round) {
    set_up(4), compare({0xc4, 0xe2, 0x65, 0x2c, 0x0b});        // vmaskmovps ymm1, ymm3, [rbx]
    set_up(4), compare({0xc4, 0xe2, 0x65, 0x2f, 0x0b});        // vmaskmovpd [rbx], ymm3, ymm1
    set_up(4), compare({0xc4, 0xe2, 0xe1, 0x8c, 0x0b});        // vpmaskmovq xmm1, xmm3, [rbx]
    set_up(4), compare({0xc4, 0xe2, 0x65, 0x8e, 0x0b});        // vpmaskmovd [rbx], ymm3, ymm1
    reg(RDI) = base + 0x800;
    set_up(4), compare({0x66, 0x0f, 0xf7, 0xcb});              // maskmovdqu xmm1, xmm3
    set_up(4), compare({0x0f, 0xf7, 0xcb});                    // maskmovq mm1, mm3
    if (!avx512()) continue;
    set_up(4), compare({0x62, 0xf1, 0x7f, 0x4b, 0x6f, 0x0b});  // vmovdqu8 zmm1{k3}, [rbx]
    set_up(4), compare({0x62, 0xf1, 0x7f, 0xcb, 0x6f, 0x0b});  // …{z}
    set_up(4), compare({0x62, 0xf1, 0xfe, 0x2b, 0x7f, 0x0b});  // vmovdqu64 [rbx]{k3}, ymm1
    set_up(4), compare({0x62, 0xf1, 0x7e, 0x0b, 0x10, 0x0b});  // vmovss xmm1{k3}, [rbx]
    set_up(4), compare({0x62, 0xf2, 0x7d, 0x4b, 0x8b, 0x0b});  // vpcompressd [rbx]{k3}, zmm1
    set_up(4), compare({0x62, 0xf2, 0xfd, 0x4b, 0x89, 0x0b});  // vpexpandq zmm1{k3}, [rbx]
    set_up(4), compare({0x62, 0xf2, 0x7e, 0x4b, 0x31, 0x0b});  // vpmovdb [rbx]{k3}, zmm1
    set_up(4), compare({0x62, 0xf2, 0x7e, 0x4b, 0x25, 0x0b});  // vpmovsqd [rbx]{k3}, zmm1
    set_up(4), compare({0x62, 0xf2, 0x7e, 0x4b, 0x10, 0x0b});  // vpmovuswb [rbx]{k3}, zmm1
    set_up(4), compare({0x62, 0xf3, 0x7d, 0x4b, 0x39, 0x0b, 2});  // vextracti32x4 [rbx]{k3}, zmm1, 2
  }
}

/// Any masked instruction: equal to the host where nothing faults, suppressed and precise at the end of a mapping.
TEST_F(GatherTest, OtherMaskedInstructions) {
  if (!avx512()) GTEST_SKIP();
  cpuid_set(7, 0, 0, ~0u, ~0u, 0);
  for (int round = 0; round < 10; ++round) {
    set_up(4), compare({0x62, 0xf1, 0x6d, 0x4b, 0xfe, 0x0b});        // vpaddd zmm1{k3}, zmm2, [rbx]
    set_up(4), compare({0x62, 0xf1, 0x6d, 0xdb, 0xfe, 0x0b});        // … dword broadcast, zeroing
    set_up(4), compare({0x62, 0xf1, 0x6c, 0x4b, 0x58, 0x0b});        // vaddps zmm1{k3}, zmm2, [rbx]
    set_up(4), compare({0x62, 0xf2, 0x7d, 0x4b, 0x31, 0x0b});        // vpmovzxbd zmm1{k3}, [rbx]
    set_up(4), compare({0x62, 0xf2, 0x7d, 0x4b, 0x5a, 0x0b});        // vbroadcasti32x4 zmm1{k3}, [rbx]
    set_up(4), compare({0x62, 0xf3, 0x6d, 0x4b, 0x3f, 0x23, 0x00});  // vpcmpb k4{k3}, zmm2, [rbx], 0
    set_up(4), compare({0x62, 0xf1, 0x6e, 0x0b, 0x59, 0x0b});        // vmulss xmm1{k3}, xmm2, [rbx]
  }
  unmap(0x41000);
  const auto set_mask = [&](u64 mask) {
    XState(cpu).set_opmask(3, mask);
    cpu.s.rip = rip0;
    reg(RBX) = 0x40ff0;
  };
  set_up(4);
  set_mask(0xffff);
  ASSERT_TRUE(run({0x62, 0xf3, 0x6d, 0x4b, 0x3f, 0x23, 0x00}));
  set_mask(0x1ffff);
  EXPECT_FALSE(run({0x62, 0xf3, 0x6d, 0x4b, 0x3f, 0x23, 0x00}));
  expect_fault(vec_pf, 0);
  EXPECT_EQ(cpu.s.cr2, 0x41000u);
  set_mask(0xf);
  ASSERT_TRUE(run({0x62, 0xf1, 0x6d, 0x4b, 0xfe, 0x0b}));
  // An exception the guest has not masked is raised, and the result is not stored.
  const auto before = [&] {
    XState state(cpu);
    state.set_mxcsr(0x1f80 & ~0x200u);  // divide by zero
    std::array<u32, 16> ones;
    ones.fill(0x3f800000);
    state.write_vector(2, ones.data(), 64, true);
    std::memset(ram_ + 0x40ff0, 0, 16);
    std::array<u8, 64> out;
    state.read_vector(1, out.data(), 64);
    return out;
  }();
  set_mask(0xf);
  EXPECT_FALSE(run({0x62, 0xf1, 0x6c, 0x4b, 0x5e, 0x0b}));  // vdivps
  expect_fault(vec_xm);
  XState state(cpu);
  std::array<u8, 64> after;
  state.read_vector(1, after.data(), 64);
  EXPECT_EQ(before, after);
  EXPECT_EQ(state.mxcsr(), (0x1f80u & ~0x200u) | 4);
}

TEST_F(GatherTest, MaskedOutElementsDoNotFault) {
  if (!avx()) GTEST_SKIP();
  set_up(4);
  unmap(0x41000);
  at<u32>(0x40ffc) = 0x12345678;
  reg(RBX) = 0x40ffc;
  const auto set_mask = [&](u32 second) {
    XState state(cpu);
    const std::array<u32, 4> mask{~0u, second, 0, 0};
    state.write_vector(3, mask.data(), 16, true);
    state.write_vector(1, std::array<u32, 4>{9, 9, 9, 9}.data(), 16, true);
  };
  set_mask(0);
  ASSERT_TRUE(run({0xc4, 0xe2, 0x61, 0x8c, 0x0b}));
  std::array<u32, 4> data;
  XState(cpu).read_vector(1, data.data(), 16);
  EXPECT_EQ(data, (std::array<u32, 4>{0x12345678, 0, 0, 0}));
  set_mask(~0u);
  cpu.s.rip = rip0;
  EXPECT_FALSE(run({0xc4, 0xe2, 0x61, 0x8c, 0x0b}));
  expect_fault(vec_pf, 0);
  EXPECT_FALSE(run({0xc4, 0xe2, 0x61, 0x8e, 0x0b})) << "a store writes nothing when one element faults";
  expect_fault(vec_pf, 2);
  EXPECT_EQ(at<u32>(0x40ffc), 0x12345678u);
}

TEST_F(GatherTest, UnitChecks) {
  if (!avx()) GTEST_SKIP();
  set_up(4);
  cpu.s.cr0 |= cr0_ts;
  EXPECT_FALSE(run({0xc4, 0xe2, 0x65, 0x90, 0x0c, 0x93}));
  expect_fault(vec_nm);
  cpu.s.xcr0 = 3;
  EXPECT_FALSE(run({0xc4, 0xe2, 0x65, 0x90, 0x0c, 0x93}));
  expect_fault(vec_ud);
}

}  // namespace
}  // namespace nagaya::engine::soft
