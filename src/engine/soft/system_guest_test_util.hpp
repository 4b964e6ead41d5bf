// A guest with descriptor tables and an IDT for tests of what user mode cannot show: exceptions, paging, debugging, code
// that changes. Guest code is written as assembly in the test and copied into the guest.
#pragma once
#include <atomic>
#include <ostream>
#include <string>

#include "engine/soft/mini_guest_test_util.hpp"

/// Defines `name`, a GuestCode, from AT&T assembly that runs wherever it is copied (use numeric labels and %rip). At
/// namespace scope, outside anonymous namespaces.
#define NAGAYA_GUEST_CODE(name, text)                                                                       \
  asm(".pushsection .rodata\n.code64\nnagaya_guest_" #name "_begin:\n" text "\n.code64\nnagaya_guest_" #name \
      "_end:\n.popsection");                                                                                \
  extern const ::nagaya::u8 name##_begin[] asm("nagaya_guest_" #name "_begin") __attribute__((visibility("hidden"))); \
  extern const ::nagaya::u8 name##_end[] asm("nagaya_guest_" #name "_end") __attribute__((visibility("hidden")));     \
  inline const ::nagaya::engine::soft::testing::GuestCode name {                                             \
    name##_begin, name##_end                                                                                \
  }

namespace nagaya::engine::soft::testing {

struct GuestCode {
  const u8* begin;
  const u8* end;
  [[nodiscard]] u64 size() const { return static_cast<u64>(end - begin); }
};

/// What an exception pushed.
struct ExceptionFrame {
  u64 code = 0, rip = 0, cs = 0, flags = 0, rsp = 0, ss = 0;
};

template <class T>
struct Cell {
  u8* where;
  operator T() const {  // NOLINT(google-explicit-constructor): reads like the number it is
    T value;
    std::memcpy(&value, where, sizeof value);
    return value;
  }
  Cell& operator=(T value) {
    std::memcpy(where, &value, sizeof value);
    return *this;
  }
  Cell& operator=(const Cell& other) { return *this = static_cast<T>(other); }
  Cell(const Cell&) = default;
  explicit Cell(u8* at) : where(at) {}
  Cell& operator&=(T v) { return *this = static_cast<T>(*this & v); }
  Cell& operator^=(T v) { return *this = static_cast<T>(*this ^ v); }
  friend void PrintTo(const Cell& c, std::ostream* os) { *os << +static_cast<T>(c); }
};

/// A local APIC that holds one pending vector.
class OneVectorApic : public LocalApic {
 public:
  std::atomic<int> vector{-1};
  std::atomic<u64> apic_base{0xfee00900};
  bool interrupt_pending() override { return vector.load() >= 0; }
  int acknowledge_interrupt() override { return vector.exchange(-1); }
  u8 cr8() override { return cr8_; }
  void set_cr8(u8 value) override { cr8_ = value; }
  bool read_msr(u32 index, u64& value) override {
    if (index != 0x1b) return false;
    value = apic_base.load();
    return true;
  }
  bool write_msr(u32 index, u64 value) override {
    if (index != 0x1b) return false;
    apic_base.store(value);
    return true;
  }
  Gpa mmio_base() override { return Gpa(~u64{0}); }
  void mmio_read(u32, std::span<u8>) override {}
  void mmio_write(u32, std::span<const u8>) override {}
  void set_tsc_offset(u64) override {}

 private:
  u8 cr8_ = 0;
};

class SystemGuest : public MiniGuest {
 public:
  static constexpr u64 idt_at = 0xb000, stubs_at = 0xc000, tss_at = 0xd000, gdt_at = 0xe000, ring0_stack = 0x70000,
                       ist_stack = 0x78000, code2_at = 0x30000;
  /// Selectors of the GDT.
  static constexpr u16 code64 = 0x08, data = 0x10, code32 = 0x18, code16 = 0x20, data16 = 0x28, user32 = 0x33,
                       user_data = 0x3b, user64 = 0x43, tss_selector = 0x48;

  explicit SystemGuest(const SoftOptions& options = {}, LocalApic* apic = nullptr) : MiniGuest(options, apic) {
    if (!ok()) return;
    const u64 gdt[11] = {0,
                         0x00af9b000000ffff,   // 08 64-bit code
                         0x00cf93000000ffff,   // 10 data
                         0x00cf9b000000ffff,   // 18 32-bit code
                         0x00009b000000ffff,   // 20 16-bit code
                         0x000093000000ffff,   // 28 16-bit data
                         0x00cffb000000ffff,   // 30 ring 3, 32-bit code
                         0x00cff3000000ffff,   // 38 ring 3, data
                         0x00affb000000ffff,   // 40 ring 3, 64-bit code
                         0x0000890000000067 | (tss_at & 0xffff) << 16 | (tss_at >> 16 & 0xff) << 32, 0};
    std::memcpy(ram() + gdt_at, gdt, sizeof gdt);
    const u64 ring0 = ring0_stack, ist = ist_stack;
    std::memcpy(ram() + tss_at + 4, &ring0, 8);
    std::memcpy(ram() + tss_at + 36, &ist, 8);
    for (unsigned v = 0; v < 32; ++v) {
      u8* stub = ram() + stubs_at + v * 16;
      stub[0] = 0xe6, stub[1] = static_cast<u8>(0x80 + v), stub[2] = 0xf4;  // out 80h + vector, al; hlt
      gate(v, stubs_at + v * 16);
    }
  }

  /// An interrupt gate of 64-bit mode.
  void gate(unsigned vector, u64 handler, unsigned ist = 0, unsigned dpl = 0) {
    const u64 words[2] = {(handler & 0xffff) | u64{code64} << 16 | u64{ist} << 32 | (0x8eull | dpl << 5) << 40 | (handler >> 16 & 0xffff) << 48,
                          handler >> 32};
    std::memcpy(ram() + idt_at + vector * 16, words, 16);
  }
  using MiniGuest::code;
  void code(const GuestCode& c, u64 at = code_at) {
    std::memcpy(ram() + at, c.begin, c.size());
    engine().memory_written(Gpa(at), c.size());
  }
  u64& pte(u64 linear) {
    return *reinterpret_cast<u64*>(ram() + 0x4000 + (linear >> 21) * 0x1000 + (linear >> 12 & 511) * 8);
  }
  /// A number in memory, at any alignment.
  template <class T = u64>
  Cell<T> at(u64 gpa) {
    return Cell<T>{ram() + gpa};
  }

  static x86::CpuState kernel() {
    x86::CpuState s = long_mode();
    s.idtr = {idt_at, 0xfff};
    s.gdtr = {gdt_at, 87};
    s.tr = {tss_at, 0x67, tss_selector, 0x008b, false};
    s.seg[x86::CS].selector = code64;
    return s;
  }
  static x86::CpuState user() {
    x86::CpuState s = kernel();
    for (auto& seg : s.seg) seg = {0, 0xffffffff, user_data, 0xc0f3, false};
    s.seg[x86::CS] = {0, 0xffffffff, user64, 0xa0fb, false};
    return s;
  }

  /// Runs until the end port or an exception stub; `vector` is the exception's, or -1.
  x86::CpuState go(const x86::CpuState& state) {
    vector = -1;
    return run(state);
  }
  /// The frame at the stack pointer of a state that stands in an exception stub.
  ExceptionFrame frame(const x86::CpuState& s) {
    ExceptionFrame f;
    u64 at = s.gpr[x86::RSP];
    if (pushes_code(vector)) f.code = this->at(at), at += 8;
    f.rip = this->at(at), f.cs = this->at(at + 8), f.flags = this->at(at + 16), f.rsp = this->at(at + 24), f.ss = this->at(at + 32);
    return f;
  }
  static bool pushes_code(int v) { return v == 8 || (v >= 10 && v <= 14) || v == 17; }

  void port_write(u16 port, std::span<const u8> data) override {
    if (port >= 0x80 && port < 0xa0) {
      vector = port - 0x80;
      vcpu().kick();
      return;
    }
    MiniGuest::port_write(port, data);
  }

  int vector = -1;
};

}  // namespace nagaya::engine::soft::testing
