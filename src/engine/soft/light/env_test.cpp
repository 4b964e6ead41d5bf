#include "engine/soft/light/env_test.hpp"

#include <sys/mman.h>

#include <cstring>

namespace nagaya::engine::soft {

void mmio_access(SoftCpu&, u64 gpa, void* data, unsigned size, bool write) {
  u64 value = 0;
  u8* bytes = static_cast<u8*>(data);
  if (!write)
    for (unsigned i = 0; i < size; i++) bytes[i] = static_cast<u8>(0x11 + i);
  std::memcpy(&value, data, size < 8 ? size : 8);
  mmio_log.push_back({gpa, size, write, value});
}

namespace {

void* pages(std::size_t size) {
  void* at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) std::abort();
  return at;
}

}  // namespace

Env::Env() : cpu(*static_cast<SoftCpu*>(pages(sizeof(SoftCpu)))), ram_(static_cast<u8*>(pages(ram_size))) {
  cpu.s.rip = 0x100;
  cpu.s.rflags = 2;
  cpu.s.cr0 = 0x60000010;
  cpu.s.dr6 = 0xffff0ff0;
  cpu.s.dr7 = 0x400;
  cpu.s.gdtr.limit = cpu.s.idtr.limit = 0xffff;
  for (auto& seg : cpu.s.seg) seg = {.limit = 0xffff, .attr = 0x93};
  cpu.s.tr = {.limit = 0x67, .attr = 0x8b};
  cpu.s.ldtr.unusable = true;
  cpu.maxphyaddr = 36;
  cpu.features = feat_nx | feat_pdpe1gb | feat_pcid | feat_smep | feat_smap;
  shared.page_flags = flags_.data();
  shared.page_blocks = blocks_.data();
  shared.dirty_bits = dirty_.data();
  shared.page_limit = ram_size >> 12;
  shared.slots[0] = {0, ram_size, ram_, false};
  shared.slots[1] = {rom_base, rom_.size(), rom_.data(), true};
  shared.slot_count = 2;
  shared.cpus[0] = &cpu;
  shared.cpu_count = 1;
  cpu.shared = &shared;
  tlb_init(cpu);
  mode_changed(cpu);
  mmio_log.clear();
}

Env::~Env() {
  munmap(ram_, ram_size);
  munmap(&cpu, sizeof(SoftCpu));
}

u64 Env::segment_descriptor(u32 base, u32 limit, unsigned access, unsigned flags) {
  return (limit & 0xffff) | u64{base & 0xffffff} << 16 | u64{access} << 40 | u64{limit >> 16 & 15} << 48 |
         u64{flags} << 52 | u64{base >> 24} << 56;
}

void Env::set_gate(u8 vector, unsigned access, u16 selector, u32 offset) {
  q64(idt_base + vector * 8u) = (offset & 0xffff) | u64{selector} << 16 | u64{access} << 40 | u64{offset >> 16} << 48;
}

void Env::set_gate64(u8 vector, unsigned access, u16 selector, u64 offset, unsigned ist) {
  q64(idt_base + vector * 16u) =
      (offset & 0xffff) | u64{selector} << 16 | u64{ist} << 32 | u64{access} << 40 | (offset >> 16 & 0xffff) << 48;
  q64(idt_base + vector * 16u + 8) = offset >> 32;
}

void Env::long_paging() {
  q64(0x1000) = 0x2000 | 7;
  q64(0x2000) = 0x3000 | 7;
  for (u64 i = 0; i < 4; i++) q64(0x3000 + i * 8) = i << 21 | 0x87;
  cpu.s.cr3 = 0x1000;
  cpu.s.cr4 |= cr4_pae;
  cpu.s.msr.efer = efer_lme | efer_lma | efer_nxe | efer_sce;
  cpu.s.cr0 |= cr0_pe | cr0_pg | cr0_wp;
  tlb_flush_all(cpu);
}

void Env::protected_mode_at(unsigned ring, unsigned bits) {
  set_gdt(code0, segment_descriptor(0, 0xfffff, 0x9b, 0xc));
  set_gdt(data0, segment_descriptor(0, 0xfffff, 0x93, 0xc));
  set_gdt(code3, segment_descriptor(0, 0xfffff, 0xfb, 0xc));
  set_gdt(data3, segment_descriptor(0, 0xfffff, 0xf3, 0xc));
  set_gdt(code16, segment_descriptor(0, 0xffff, 0x9b, 0));
  set_gdt(data16, segment_descriptor(0x20000, 0xffff, 0x93, 0));
  set_gdt(code64_0, segment_descriptor(0, 0xfffff, 0x9b, 0xa));
  set_gdt(code64_3, segment_descriptor(0, 0xfffff, 0xfb, 0xa));
  set_gdt(conforming, segment_descriptor(0, 0xfffff, 0x9f, bits == 64 ? 0xa : 0xc));
  set_gdt(tss_selector, segment_descriptor(tss_base, 0x67, 0x8b, 0));
  cpu.s.gdtr = {gdt_base, 0x7f};
  cpu.s.idtr = {idt_base, 0xfff};
  cpu.s.cr0 |= cr0_pe;
  cpu.s.tr = {.base = tss_base, .limit = 0x67, .selector = tss_selector, .attr = 0x8b};
  if (bits == 64) long_paging();
  const u16 cs = bits == 16 ? code16 : bits == 64 ? (ring ? code64_3 : code64_0) : ring ? code3 : code0;
  const u16 ds = bits == 16 ? data16 : ring ? data3 : data0;
  Descriptor descriptor;
  descriptor.low = q64(gdt_base + cs);
  set_segment(cpu.s.seg[x86::CS], static_cast<u16>(cs | ring), descriptor);
  descriptor.low = q64(gdt_base + ds);
  for (u8 i : {x86::ES, x86::SS, x86::DS, x86::FS, x86::GS})
    set_segment(cpu.s.seg[i], static_cast<u16>(ds | ring), descriptor);
  cpu.s.gpr[x86::RSP] = 0x9000;
  cpu.s.rip = 0x4000;
  mode_changed(cpu);
}

}  // namespace nagaya::engine::soft
