// Task switches: by JMP, CALL, IRET, task gates and from the IDT.
#include "engine/soft/light/env_test.hpp"

namespace nagaya::engine::soft {
namespace {

using x86::CS, x86::DS, x86::ES, x86::FS, x86::GS, x86::RSP, x86::SS;

class Tasks : public Env {
 protected:
  static constexpr u64 new_tss = 0x14000;

  Tasks() {
    protected_mode_at(0, 32);
    cpu.heavy = true;
    cpu.s.rflags = 0x202;
    set_gdt(free_selector, segment_descriptor(new_tss, 0x67, 0x89, 0));
    d32(new_tss + 0x20) = 0x5000;
    d32(new_tss + 0x24) = 0x46;
    for (unsigned i = 0; i < 8; i++) d32(new_tss + 0x28 + i * 4) = 0x1000 * (i + 1);
    for (unsigned i = 0; i < 6; i++) seg(i) = data0;
    seg(CS) = code0;
  }
  Cell<u16> seg(unsigned i) { return w16(new_tss + 0x48 + i * 4); }
  u8 access(u16 selector) { return b8(gdt_base + selector + 5); }
};

TEST_F(Tasks, NeedsHeavy) {
  cpu.heavy = false;
  EXPECT_FALSE(far_jump(cpu, free_selector, 0, 4, 0x4007));
  EXPECT_TRUE(cpu.need_heavy);
  EXPECT_EQ(cpu.s.tr.selector, tss_selector);
}

TEST_F(Tasks, Jump) {
  cpu.s.gpr[x86::RBX] = 0x12345678;
  cpu.s.dr7 = 0x755;
  ASSERT_TRUE(far_jump(cpu, free_selector, 0, 4, 0x4007));
  // The old one is saved and free.
  EXPECT_EQ(d32(tss_base + 0x20), 0x4007u);
  EXPECT_EQ(d32(tss_base + 0x24), 0x202u);
  EXPECT_EQ(d32(tss_base + 0x34), 0x12345678u);
  EXPECT_EQ(d32(tss_base + 0x38), 0x9000u);
  EXPECT_EQ(w16(tss_base + 0x4c), code0);
  EXPECT_EQ(w16(tss_base + 0x50), data0);
  EXPECT_EQ(access(tss_selector), 0x89);
  // The new one runs and is busy.
  EXPECT_EQ(access(free_selector), 0x8b);
  EXPECT_EQ(cpu.s.tr.selector, free_selector);
  EXPECT_EQ(cpu.s.tr.base, new_tss);
  EXPECT_EQ(cpu.s.tr.type(), 11);
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(cpu.s.rflags, 0x46u);
  for (unsigned i = 0; i < 8; i++) EXPECT_EQ(cpu.s.gpr[i], 0x1000 * (i + 1));
  EXPECT_TRUE(cpu.s.cr0 & cr0_ts);
  EXPECT_EQ(cpu.s.dr7, 0x600u);
  EXPECT_EQ(w16(new_tss), 0);
}

TEST_F(Tasks, CallNestsAndIretReturns) {
  ASSERT_TRUE(far_call(cpu, free_selector, 0, 4, 0x4007));
  EXPECT_EQ(w16(new_tss), tss_selector);
  EXPECT_EQ(cpu.s.rflags, 0x4046u);
  EXPECT_EQ(access(tss_selector), 0x8b);
  EXPECT_EQ(access(free_selector), 0x8b);
  Insn insn;
  insn.opsize = 4;
  insn.length = 1;
  ASSERT_TRUE(iret(cpu, insn));
  EXPECT_EQ(cpu.s.rip, 0x4007u);
  EXPECT_EQ(cpu.s.rflags, 0x202u);
  EXPECT_EQ(cpu.s.tr.selector, tss_selector);
  EXPECT_EQ(access(tss_selector), 0x8b);
  EXPECT_EQ(access(free_selector), 0x89);
  EXPECT_EQ(d32(new_tss + 0x20), 0x5001u);
  EXPECT_EQ(d32(new_tss + 0x24), 0x46u);  // NT is cleared in the saved image
}

TEST_F(Tasks, SixteenBit) {
  set_gdt(free_selector, segment_descriptor(new_tss, 0x2b, 0x81, 0));
  w16(new_tss + 0x0e) = 0x5000;
  w16(new_tss + 0x10) = 0x202;
  for (unsigned i = 0; i < 8; i++) w16(new_tss + 0x12 + i * 2) = static_cast<u16>(0x100 * i);
  for (unsigned i = 0; i < 4; i++) w16(new_tss + 0x22 + i * 2) = i == CS ? code0 : data0;
  w16(new_tss + 0x2a) = 0;
  ASSERT_TRUE(far_call(cpu, free_selector, 0, 4, 0x4007));
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x400u);
  EXPECT_TRUE(cpu.s.seg[FS].unusable);
  EXPECT_EQ(cpu.s.tr.type(), 3);
  Insn insn;
  insn.opsize = 4;
  insn.length = 2;
  ASSERT_TRUE(iret(cpu, insn));
  EXPECT_EQ(w16(new_tss + 0x0e), 0x5002);
  EXPECT_EQ(w16(new_tss + 0x24), code0);
  EXPECT_EQ(cpu.s.rip, 0x4007u);
}

TEST_F(Tasks, ChecksBeforeTheCommit) {
  EXPECT_FALSE(far_jump(cpu, tss_selector, 0, 4, 0));  // busy
  expect_fault(vec_gp, tss_selector);
  set_gdt(free_selector, segment_descriptor(new_tss, 0x66, 0x89, 0));
  EXPECT_FALSE(far_jump(cpu, free_selector, 0, 4, 0));
  expect_fault(vec_ts, free_selector);
  set_gdt(free_selector, segment_descriptor(new_tss, 0x67, 0x09, 0));
  EXPECT_FALSE(far_jump(cpu, free_selector, 0, 4, 0));
  expect_fault(vec_np, free_selector);
  EXPECT_FALSE(far_jump(cpu, free_selector | 1, 0, 4, 0));  // DPL < RPL
  expect_fault(vec_gp, free_selector);
  cpu.s.rflags |= flag_nt;
  Insn insn;
  insn.opsize = 4;
  w16(tss_base) = free_selector;  // not busy
  set_gdt(free_selector, segment_descriptor(new_tss, 0x67, 0x89, 0));
  EXPECT_FALSE(iret(cpu, insn));
  expect_fault(vec_ts, free_selector);
  EXPECT_EQ(cpu.s.tr.selector, tss_selector);
  EXPECT_EQ(cpu.s.rip, 0x4000u);
}

TEST_F(Tasks, FaultsInTheNewTask) {
  struct Case {
    unsigned which;
    u16 selector;
    u8 vector;
    u32 code;
  };
  for (const Case& c : {Case{CS, data0, vec_ts, data0}, Case{CS, 0, vec_ts, 0}, Case{CS, code3, vec_ts, code3},
                        Case{SS, code0, vec_ts, code0}, Case{SS, 0, vec_ts, 0}, Case{SS, data3 | 3, vec_ts, data3},
                        Case{DS, 0x80, vec_ts, 0x80}, Case{DS, 0x68, vec_np, 0x68}, Case{SS, 0x68, vec_ss, 0x68},
                        Case{CS, 0x70, vec_np, 0x70}}) {
    protected_mode_at(0, 32);
    set_gdt(0x68, segment_descriptor(0, 0xfffff, 0x13, 0xc));
    set_gdt(0x70, segment_descriptor(0, 0xfffff, 0x1b, 0xc));
    set_gdt(free_selector, segment_descriptor(new_tss, 0x67, 0x89, 0));
    for (unsigned i = 0; i < 6; i++) seg(i) = i == CS ? code0 : data0;
    seg(c.which) = c.selector;
    EXPECT_FALSE(far_jump(cpu, free_selector, 0, 4, 0x4007));
    expect_fault(c.vector, c.code);
    EXPECT_EQ(cpu.s.tr.selector, free_selector);
    EXPECT_EQ(cpu.s.rip, 0x5000u);
  }
}

TEST_F(Tasks, LocalTableAndCr3) {
  cpu.s.cr0 |= cr0_pg;
  cpu.s.cr4 |= cr4_pse;
  for (u32 i = 0; i < 2; i++) {
    d32(0x5000 + i * 4) = i << 22 | 0x83;
    d32(0x6000 + i * 4) = i << 22 | 0x83;
  }
  cpu.s.cr3 = 0x5000;
  tlb_flush_all(cpu);
  d32(new_tss + 0x1c) = 0x6000;
  w16(new_tss + 0x60) = 0x68;
  set_gdt(0x68, segment_descriptor(ldt_base, 0xf, 0x82, 0));
  q64(ldt_base + 8) = segment_descriptor(0x1000, 0xfffff, 0x93, 0xc);
  seg(DS) = 0xc;
  ASSERT_TRUE(far_jump(cpu, free_selector, 0, 4, 0x4007));
  EXPECT_EQ(cpu.s.cr3, 0x6000u);
  EXPECT_EQ(cpu.s.ldtr.base, ldt_base);
  EXPECT_EQ(cpu.s.seg[DS].base, 0x1000u);
}

TEST_F(Tasks, ToVirtual8086Mode) {
  d32(new_tss + 0x24) = 0x20202;
  for (unsigned i = 0; i < 6; i++) seg(i) = static_cast<u16>(0x100 + i);
  ASSERT_TRUE(far_jump(cpu, free_selector, 0, 4, 0x4007));
  EXPECT_TRUE(v86_mode(cpu));
  EXPECT_EQ(cpl(cpu), 3u);
  EXPECT_EQ(cpu.s.seg[GS].base, 0x1050u);
}

TEST_F(Tasks, TaskGates) {
  q64(gdt_base + 0x68) = u64{free_selector} << 16 | 0x8500ull << 32;
  ASSERT_TRUE(far_call(cpu, 0x68, 0, 4, 0x4007));
  EXPECT_EQ(cpu.s.tr.selector, free_selector);
  protected_mode_at(3, 32);
  set_gdt(free_selector, segment_descriptor(new_tss, 0x67, 0x89, 0));
  EXPECT_FALSE(far_call(cpu, 0x68, 0, 4, 0x4007));
  expect_fault(vec_gp, 0x68);
}

TEST_F(Tasks, ExceptionsThroughTaskGates) {
  q64(idt_base + 8 * 8) = u64{free_selector} << 16 | 0x8500ull << 32;
  raise(cpu, vec_df, 0);
  ASSERT_TRUE(deliver_fault(cpu));
  EXPECT_EQ(cpu.s.tr.selector, free_selector);
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x5000u - 4);  // the error code
  EXPECT_EQ(d32(0x4ffc), 0u);
  EXPECT_EQ(d32(tss_base + 0x20), 0x4000u);
  EXPECT_TRUE(cpu.s.rflags & flag_nt);
}

TEST_F(Tasks, TrapFlagOfTheTss) {
  w16(new_tss + 0x64) = 1;
  EXPECT_FALSE(far_jump(cpu, free_selector, 0, 4, 0x4007));
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  const Fault fault = take_fault();
  EXPECT_EQ(fault.vector, vec_db);
  EXPECT_EQ(fault.dr6_bits, 0x8000u);
}

}  // namespace
}  // namespace nagaya::engine::soft
