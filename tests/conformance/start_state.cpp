#include "start_state.hpp"

#include <cstring>

namespace nagaya::conformance {
namespace {

constexpr u64 gdt_at = 0x1000, tss_at = 0x2000, ring0_stack = 0x90000, idt_at = 0x4000, pml4_at = 0x5000,
              pdpt_at = 0x6000, pd_low_at = 0x7000, pd_mmio_at = 0x3000, stack_top = 0x80000, real_stack = 0x7f00;
constexpr u64 gdt[] = {
    0,
    0x00af9b000000ffff,  // 08 code, 64-bit, ring 0
    0x00cf93000000ffff,  // 10 data, ring 0
    0x00cffb000000ffff,  // 18 code, 32-bit, ring 3
    0x00cff3000000ffff,  // 20 data, ring 3
    0x00affb000000ffff,  // 28 code, 64-bit, ring 3
    0x00cf9b000000ffff,  // 30 code, 32-bit, ring 0
    0x00009b000000ffff,  // 38 code, 16-bit, base 0
    0x000093000000ffff,  // 40 data, 16-bit, base 0
    0x00008b0020000067,  // 48 TSS, busy
    0,
};

x86::Segment segment(u16 selector) {
  x86::Segment s;
  const u64 descriptor = gdt[selector / 8];
  s.selector = selector;
  s.attr = static_cast<u16>(descriptor >> 40 & 0xf0ff);
  s.limit = 0xffffffff;
  return s;
}

}  // namespace

Result<> prepare_memory(memory::GuestMemory& ram, Mode mode) {
  TRY(ram.fill(Gpa(0), 0x100000, 0));
  if (mode == Mode::real) return {};
  TRY(ram.write(Gpa(gdt_at), std::span(reinterpret_cast<const u8*>(gdt), sizeof gdt)));
  if (mode == Mode::long64) {
    TRY(ram.write_value<u64>(Gpa(tss_at + 4), ring0_stack));
    TRY(ram.write_value<u16>(Gpa(tss_at + 0x66), 0x68));  // no I/O permission map
    TRY(ram.write_value<u64>(Gpa(pml4_at), pdpt_at | 7));
    TRY(ram.write_value<u64>(Gpa(pdpt_at), pd_low_at | 7));
    TRY(ram.write_value<u64>(Gpa(pdpt_at + 3 * 8), pd_mmio_at | 7));
    for (u64 i = 0; i < 512; ++i) {
      TRY(ram.write_value<u64>(Gpa(pd_low_at + 8 * i), (i * 2 * MiB) | 0x87));
      TRY(ram.write_value<u64>(Gpa(pd_mmio_at + 8 * i), (3 * GiB + i * 2 * MiB) | 0x87));
    }
    return {};
  }
  TRY(ram.write_value<u32>(Gpa(tss_at + 4), static_cast<u32>(ring0_stack)));
  return ram.write_value<u32>(Gpa(tss_at + 8), 0x10);
}

x86::CpuState start_state(Mode mode) {
  x86::CpuState state = x86::reset_state(true);
  state.rip = image_at;
  state.gpr[x86::RDX] = 0;
  if (mode == Mode::real) {
    state.seg[x86::CS].selector = 0;
    state.seg[x86::CS].base = 0;
    state.gpr[x86::RSP] = real_stack;
    return state;
  }
  const bool wide = mode == Mode::long64;
  for (x86::Segment& s : state.seg) s = segment(0x10);
  state.seg[x86::CS] = segment(wide ? 0x08 : 0x30);
  state.tr = {.base = tss_at, .limit = 0x67, .selector = 0x48, .attr = 0x8b, .unusable = false};
  state.gdtr = {gdt_at, sizeof gdt - 1};
  state.idtr = {idt_at, 0xfff};
  state.cr0 = 0x33;  // NE ET MP PE
  state.gpr[x86::RSP] = stack_top;
  if (wide) {
    state.cr0 = 0x80010033;
    state.cr3 = pml4_at;
    state.cr4 = 0x620;  // OSXMMEXCPT OSFXSR PAE
    state.msr.efer = 0xd01;
  }
  return state;
}

}  // namespace nagaya::conformance
