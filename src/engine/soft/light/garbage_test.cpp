// Nonsense in every table: whatever a guest puts into descriptors, gates, TSSs, stacks and page tables, an operation
// ends in success, in one fault, or in a shutdown.
#include <random>

#include "engine/soft/light/env_test.hpp"

namespace nagaya::engine::soft {
namespace {

class Garbage : public Env {
 protected:
  std::mt19937_64 random{20240229};

  u64 pick(u64 n) { return random() % n; }
  // Values that reach deep more often than plain noise would.
  u64 selector() { return pick(8) ? (pick(16) * 8 | pick(8)) : random(); }
  void fill_tables() {
    for (u64 i = 0; i < 16; i++) {
      static constexpr u8 access[] = {0x9b, 0x93, 0xfb, 0xf3, 0x9f, 0x89, 0x8b, 0x81,
                                      0x83, 0xec, 0xe4, 0x85, 0xe5, 0x82, 0x97, 0x9a};
      u64 d =
          segment_descriptor(static_cast<u32>(pick(4) ? pick(ram_size) : random()), static_cast<u32>(random()),
                             pick(8) ? access[pick(16)] : static_cast<u8>(random()), static_cast<unsigned>(pick(16)));
      if ((d >> 44 & 0x1f) != 0x1 && pick(3) == 0) d = (d & ~0xffff0000ull) | selector() << 16;
      q64(gdt_base + i * 8) = d;
      q64(ldt_base + i * 8) = random();
    }
    for (u64 i = 0; i < 512; i++) {
      q64(idt_base + i * 8) =
          pick(4) ? (random() & 0xffff1fff0000ffffull) | 0x8e0000000000ull | (selector() & 0xffff) << 16 : random();
    }
    for (u64 i = 0; i < 0x80; i += 4) d32(tss_base + i) = static_cast<u32>(pick(2) ? selector() : pick(ram_size));
    for (u64 i = 0; i < 0x100; i += 4) d32(0x9000 + i) = static_cast<u32>(pick(2) ? selector() : random());
  }
  // `delivering`: a delivery that must be started again in heavy mode keeps its fault.
  void check(bool delivering = false) {
    EXPECT_LE(cpl(cpu), 3u);
    EXPECT_FALSE(cpu.heavy && cpu.need_heavy);
    EXPECT_FALSE(!delivering && cpu.fault.pending && cpu.need_heavy);
    cpu.fault = {};
    cpu.need_heavy = false;
    cpu.s.run_state = x86::RunState::running;
  }
};

TEST_F(Garbage, TransfersAndDeliveries) {
  for (int round = 0; round < 20000; round++) {
    const unsigned bits = pick(3) == 0 ? 16 : pick(2) ? 32 : 64, ring = pick(2) ? 3 : 0;
    cpu.s.cr0 = 0x60000010;
    cpu.s.cr4 = 0;
    cpu.s.msr.efer = 0;
    tlb_flush_all(cpu);
    protected_mode_at(bits == 16 ? 0 : ring, bits);
    fill_tables();
    if (bits == 64) {
      if (pick(4) == 0) q64(0x3000 + pick(4) * 8) = random();
    }
    cpu.heavy = pick(2);
    cpu.s.rflags = (random() & 0x3f7fd5) | 2;
    if (bits == 64 || pick(2)) cpu.s.rflags &= ~flag_vm;
    if (v86_mode(cpu))
      for (u8 i = 0; i < 6; i++) set_paragraph(cpu, i, static_cast<u16>(random()));
    if (pick(4) == 0)
      cpu.s.ldtr = {.base = ldt_base, .limit = static_cast<u32>(pick(0x100)), .selector = 8, .attr = 0x82};
    if (pick(4) == 0) cpu.s.tr.limit = static_cast<u32>(pick(0x70));
    if (pick(8) == 0) cpu.s.tr.attr = 0x83;
    if (pick(4) == 0) cpu.s.gpr[x86::RSP] = random();
    const unsigned opsize = pick(2) ? 4 : bits == 64 ? 8 : 2;
    Insn insn;
    insn.opsize = static_cast<u8>(opsize);
    insn.length = 1;
    const u16 sel = static_cast<u16>(selector());
    const u64 what = pick(10);
    switch (what) {
      case 0:
        far_jump(cpu, sel, random(), opsize, 0x4005);
        break;
      case 1:
        far_call(cpu, sel, random(), opsize, 0x4005);
        break;
      case 2:
        far_ret(cpu, opsize, pick(0x10000));
        break;
      case 3:
        iret(cpu, insn);
        break;
      case 4:
        deliver_interrupt(cpu, static_cast<u8>(random()), pick(2));
        break;
      case 5:
        raise_software(cpu, static_cast<u8>(random()), 0x4002, static_cast<SoftInt>(pick(3))), deliver_fault(cpu);
        break;
      case 6:
        raise(cpu, static_cast<u8>(pick(32)), static_cast<u32>(random())), deliver_fault(cpu);
        break;
      case 7:
        load_segment(cpu, static_cast<u8>(pick(2) ? 2 : 3 + pick(3)), sel);
        break;
      case 8:
        load_tr(cpu, sel);
        break;
      default:
        load_ldtr(cpu, sel);
        break;
    }
    check(what >= 4 && what <= 6);
  }
}

TEST_F(Garbage, PageTables) {
  for (int round = 0; round < 2000; round++) {
    const bool lme = pick(2), pae = lme || pick(2);
    cpu.s.cr0 = cr0_pe | cr0_pg | (random() & cr0_wp);
    cpu.s.cr4 = (pae ? cr4_pae : 0) | (random() & (cr4_pse | cr4_pge | cr4_smep | cr4_smap));
    cpu.s.msr.efer = (lme ? efer_lme | efer_lma : 0) | (random() & efer_nxe);
    cpu.s.cr3 = pick(ram_size) & ~0xfffull;
    tlb_flush_all(cpu);
    for (u64 i = 0; i < 64; i++) {
      const u64 low = (pick(ram_size) & ~0xfffull) | (random() & 0x1ff) | 1;
      q64(pick(ram_size / 8) * 8) = pick(4) ? low : random();
      q64(cpu.s.cr3 + i * 8) = pick(4) ? low : random();
    }
    for (int i = 0; i < 64; i++) {
      const u64 linear = pick(8) ? pick(1ull << 48) & ~(pick(2) ? 0ull : 0x7fffff000000ull) : random();
      u8 buffer[64] = {};
      const TlbKind kind = static_cast<TlbKind>(pick(3));
      cpu.heavy = pick(2);
      if (pick(2))
        mem_read(cpu, linear, buffer, static_cast<unsigned>(1 + pick(64)), kind);
      else
        mem_write(cpu, linear, buffer, static_cast<unsigned>(1 + pick(64)), kind);
      check();
    }
    if (pick(4) == 0) tlb_flush_page(cpu, random());
    if (pick(4) == 0) load_cr3(cpu, cpu.s.cr3, pick(2));
  }
}

}  // namespace
}  // namespace nagaya::engine::soft
