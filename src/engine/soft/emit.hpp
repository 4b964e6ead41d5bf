// A small emitter for the glue around re-encoded guest instructions: a few dozen instruction forms, written straight into a
// buffer whose final address is known. Guest instructions themselves are re-encoded byte by byte (translate_native.cpp).
#pragma once
#include <cstring>
#include <memory>

#include "base/types.hpp"

namespace nagaya::engine::soft {

/// Host registers by encoding.
enum HostReg : u8 { h_rax, h_rcx, h_rdx, h_rbx, h_rsp, h_rbp, h_rsi, h_rdi, h_r8, h_r9, h_r10, h_r11, h_r12, h_r13, h_r14, h_r15 };

/// Where guest registers live: RCX in host R10, so that host RCX and R11 are the two temporaries; guest R10 and R11 stay in the
/// state block; all others live in themselves. RCX is a temporary because JRCXZ is the one conditional branch that reads no flags.
inline constexpr HostReg temp0 = h_r11;
inline constexpr HostReg temp1 = h_rcx;

/// A host memory operand: [base + index * scale + disp], or gs:[…] without base.
struct HostMem {
  i8 base = -1;
  i8 index = -1;
  u8 scale = 1;
  i32 disp = 0;
  bool gs = false;
};

class Emitter {
 public:
  /// More than the longest block needs; `full` is asked between instructions.
  static constexpr u32 capacity = 64 * 1024, reserve = 16 * 1024;
  Emitter() : buffer_(new u8[capacity]), at_(buffer_.get()) {}
  void start() { at_ = buffer_.get(); }
  [[nodiscard]] u32 size() const { return static_cast<u32>(at_ - buffer_.get()); }
  [[nodiscard]] bool full() const { return size() > capacity - reserve; }
  [[nodiscard]] const u8* data() const { return buffer_.get(); }
  /// Fills with NOPs until (position + lead) is a multiple of `to`.
  void align(unsigned to, unsigned lead = 0) {
    static constexpr u8 nops[][3] = {{}, {0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}};
    unsigned n = (to - (size() + lead) % to) % to;
    for (; n > 3; n -= 3) bytes(nops[3], 3);
    bytes(nops[n], n);
  }

  void byte(unsigned v) { *at_++ = static_cast<u8>(v); }
  void bytes(const u8* p, unsigned n) { std::memcpy(at_, p, n), at_ += n; }
  void imm16(u16 v) { raw(v); }
  void imm32(u32 v) { raw(v); }
  void imm64(u64 v) { raw(v); }
  void patch32(u32 at, u32 v) { std::memcpy(buffer_.get() + at, &v, 4); }
  /// Makes the rel32 at `at` point to the current position.
  void bind32(u32 at) { patch32(at, size() - (at + 4)); }
  void bind8(u32 at) { patch8(at, size()); }
  void patch8(u32 at, u32 target) { buffer_[at] = static_cast<u8>(target - (at + 1)); }

  /// REX (when needed or forced), opcode bytes and ModRM for `reg, mem`. `prefix` 0 or a mandatory/operand-size prefix.
  void op_mem(u8 prefix, bool w, std::initializer_list<u8> opcode, unsigned reg, const HostMem& m, bool force_rex = false) {
    if (m.gs) byte(0x65);
    if (prefix) byte(prefix);
    rex(w, reg, m, force_rex);
    for (u8 b : opcode) byte(b);
    modrm_mem(reg, m);
  }
  void op_reg(u8 prefix, bool w, std::initializer_list<u8> opcode, unsigned reg, unsigned rm, bool force_rex = false) {
    if (prefix) byte(prefix);
    unsigned rex = 0x40 | (w ? 8 : 0) | (reg >> 3 & 1) << 2 | (rm >> 3 & 1);
    if (rex != 0x40 || force_rex) byte(rex);
    for (u8 b : opcode) byte(b);
    byte(0xc0 | (reg & 7) << 3 | (rm & 7));
  }
  void rex(bool w, unsigned reg, const HostMem& m, bool force) {
    unsigned r = 0x40 | (w ? 8 : 0) | (reg >> 3 & 1) << 2;
    if (m.index >= 0) r |= (m.index >> 3 & 1) << 1;
    if (m.base >= 0) r |= m.base >> 3 & 1;
    if (r != 0x40 || force) byte(r);
  }
  /// `wide`: no 8-bit displacement (EVEX scales it by the operand's size).
  void modrm_mem(unsigned reg, const HostMem& m, bool wide = false) {
    reg = (reg & 7) << 3;
    if (m.base < 0) {  // absolute or index only: SIB with base 101, mod 00
      byte(reg | 4);
      byte(scale_bits(m.scale) << 6 | (m.index < 0 ? 4 : m.index & 7) << 3 | 5);
      imm32(static_cast<u32>(m.disp));
      return;
    }
    const bool need_disp = m.disp != 0 || (m.base & 7) == 5;
    const unsigned mod = !need_disp ? 0 : !wide && m.disp >= -128 && m.disp < 128 ? 1 : 2;
    if (m.index >= 0 || (m.base & 7) == 4) {
      byte(mod << 6 | reg | 4);
      byte(scale_bits(m.scale) << 6 | (m.index < 0 ? 4 : m.index & 7) << 3 | (m.base & 7));
    } else {
      byte(mod << 6 | reg | (m.base & 7));
    }
    if (mod == 1) byte(static_cast<u8>(m.disp));
    if (mod == 2) imm32(static_cast<u32>(m.disp));
  }

  // --- the forms used by the translator. Sizes: 64-bit unless the name says otherwise. None of these but alu_* changes flags.
  static HostMem gs(std::size_t offset, int index = -1, unsigned scale = 1) {
    return {-1, static_cast<i8>(index), static_cast<u8>(scale), static_cast<i32>(offset), true};
  }
  void load(HostReg r, const HostMem& m) { op_mem(0, true, {0x8b}, r, m); }
  void load32(HostReg r, const HostMem& m) { op_mem(0, false, {0x8b}, r, m); }
  void store(const HostMem& m, HostReg r) { op_mem(0, true, {0x89}, r, m); }
  void store32(const HostMem& m, HostReg r) { op_mem(0, false, {0x89}, r, m); }
  void store16(const HostMem& m, HostReg r) { op_mem(0x66, false, {0x89}, r, m); }
  void store_imm32(const HostMem& m, u32 v) { op_mem(0, false, {0xc7}, 0, m), imm32(v); }
  void mov(HostReg d, HostReg s) { op_reg(0, true, {0x8b}, d, s); }
  void mov32(HostReg d, HostReg s) { op_reg(0, false, {0x8b}, d, s); }
  void movzx16(HostReg d, HostReg s) { op_reg(0, false, {0x0f, 0xb7}, d, s); }
  void mov_imm(HostReg d, u64 v) {
    if (v <= 0xffffffffu) {
      if (d >= 8) byte(0x41);
      byte(0xb8 | (d & 7));
      imm32(static_cast<u32>(v));
    } else if (static_cast<i64>(v) == static_cast<i32>(v)) {
      op_reg(0, true, {0xc7}, 0, d);
      imm32(static_cast<u32>(v));
    } else {
      byte(0x48 | (d >= 8 ? 1 : 0));
      byte(0xb8 | (d & 7));
      imm64(v);
    }
  }
  void lea(HostReg d, const HostMem& m) { op_mem(0, true, {0x8d}, d, m); }
  void lea32(HostReg d, const HostMem& m) { op_mem(0, false, {0x8d}, d, m); }
  /// lea r, [rip + (label)]: returns the position of the rel32.
  u32 lea_rip(HostReg d) {
    byte(0x48 | (d >= 8 ? 4 : 0));
    byte(0x8d);
    byte((d & 7) << 3 | 5);
    imm32(0);
    return size() - 4;
  }
  void xchg(HostReg a, HostReg b) { op_reg(0, true, {0x87}, a, b); }
  void not_(HostReg r) { op_reg(0, true, {0xf7}, 2, r); }
  // BMI2: none of these changes flags.
  void pext(HostReg d, HostReg s, const HostMem& mask) { gather(vex_f3, d, s, mask); }
  void pdep(HostReg d, HostReg s, const HostMem& mask) { gather(vex_f2, d, s, mask); }
  void shlx(HostReg d, HostReg s, HostReg count) { shift(vex_66, d, s, count); }
  void sarx(HostReg d, HostReg s, HostReg count) { shift(vex_f3, d, s, count); }
  void rorx(HostReg d, HostReg s, u8 count, bool wide) {
    vex(d, s, 3);
    byte((wide ? 0x80 : 0) | 0x78 | vex_f2), byte(0xf0);
    byte(0xc0 | (d & 7) << 3 | (s & 7));
    byte(count);
  }
  /// d &= mask, by way of the bits' places.
  void keep_bits(HostReg d, const HostMem& mask) {
    pext(d, d, mask);
    pdep(d, d, mask);
  }
  u32 jmp32() {
    byte(0xe9), imm32(0);
    return size() - 4;
  }
  u32 jcc32(unsigned cond) {
    byte(0x0f), byte(0x80 | cond), imm32(0);
    return size() - 4;
  }
  u32 jrcxz() {
    byte(0xe3), byte(0);
    return size() - 1;
  }
  u32 jecxz() {
    byte(0x67), byte(0xe3), byte(0);
    return size() - 1;
  }
  void jmp_mem(const HostMem& m) { op_mem(0, false, {0xff}, 4, m); }

 private:
  static constexpr unsigned vex_66 = 1, vex_f3 = 2, vex_f2 = 3;
  void vex(unsigned reg, int base, unsigned map) { byte(0xc4), byte((reg < 8 ? 0x80 : 0) | 0x40 | (base < 8 ? 0x20 : 0) | map); }
  void gather(unsigned prefix, HostReg d, HostReg s, const HostMem& mask) {
    if (mask.gs) byte(0x65);
    vex(d, mask.base, 2);
    byte(0x80 | (~s & 15) << 3 | prefix), byte(0xf5);
    modrm_mem(d, mask);
  }
  void shift(unsigned prefix, HostReg d, HostReg s, HostReg count) {
    vex(d, s, 2);
    byte(0x80 | (~count & 15) << 3 | prefix), byte(0xf7);
    byte(0xc0 | (d & 7) << 3 | (s & 7));
  }
  template <class T>
  void raw(T v) {
    std::memcpy(at_, &v, sizeof v);
    at_ += sizeof v;
  }
  static unsigned scale_bits(unsigned s) { return s == 8 ? 3 : s == 4 ? 2 : s == 2 ? 1 : 0; }
  std::unique_ptr<u8[]> buffer_;
  u8* at_;
};

}  // namespace nagaya::engine::soft
