#include "boot/entry_state.hpp"

#include <array>

#include "boot/bytes.hpp"

namespace nagaya::boot {
namespace {

constexpr u16 code_selector = 0x10, data_selector = 0x18, tss_selector = 0x20;  // as Linux' __BOOT_CS, __BOOT_DS
// Attribute words, descriptor bits 40..55: G, D/B or L, P, S, type.
constexpr u16 code32_attr = 0xc09b, code64_attr = 0xa09b, data_attr = 0xc093, busy_tss_attr = 0x008b;
constexpr u32 tss_limit = 0x67;  // the smallest 32-bit TSS
constexpr u32 multiboot_loaded = 0x2badb002;
constexpr u64 cr0_pe = 1, cr0_et = 1 << 4, cr0_pg = u64{1} << 31, cr4_pae = 1 << 5;
constexpr u64 efer_lme = 1 << 8, efer_lma = 1 << 10;
constexpr u64 present_writable = 3, large_page = 1 << 7;

x86::Segment segment(u16 selector, u32 limit, u16 attr) {
  return {.base = 0, .limit = limit, .selector = selector, .attr = attr, .unusable = false};
}

// A descriptor with base 0; the limit field counts pages when `attr` has G.
u64 descriptor(u32 limit, u16 attr) {
  const u64 field = (attr & 0x8000) != 0 ? limit >> 12 : limit;
  return (field & 0xffff) | u64{attr} << 40 | (field >> 16 & 0xf) << 48;
}

// What all protocols share: interrupts off, a table with the descriptors in use, a valid task register (entering a
// guest with VMX demands one).
Result<x86::CpuState> flat_state(memory::GuestMemory& memory, Placement& placement, u16 code_attr) {
  x86::CpuState state = x86::reset_state(true);
  TRY_ASSIGN(const u64 gdt, placement.boot_data("the descriptor table", 48, 16));
  const std::array<u64, 6> table = {0, 0, descriptor(0xffff'ffff, code_attr), descriptor(0xffff'ffff, data_attr),
                                    descriptor(tss_limit, busy_tss_attr), 0};
  Bytes bytes;
  for (u64 entry : table) append(bytes, entry);
  TRY(memory.write(Gpa(gdt), bytes));
  state.gdtr = {gdt, sizeof table - 1};
  state.idtr = {0, 0};
  for (x86::Segment& s : state.seg) s = segment(data_selector, 0xffff'ffff, data_attr);
  state.seg[x86::CS] = segment(code_selector, 0xffff'ffff, code_attr);
  state.tr = segment(tss_selector, tss_limit, busy_tss_attr);
  state.ldtr = {.base = 0, .limit = 0, .selector = 0, .attr = 0x0082, .unusable = true};
  state.gpr = {};
  state.rflags = 2;
  state.cr0 = cr0_pe | cr0_et;
  state.cr3 = state.cr4 = 0;
  state.msr.efer = 0;
  return state;
}

// One PML4, one PDPT, four page directories of 2 MiB pages.
Result<u64> identity_map(memory::GuestMemory& memory, Placement& placement) {
  constexpr u64 directories = 4;
  TRY_ASSIGN(const u64 base, placement.boot_data("the first page tables", (2 + directories) * page_size, page_size));
  Bytes bytes((2 + directories) * page_size);
  const u64 pdpt = base + page_size, first_directory = base + 2 * page_size;
  poke<u64>(bytes, 0, pdpt | present_writable);
  for (u64 i = 0; i < directories; ++i) {
    poke<u64>(bytes, page_size + i * 8, (first_directory + i * page_size) | present_writable);
  }
  for (u64 i = 0; i < directories * 512; ++i) {
    poke<u64>(bytes, 2 * page_size + i * 8, i * 2 * MiB | present_writable | large_page);
  }
  TRY(memory.write(Gpa(base), bytes));
  return base;
}

}  // namespace

Result<x86::CpuState> linux64_entry(memory::GuestMemory& memory, Placement& placement, u64 entry, u64 boot_params) {
  TRY_ASSIGN(x86::CpuState state, flat_state(memory, placement, code64_attr));
  TRY_ASSIGN(state.cr3, identity_map(memory, placement));
  state.cr0 |= cr0_pg;
  state.cr4 = cr4_pae;
  state.msr.efer = efer_lme | efer_lma;
  state.rip = entry;
  state.gpr[x86::RSI] = boot_params;
  return state;
}

Result<x86::CpuState> linux32_entry(memory::GuestMemory& memory, Placement& placement, u32 entry, u32 boot_params) {
  TRY_ASSIGN(x86::CpuState state, flat_state(memory, placement, code32_attr));
  state.rip = entry;
  state.gpr[x86::RSI] = boot_params;
  return state;
}

Result<x86::CpuState> pvh_entry_state(memory::GuestMemory& memory, Placement& placement, u32 entry, u32 start_info) {
  TRY_ASSIGN(x86::CpuState state, flat_state(memory, placement, code32_attr));
  state.rip = entry;
  state.gpr[x86::RBX] = start_info;
  return state;
}

Result<x86::CpuState> multiboot_entry(memory::GuestMemory& memory, Placement& placement, u32 entry, u32 info) {
  TRY_ASSIGN(x86::CpuState state, flat_state(memory, placement, code32_attr));
  state.rip = entry;
  state.gpr[x86::RAX] = multiboot_loaded;
  state.gpr[x86::RBX] = info;
  return state;
}

}  // namespace nagaya::boot
