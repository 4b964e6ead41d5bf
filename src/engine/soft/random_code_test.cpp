// Any bytes as code, in every mode, from any register state. What comes of it is an exception in the guest, an exit, or a kick;
// never harm to this process. The seed is fixed (--gtest_random_seed=N tries another).
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {
namespace {

using testing::SystemGuest;
using namespace x86;
using Rng = std::mt19937_64;

enum class Start { kernel64, user64, compatibility, protected32, protected16, real, virtual86 };
constexpr Start starts[] = {Start::kernel64,    Start::user64, Start::compatibility, Start::protected32,
                            Start::protected16, Start::real,   Start::virtual86};

/// Ends what runs too long: kicks the vCPU again and again.
class Ticker {
 public:
  explicit Ticker(Vcpu& vcpu) : thread_([this, &vcpu] {
    while (!over_) {
      std::this_thread::sleep_for(std::chrono::microseconds(400));
      vcpu.kick();
    }
  }) {}
  ~Ticker() {
    over_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

class RandomCode : public SystemGuest {
 public:
  explicit RandomCode(u64 seed, const SoftOptions& options) : SystemGuest(options), rng(seed) {
    // 32-bit IDT with the same stubs, a real-mode table, and page tables for 32-bit paging.
    for (u64 v = 0; v < 32; ++v) {
      at(idt32 + v * 8) = (stubs_at + v * 16) | u64{code32} << 16 | 0x8e0000000000 | u64{0} << 48;
      at<u16>(v * 4) = static_cast<u16>(stubs_at + v * 16), at<u16>(v * 4 + 2) = 0;
    }
    const u32 esp0 = ring0_stack;
    at<u32>(tss32 + 4) = esp0;
    at<u16>(tss32 + 8) = data;
    at<u16>(tss32 + 102) = 104;
    for (u32 i = 0; i < 1024; ++i) at<u32>(pd32 + i * 4) = i < 4 ? (i << 22 | 0x87) : 0;
    image.assign(ram(), ram() + image_size);
  }
  void restore() {
    std::memcpy(ram(), image.data(), image.size());
    engine().memory_written(Gpa(0), image.size());
  }
  u64 value() {
    const u64 r = rng();
    switch (rng() % 8) {
      case 0: return r;
      case 1: return r & 0xff;
      case 2: return data_at + (r & 0xffff);
      case 3: return data_at + (r & 0xf0000) - (r >> 32 & 15);  // around page ends
      case 4: return code_at + (r & 0x1fff);
      case 5: return r % ram_size;
      case 6: return 0x20000000 + (r & 0xfff);  // MMIO
      default: return static_cast<u64>(static_cast<i64>(static_cast<i8>(r)));
    }
  }
  std::vector<u8> bytes() {
    std::vector<u8> out;
    const bool soup = rng() % 4 != 0;
    while (out.size() < 48) {
      if (!soup) {
        out.push_back(static_cast<u8>(rng()));
        continue;
      }
      static constexpr u8 prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x64, 0x65, 0x48, 0x41, 0x4d};
      while (rng() % 4 == 0) out.push_back(prefixes[rng() % std::size(prefixes)]);
      switch (rng() % 8) {
        case 0: out.insert(out.end(), {0x0f}); break;
        case 1: out.insert(out.end(), {0x0f, 0x38}); break;
        case 2: out.insert(out.end(), {0x0f, 0x3a}); break;
        case 3: out.insert(out.end(), {0xc4, static_cast<u8>((rng() & 0xe0) | (1 + rng() % 3)), static_cast<u8>(rng())}); break;
        case 4:
          out.insert(out.end(), {0x62, static_cast<u8>((rng() & 0xf0) | (1 + rng() % 3)), static_cast<u8>(rng() | 4), static_cast<u8>(rng())});
          break;
        default: break;
      }
      out.push_back(static_cast<u8>(rng()));
      out.push_back(static_cast<u8>(rng()));
      for (u64 n = rng() % 4; n; --n) out.push_back(rng() % 2 ? static_cast<u8>(rng()) : 0);
    }
    return out;
  }
  CpuState start(Start how) {
    CpuState s = how == Start::user64 ? user() : kernel();
    for (unsigned i = 0; i < 16; ++i) s.gpr[i] = i == RSP && rng() % 4 ? stack_top : value();
    s.rflags = 2 | (rng() & 0x244fd5);
    if (rng() % 8) s.rflags &= ~0x100ull;  // TF sometimes
    for (auto& b : s.xsave) b = static_cast<u8>(rng());
    std::memset(&s.xsave[512], 0, 64);
    s.xsave[512] = static_cast<u8>(rng() & 0xe7);
    s.cr4 |= rng() % 4 == 0 ? 0x200000 : 0;
    s.cr0 ^= rng() % 16 == 0 ? 8 : 0;
    s.msr.star = u64{code64} << 32 | u64{0x33} << 48;
    s.msr.lstar = s.msr.cstar = stubs_at + 6 * 16;
    s.msr.sysenter_cs = code64, s.msr.sysenter_esp = stack_top, s.msr.sysenter_eip = stubs_at + 6 * 16;
    if (rng() % 16 == 0) s.dr7 = 0x400 | (rng() & 0xffff00ff), s.dr = {value(), value(), value(), value()};
    if (how >= Start::protected32) {
      s.msr.efer = 0, s.cr4 = 0x610, s.cr3 = pd32;
      s.idtr = {idt32, 0xff};
      s.tr = {tss32, 0x67, tss_selector, 0x008b, false};
    }
    const auto segments = [&](const Segment& cs, const Segment& rest) {
      for (auto& seg : s.seg) seg = rest;
      s.seg[CS] = cs;
    };
    switch (how) {
      case Start::kernel64: case Start::user64: break;
      case Start::compatibility: segments({0, 0xffffffff, user32, 0xc0fb, false}, {0, 0xffffffff, user_data, 0xc0f3, false}); break;
      case Start::protected32: segments({0, 0xffffffff, code32, 0xc09b, false}, {0, 0xffffffff, data, 0xc093, false}); break;
      case Start::protected16:
        segments({0, 0xffffff, code16, 0x809b, false}, {0, 0x3ffff, data16, 0x8093, false});
        s.cr0 &= 0x7fffffff;
        break;
      case Start::real:
        s.cr0 &= 0x7ffffffe;
        s.idtr = {0, 0x3ff};
        segments({code_at, 0xffff, code_at >> 4, 0x9b, false}, {0, 0xffff, 0, 0x93, false});
        break;
      case Start::virtual86:
        s.rflags |= 0x20000 | (rng() & 0x3000);
        segments({code_at, 0xffff, code_at >> 4, 0xf3, false}, {0, 0xffff, 0, 0xf3, false});
        break;
    }
    return s;
  }

  static constexpr u64 idt32 = 0x8000, tss32 = 0x8800, pd32 = 0xa000, image_size = 0x18000;
  Rng rng;
  std::vector<u8> image;
};

void run_random(const SoftOptions& options, unsigned count, u64 salt) {
  RandomCode g(salt + static_cast<u64>(GTEST_FLAG_GET(random_seed)) * 1000003, options);
  ASSERT_TRUE(g.ok());
  Ticker ticker(g.vcpu());
  unsigned by_vector[34] = {};
  for (unsigned i = 0; i < count; ++i) {
    if (i % 8 == 0) g.restore();
    const Start how = starts[g.rng() % std::size(starts)];
    const std::vector<u8> code = g.bytes();
    // Often across the end of a page; in 64-bit mode sometimes where the next page is something else.
    const u64 offset = g.rng() % 3 == 0 ? 0xff0 + g.rng() % 16 : g.rng() % 0x800;
    std::memcpy(g.ram() + SystemGuest::code_at + offset, code.data(), code.size());
    g.engine().memory_written(Gpa(SystemGuest::code_at + offset), code.size());
    CpuState s = g.start(how);
    s.rip = how == Start::real || how == Start::virtual86 ? offset : SystemGuest::code_at + offset;
    const CpuState out = g.go(s);
    ASSERT_TRUE(g.last_exit.reason == ExitReason::kicked || g.last_exit.reason == ExitReason::shutdown) << g.last_exit.detail;
    ++by_vector[g.last_exit.reason == ExitReason::shutdown ? 33 : g.vector + 1];
    // What came out can be put back.
    ASSERT_TRUE(g.vcpu().set_state(out));
  }
  // It was worth something: the common exceptions all came.
  for (const int v : {1, 6, 13, 14}) EXPECT_GT(by_vector[v + 1], count / 1000) << v;
}

TEST(RandomCode, HarmsNobody) { run_random({}, 16000, 1); }
TEST(RandomCode, HarmsNobodyWithPreciseFlagsAndSmallCache) {
  run_random({.code_cache_bytes = MiB, .precise_flags = true, .max_block_insns = 7}, 4000, 2);
}

}  // namespace
}  // namespace nagaya::engine::soft
