// Every computational instruction form that the translator re-encodes, and random streams of them, against the real CPU:
// registers, flags, vector and x87 state, memory, and the exceptions they raise. The forms are not listed by hand: all opcodes of
// all maps are tried, and those that the decoder's table calls native are run.
#include <gtest/gtest.h>
#include <Zydis/Zydis.h>

#include <map>
#include <random>
#include <set>

#include "engine/soft/decode.hpp"
#include "engine/soft/engine_impl.hpp"
#include "engine/soft/mini_guest_test_util.hpp"
#include "engine/soft/native_oracle_test_util.hpp"

namespace nagaya::engine::soft {
namespace {

using testing::MiniGuest;
using testing::oracle_code;
using testing::oracle_data;
using testing::OracleState;
using Rng = std::mt19937_64;

constexpr u64 guest_code = 0x200000, guest_data = 0x220000;  // physical

/// A guest whose code and data are at the oracle's virtual addresses, with an IDT whose handlers say their vector.
class Differential : public MiniGuest {
 public:
  explicit Differential(const SoftOptions& options) : MiniGuest(options) {
    if (!ok()) return;
    // PML4[0] → PDPT[8] (8 GiB) → PD → PT
    auto* pdpt = reinterpret_cast<u64*>(ram() + 0x2000);
    auto* pd = reinterpret_cast<u64*>(ram() + 0x9000);
    auto* pt = reinterpret_cast<u64*>(ram() + 0xa000);
    pdpt[8] = 0x9007;
    pd[0] = 0xa007;
    for (u64 i = 0; i < 16; ++i) pt[i] = (guest_code + i * 4096) | 7;
    for (u64 i = 0; i < 4; ++i) pt[16 + i] = (guest_data + i * 4096) | 7;
    for (u64 v = 0; v < 32; ++v) {
      u8* stub = ram() + 0xc000 + v * 16;
      stub[0] = 0xe6, stub[1] = static_cast<u8>(0x80 + v), stub[2] = 0xf4;
      const u64 at = 0xc000 + v * 16;
      u64 gate[2] = {(at & 0xffff) | 8ull << 16 | 1ull << 32 | 0x8eull << 40 | (at >> 16 & 0xffff) << 48, 0};
      std::memcpy(ram() + 0xb000 + v * 16, gate, 16);
    }
    const u64 gdt[4] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0};
    std::memcpy(ram() + 0xe000, gdt, sizeof gdt);
    // IST1 in a TSS, because RSP may hold anything.
    const u64 tss = 0xd000, stack = 0xf000;
    std::memcpy(ram() + tss + 36, &stack, 8);
  }
  void port_write(u16 port, std::span<const u8> data) override {
    if (port >= 0x80 && port < 0xa0) {
      vector = port - 0x80;
      vcpu().kick();
      return;
    }
    MiniGuest::port_write(port, data);
  }
  /// Runs `code`, then `out 0xf4`. The exception vector, or -1.
  int execute(const std::vector<u8>& code, OracleState& state, u64 xcr0, u64* rip) {
    std::vector<u8> whole = code;
    whole.push_back(0xe6), whole.push_back(0xf4);
    std::memcpy(ram() + guest_code, whole.data(), whole.size());
    engine().memory_written(Gpa(guest_code), 4096);
    x86::CpuState s = long_mode();
    s.idtr = {0xb000, 0x1ff};
    s.gdtr = {0xe000, 0x1f};
    s.tr = {0xd000, 0x67, 0x18, 0x008b, false};
    s.xcr0 = xcr0;
    s.rip = oracle_code;
    s.gpr = state.gpr;
    s.rflags = state.flags;
    std::copy(state.xsave.begin(), state.xsave.end(), s.xsave.begin());
    vector = -1;
    const x86::CpuState out = run(s);
    state.gpr = out.gpr;
    state.flags = out.rflags;
    std::copy(out.xsave.begin(), out.xsave.end(), state.xsave.begin());
    if (vector >= 0) std::memcpy(rip, ram() + 0xf000 - 40, 8);
    return last_exit.reason == ExitReason::kicked ? vector : 99;
  }
  int vector = -1;
};

struct Form {
  std::vector<u8> bytes;
  Decoded decoded;
};

/// Builds `prefixes opcode modrm … random immediate`; empty when the table does not call it native.
bool make_form(std::vector<u8> bytes, Rng& rng, Form& form) {
  while (bytes.size() < 15) bytes.push_back(static_cast<u8>(rng()));
  form.decoded = Decoded{};
  if (decode(CodeSize::bits64, true, {bytes.data(), 15}, form.decoded) != DecodeStatus::ok) return false;
  const Decoded& d = form.decoded;
  if (d.kind != Kind::native && d.kind != Kind::bit_string && d.kind != Kind::lea) return false;
  if (d.insn.mnemonic == ZYDIS_MNEMONIC_RDRAND || d.insn.mnemonic == ZYDIS_MNEMONIC_RDSEED) return false;
  bytes.resize(d.insn.length);
  form.bytes = bytes;
  return true;
}

/// ModRM (and SIB, displacement) of one of the kinds: register, [base+disp8], [base+index*scale+disp32], [rip+disp32].
void add_modrm(std::vector<u8>& b, Rng& rng, unsigned kind, bool fixed_base) {
  const unsigned reg = rng() & 7;
  switch (kind) {
    case 0: b.push_back(static_cast<u8>(0xc0 | reg << 3 | (rng() & 7))); return;
    case 1: {
      unsigned base = rng() & 7;
      if (fixed_base) base = 5;  // RBP
      b.push_back(static_cast<u8>(0x40 | reg << 3 | base));
      if (base == 4) b.push_back(0x24);
      b.push_back(static_cast<u8>(rng() % 2 ? rng() : rng() % 5 - 2));  // small ones too: EVEX scales them
      return;
    }
    case 2: {
      unsigned base = rng() & 7, index = rng() & 7;
      b.push_back(static_cast<u8>(0x80 | reg << 3 | 4));
      b.push_back(static_cast<u8>((rng() & 3) << 6 | index << 3 | base));
      const i32 disp = static_cast<i32>(rng() % 0x4000) - 0x2000;
      for (int i = 0; i < 4; ++i) b.push_back(static_cast<u8>(static_cast<u32>(disp) >> (8 * i)));
      return;
    }
    default: {
      b.push_back(static_cast<u8>(reg << 3 | 5));
      const u32 disp = 0x10000 + 0x1000 + static_cast<u32>(rng() % 0x1000);
      for (int i = 0; i < 4; ++i) b.push_back(static_cast<u8>(disp >> (8 * i)));
      return;
    }
  }
}

class Source {
 public:
  explicit Source(u64 seed) : rng(seed) {}
  Rng rng;

  void random_state(OracleState& s, u64 xcr0) {
    for (u64& r : s.gpr) {
      r = rng();
      switch (rng() % 4) {
        case 0: r = static_cast<u64>(static_cast<i64>(static_cast<i8>(r))); break;
        case 1: r &= 0xffffffff; break;
        default: break;
      }
    }
    s.flags = 2 | (rng() & arithmetic_flags);
    s.xsave.fill(0);
    const u64 fields = std::uniform_int_distribution<u64>()(rng);
    for (std::size_t i = 32; i < 416; i += 8) put(s, i, rng());
    // a few interesting floating-point values
    for (int i = 0; i < 8; ++i) {
      const float f = static_cast<float>(static_cast<i64>(rng() % 2000) - 1000) / 8;
      put32(s, 160 + 16 * (rng() % 16) + 4 * (rng() % 4), f);
      const double d = static_cast<double>(static_cast<i64>(rng() % 2000) - 1000) / 16;
      std::memcpy(&s.xsave[160 + 16 * (rng() % 16) + 8 * (rng() % 2)], &d, 8);
    }
    for (int i = 0; i < 8; ++i) {  // x87 registers: mostly normal numbers
      u64 mantissa = rng() | 1ull << 63;
      u16 exponent = static_cast<u16>(0x3fff - 20 + rng() % 40) | static_cast<u16>((rng() & 1) << 15);
      std::memcpy(&s.xsave[32 + 16 * i], &mantissa, 8);
      std::memcpy(&s.xsave[32 + 16 * i + 8], &exponent, 2);
      std::memset(&s.xsave[32 + 16 * i + 10], 0, 6);
    }
    const u16 fcw = static_cast<u16>(0x3f | (fields & 0xf00));
    const u16 fsw = static_cast<u16>(fields >> 16 & 0x4700) | static_cast<u16>((rng() & 7) << 11);
    std::memcpy(&s.xsave[0], &fcw, 2);
    std::memcpy(&s.xsave[2], &fsw, 2);
    s.xsave[4] = static_cast<u8>(fields >> 40);
    const u32 mxcsr = 0x1f80 | (fields >> 48 & 0xe000);
    std::memcpy(&s.xsave[24], &mxcsr, 4);
    for (std::size_t i = 576; i + 8 <= s.xsave.size(); i += 8) put(s, i, rng());
    const u64 bv = xcr0;
    put(s, 512, bv);
    for (std::size_t i = 520; i < 576; i += 8) put(s, i, 0);
  }
  void random_memory(u8* host, u8* guest) {
    for (u64 i = 0; i < testing::oracle_data_size; i += 8) {
      u64 v = rng();
      if (rng() % 3 == 0) {
        const double d = static_cast<double>(static_cast<i64>(v % 4000) - 2000) / 32;
        std::memcpy(&v, &d, 8);
      }
      std::memcpy(host + i, &v, 8);
    }
    std::memcpy(guest, host, testing::oracle_data_size);
  }
  /// Makes the memory operand of `d` fall into the data area. False when it cannot.
  bool aim(const Decoded& d, OracleState& s) {
    const Insn& n = d.insn;
    if (!n.has_mem || n.base == rip_reg) return true;
    if (n.base == no_reg || n.seg >= 4 || n.addrsize != 8) return false;
    u64 ea = oracle_data + 0x1000 + (rng() % 0x1000);
    if (rng() % 4) ea &= ~63ull;  // mostly aligned, as vector forms want it; else anything, also across pages
    if (d.kind == Kind::bit_string) {
      if (n.reg == n.base || n.reg == n.index) return false;
      s.gpr[n.reg] = static_cast<u64>(static_cast<i64>(rng() % 16384) - 8192);
      if (n.opsize == 4) s.gpr[n.reg] = static_cast<u32>(s.gpr[n.reg]) | rng() << 32;
    }
    u64 index = 0;
    if (n.index != no_reg) {
      if (n.index == n.base) return false;
      s.gpr[n.index] = rng() % 64;
      index = s.gpr[n.index] * n.scale;
    }
    s.gpr[n.base] = ea - index - static_cast<u64>(n.disp);
    return true;
  }

 private:
  static void put(OracleState& s, std::size_t at, u64 v) { std::memcpy(&s.xsave[at], &v, 8); }
  static void put32(OracleState& s, std::size_t at, float v) { std::memcpy(&s.xsave[at], &v, 4); }
};

std::string text(const std::vector<u8>& code) {
  std::string out;
  ZydisDisassembledInstruction insn;
  for (std::size_t at = 0; at < code.size();) {
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, oracle_code + at, code.data() + at, code.size() - at, &insn))) break;
    out += std::string(insn.text) + "; ";
    at += insn.info.length;
  }
  char byte[4];
  for (u8 b : code) std::snprintf(byte, sizeof byte, "%02x ", b), out += byte;
  return out;
}

class DifferentialTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!testing::oracle_area()) GTEST_SKIP() << "the fixed addresses of the oracle are taken in this process";
    SoftOptions options;
    options.precise_flags = GetParam();
    guest_ = std::make_unique<Differential>(options);
    ASSERT_TRUE(guest_->ok());
    xcr0_ = carried_xcr0();
    host_data_ = reinterpret_cast<u8*>(oracle_data);
    guest_data_ = guest_->ram() + guest_data;
  }
  /// Empty when both agree, else what differs.
  std::string compare(const std::vector<u8>& code, const OracleState& start, bool exact_flags_at_fault) {
    std::vector<u8> memory(host_data_, host_data_ + testing::oracle_data_size);
    OracleState native = start, engine = start;
    const auto expected = testing::run_native(code, native, xcr0_);
    u64 rip = 0;
    const int vector = guest_->execute(code, engine, xcr0_, &rip);
    std::string diff;
    if (expected.fault != vector) return "exception " + std::to_string(expected.fault) + " became " + std::to_string(vector);
    if (std::memcmp(host_data_, guest_data_, testing::oracle_data_size) != 0) diff += "memory ";
    if (vector >= 0) {
      if (expected.rip != rip) diff += "rip of the fault ";
      (void)exact_flags_at_fault;
      return diff;
    }
    for (int i = 0; i < 16; ++i) {
      if (native.gpr[i] == engine.gpr[i]) continue;
      char line[80];
      std::snprintf(line, sizeof line, "r%d %llx became %llx ", i, static_cast<unsigned long long>(native.gpr[i]),
                    static_cast<unsigned long long>(engine.gpr[i]));
      diff += line;
    }
    if ((native.flags ^ engine.flags) & arithmetic_flags) {
      char line[80];
      std::snprintf(line, sizeof line, "flags %llx became %llx ", static_cast<unsigned long long>(native.flags & arithmetic_flags),
                    static_cast<unsigned long long>(engine.flags & arithmetic_flags));
      diff += line;
    }
    normalize(native);
    normalize(engine);
    for (std::size_t i = 0; i < native.xsave.size(); ++i) {
      if (native.xsave[i] == engine.xsave[i]) continue;
      diff += "xsave byte " + std::to_string(i);
      break;
    }
    return diff;
  }
  /// Components in their initial state may hold anything in memory; x87 pointers are not part of the promise.
  static void normalize(OracleState& s) {
    u64 bv;
    std::memcpy(&bv, &s.xsave[512], 8);
    std::memset(&s.xsave[6], 0, 18);
    std::memset(&s.xsave[28], 0, 4);
    if (!(bv & 1)) {
      std::memset(&s.xsave[32], 0, 128);
      std::memset(&s.xsave[0], 0, 6);
      s.xsave[0] = 0x7f, s.xsave[1] = 3;
    }
    if (!(bv & 2)) std::memset(&s.xsave[160], 0, 256);
    if (!(bv & 4)) std::memset(&s.xsave[576], 0, 256);
    u32 a, offset[3], c, d, size[3];
    for (u32 i = 5; i < 8; ++i) {
      asm volatile("cpuid" : "=a"(a), "=b"(offset[i - 5]), "=c"(c), "=d"(d) : "a"(0xd), "c"(i));
      size[i - 5] = a;
      if (!(bv >> i & 1) && offset[i - 5] + a <= s.xsave.size()) std::memset(&s.xsave[offset[i - 5]], 0, size[i - 5]);
    }
    std::memset(&s.xsave[512], 0, 64);
    std::memset(&s.xsave[416], 0, 96);
    // Only what lies inside the components counts.
    for (std::size_t i = 832; i < s.xsave.size(); ++i) {
      bool inside = false;
      for (int k = 0; k < 3; ++k) inside = inside || (size[k] && i >= offset[k] && i < offset[k] + size[k]);
      if (!inside) s.xsave[i] = 0;
    }
  }
  void try_form(const std::vector<u8>& start, unsigned inputs) {
    Form form;
    if (!make_form(start, source_.rng, form)) return;
    bool any = false;
    for (unsigned i = 0; i < inputs; ++i) {
      OracleState s;
      source_.random_state(s, xcr0_);
      source_.random_memory(host_data_, guest_data_);
      if (form.decoded.kind != Kind::lea && !source_.aim(form.decoded, s)) return;
      any = true;
      // A CMP behind it makes the flags dead, which selects the other form of the lookup.
      std::vector<u8> code = form.bytes;
      if (i % 2 == 1) code.insert(code.end(), {0x39, 0xc0});
      const std::string diff = compare(code, s, GetParam());
      if (!diff.empty()) {
        const auto name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(form.decoded.insn.mnemonic));
        if (++failures_[name] <= 2) ADD_FAILURE() << text(form.bytes) << ": " << diff;
        break;
      }
    }
    if (any) ++forms_, mnemonics_.insert(form.decoded.insn.mnemonic);
  }

  std::unique_ptr<Differential> guest_;
  Source source_{0x6e61676179610001};
  u64 xcr0_ = 0;
  u8* host_data_ = nullptr;
  u8* guest_data_ = nullptr;
  std::map<std::string, int> failures_;
  std::set<u16> mnemonics_;
  unsigned forms_ = 0;
};

TEST_P(DifferentialTest, LegacyForms) {
  const u8 prefixes[] = {0, 0x66, 0xf2, 0xf3};
  for (unsigned map = 0; map < 4; ++map) {
    for (u8 prefix : prefixes) {
      for (unsigned w = 0; w < 2; ++w) {
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          for (unsigned round = 0; round < (map < 2 ? 12u : 6u); ++round) {
            std::vector<u8> b;
            if (round % 6 == 5 && (opcode & 1)) b.push_back(0xf0);
            if (prefix) b.push_back(prefix);
            const unsigned rex = 0x40 | w << 3 | static_cast<unsigned>(source_.rng() & 7);
            if (w || round & 1) b.push_back(static_cast<u8>(rex));
            if (map) b.push_back(0x0f);
            if (map == 2) b.push_back(0x38);
            if (map == 3) b.push_back(0x3a);
            b.push_back(static_cast<u8>(opcode));
            add_modrm(b, source_.rng, round % 4, false);
            try_form(b, 2);
          }
        }
      }
    }
  }
  RecordProperty("forms", static_cast<int>(forms_));
  EXPECT_GT(forms_, 3000u);
  EXPECT_GT(mnemonics_.size(), 300u);
}

TEST_P(DifferentialTest, VexForms) {
  for (unsigned map = 1; map < 4; ++map) {
    for (unsigned pp = 0; pp < 4; ++pp) {
      for (unsigned wl = 0; wl < 4; ++wl) {
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          for (unsigned round = 0; round < 4; ++round) {
            std::vector<u8> b = {0xc4, static_cast<u8>((source_.rng() & 0xe0) | map),
                                 static_cast<u8>((wl & 1) << 7 | (source_.rng() & 0x78) | (wl & 2) << 1 | pp), static_cast<u8>(opcode)};
            if (round & 1) b[2] |= 0x78;
            add_modrm(b, source_.rng, round, false);
            try_form(b, 2);
          }
        }
      }
    }
  }
  EXPECT_GT(forms_, 1000u);
}

TEST_P(DifferentialTest, EvexForms) {
  if (!(xcr0_ & 0xe0)) GTEST_SKIP() << "no AVX-512 here";
  for (unsigned map = 1; map < 4; ++map) {
    for (unsigned pp = 0; pp < 4; ++pp) {
      for (unsigned wl = 0; wl < 6; ++wl) {
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          for (unsigned round = 0; round < 4; ++round) {
            const u64 r = source_.rng();
            std::vector<u8> b = {0x62, static_cast<u8>((r & 0xf0) | map), static_cast<u8>((wl & 1) << 7 | (r >> 8 & 0x78) | 4 | pp),
                                 static_cast<u8>((wl >> 1) << 5 | 8 | (round >= 2 ? r >> 16 & 0x97 : 0)), static_cast<u8>(opcode)};
            if (round & 1) b[2] |= 0x78;
            add_modrm(b, source_.rng, (round + opcode) & 1 ? 1 + round % 3 : 0, false);
            try_form(b, 2);
          }
        }
      }
    }
  }
  EXPECT_GT(forms_, 1000u);
}

TEST_P(DifferentialTest, RandomStreams) {
  // A pool of forms that leave RBP alone, the one base of their memory operands.
  std::vector<Form> pool;
  Rng& rng = source_.rng;
  while (pool.size() < 4000) {
    std::vector<u8> b;
    const u8 prefixes[] = {0, 0, 0x66, 0xf2, 0xf3};
    if (const u8 p = prefixes[rng() % 5]) b.push_back(p);
    if (rng() % 2) b.push_back(static_cast<u8>(0x40 | (rng() & 0xc)));  // no REX.B: it would change the base
    const unsigned map = rng() % 3;
    if (map) b.push_back(0x0f);
    if (map == 2) b.push_back(0x38);
    b.push_back(static_cast<u8>(rng()));
    add_modrm(b, rng, rng() % 2, true);
    Form form;
    if (!make_form(b, rng, form)) continue;
    const Decoded& d = form.decoded;
    if (d.insn.seg >= 4 || d.insn.addrsize != 8 || d.kind == Kind::bit_string) continue;
    if (d.insn.has_mem && (d.insn.base != 5 || d.insn.index != no_reg) && d.kind != Kind::lea) continue;
    bool spoils = d.kind == Kind::lea && d.insn.reg == 5;
    for (unsigned i = 0; i < d.gpr_count; ++i) spoils = spoils || (d.gpr[i].reg == 5 && d.gpr[i].write && !d.gpr[i].high8);
    if (spoils) continue;
    // Unaligned vector operands would end most streams at once.
    pool.push_back(form);
  }
  unsigned whole = 0;
  for (unsigned stream = 0; stream < 3000; ++stream) {
    std::vector<u8> code;
    const unsigned length = 2 + rng() % 24;
    for (unsigned i = 0; i < length; ++i) {
      const Form& f = pool[rng() % pool.size()];
      code.insert(code.end(), f.bytes.begin(), f.bytes.end());
    }
    OracleState s;
    source_.random_state(s, xcr0_);
    source_.random_memory(host_data_, guest_data_);
    s.gpr[5] = oracle_data + 0x2000 - 64 + (rng() % 4 == 0 ? rng() % 128 : 0);
    const std::string diff = compare(code, s, GetParam());
    if (!diff.empty()) {
      ADD_FAILURE() << text(code) << ": " << diff;
      if (++failures_["stream"] > 5) break;
    }
    ++whole;
  }
  EXPECT_GT(whole, 2900u);
}

INSTANTIATE_TEST_SUITE_P(Flags, DifferentialTest, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Precise" : "Lazy"; });

}  // namespace
}  // namespace nagaya::engine::soft
