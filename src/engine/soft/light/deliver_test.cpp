// Exceptions and interrupts in each mode: frames, privilege changes, error codes, double and triple faults.
#include "engine/soft/light/env_test.hpp"

namespace nagaya::engine::soft {
namespace {

using x86::CS, x86::DS, x86::ES, x86::FS, x86::GS, x86::SS, x86::RSP;

class Deliver : public Env {
 protected:
  // Delivers an exception with the usual members set.
  bool exception(u8 vector) {
    raise(cpu, vector);
    return deliver_fault(cpu);
  }
  bool exception(u8 vector, u32 code) {
    raise(cpu, vector, code);
    return deliver_fault(cpu);
  }
  bool software(u8 vector, u64 next, SoftInt how = SoftInt::int_n) {
    raise_software(cpu, vector, next, how);
    return deliver_fault(cpu);
  }
  void tss_ring0(u16 ss, u32 esp) {
    d32(tss_base + 4) = esp;
    w16(tss_base + 8) = ss;
  }
  // The values on the stack from rSP up.
  std::vector<u64> frame(unsigned count, unsigned size, u64 base = 0) {
    std::vector<u64> out;
    for (unsigned i = 0; i < count; i++) {
      const u64 where = base + cpu.s.gpr[RSP] + i * size;
      out.push_back(size == 2 ? u64{w16(where)} : size == 4 ? u64{d32(where)} : u64{q64(where)});
    }
    return out;
  }
  using V = std::vector<u64>;
};

// ---- real mode

TEST_F(Deliver, RealMode) {
  cpu.s.rip = 0x123;
  cpu.s.seg[CS].selector = 0x40;
  cpu.s.gpr[RSP] = 0xffff1000;
  cpu.s.rflags = 0x40302;
  d32(13 * 4) = 0x20005678;
  EXPECT_TRUE(exception(vec_gp, 0));
  EXPECT_EQ(cpu.s.gpr[RSP], 0xffff0ffau);
  EXPECT_EQ(w16(0xffa), 0x123);
  EXPECT_EQ(w16(0xffc), 0x40);
  EXPECT_EQ(w16(0xffe), 0x302);
  EXPECT_EQ(cpu.s.rip, 0x5678u);
  EXPECT_EQ(cpu.s.seg[CS].selector, 0x2000);
  EXPECT_EQ(cpu.s.seg[CS].base, 0x20000u);
  EXPECT_EQ(cpu.s.rflags, 2u);  // IF, TF, AC cleared
  EXPECT_FALSE(cpu.fault.pending);
}

TEST_F(Deliver, RealModeSoftwareAndWrap) {
  d32(0x21 * 4) = 0x00000100;
  cpu.s.rip = 0x10;
  cpu.s.gpr[RSP] = 2;  // the frame wraps in the segment
  EXPECT_TRUE(software(0x21, 0x12));
  EXPECT_EQ(cpu.s.gpr[RSP], 0xfffcu);
  EXPECT_EQ(w16(0xfffc), 0x12);
  EXPECT_EQ(w16(0), 2);
}

TEST_F(Deliver, RealModeShutdown) {
  cpu.s.idtr.limit = 3;
  EXPECT_FALSE(exception(vec_ud));
  EXPECT_EQ(cpu.s.run_state, x86::RunState::shutdown);
  EXPECT_EQ(cpu.leave, Leave::shutdown);
}

// ---- 32-bit protected mode

class Deliver32 : public Deliver {
 protected:
  Deliver32() {
    protected_mode_at(0, 32);
    set_gate(13, 0x8e, code0, 0x5000);
    set_gate(14, 0x8e, code0, 0x6000);
    set_gate(8, 0x8e, code0, 0x8000);
    set_gate(11, 0x8e, code0, 0xb000);
    set_gate(10, 0x8e, code0, 0xa000);
    set_gate(12, 0x8e, code0, 0xc000);
    set_gate(6, 0x8f, code0, 0x7000);
    set_gate(0x80, 0xee, code0, 0x80000);
    tss_ring0(data0, 0xa000);
    cpu.s.rflags = 0x202;
  }
};

TEST_F(Deliver32, SameRingWithErrorCode) {
  EXPECT_TRUE(exception(vec_gp, 0x1234));
  EXPECT_EQ(frame(4, 4), (V{0x1234, 0x4000, code0, 0x10202}));  // RF is set for faults
  EXPECT_EQ(cpu.s.gpr[RSP], 0x9000u - 16);
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(cpu.s.rflags, 2u);
}

TEST_F(Deliver32, TrapGateKeepsIf) {
  cpu.s.rflags = 0x302;
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(frame(3, 4), (V{0x4000, code0, 0x10302}));
  EXPECT_EQ(cpu.s.rflags, 0x202u);
}

TEST_F(Deliver32, SixteenBitGate) {
  set_gate(6, 0x86, code0, 0x7777);
  q64(idt_base + 6 * 8) |= 0xffffull << 48;  // ignored
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(frame(3, 2), (V{0x4000, code0, 0x202}));
  EXPECT_EQ(cpu.s.rip, 0x7777u);
}

TEST_F(Deliver32, InnerRing) {
  protected_mode_at(3, 32);
  cpu.s.rflags = 0x202;
  EXPECT_TRUE(exception(vec_gp, 8));
  EXPECT_EQ(frame(6, 4), (V{8, 0x4000, code3 | 3, 0x10202, 0x9000, data3 | 3}));
  EXPECT_EQ(cpu.s.gpr[RSP], 0xa000u - 24);
  EXPECT_EQ(cpu.s.seg[SS].selector, data0);
  EXPECT_EQ(cpu.s.seg[CS].selector, code0);
  EXPECT_EQ(cpl(cpu), 0u);
}

TEST_F(Deliver32, InnerRingOn16BitTss) {
  protected_mode_at(3, 32);
  cpu.s.tr.attr = 0x83;
  w16(tss_base + 2) = 0xb000;
  w16(tss_base + 4) = data0;
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpu.s.gpr[RSP], 0xb000u - 20);
}

TEST_F(Deliver32, InnerRingStackErrors) {
  const auto expect_ts = [&](u8 vector, u32 code, u32 rip) {
    protected_mode_at(3, 32);
    EXPECT_TRUE(exception(vec_ud));
    EXPECT_EQ(cpu.s.rip, rip) << unsigned{vector};
    EXPECT_EQ(d32(cpu.s.gpr[RSP]), code);
  };
  // The handlers of #TS and #SS run in ring 3, on a good stack.
  set_gate(10, 0xee, code3, 0xa000);
  set_gate(12, 0xee, code3, 0xc000);
  tss_ring0(0, 0xa000);
  expect_ts(10, 1, 0xa000);
  tss_ring0(0x80, 0xa000);
  expect_ts(10, 0x81, 0xa000);
  tss_ring0(data0 | 1, 0xa000);
  expect_ts(10, data0 | 1, 0xa000);
  tss_ring0(data3, 0xa000);
  expect_ts(10, data3 | 1, 0xa000);
  tss_ring0(code0, 0xa000);
  expect_ts(10, code0 | 1, 0xa000);
  set_gdt(free_selector, segment_descriptor(0, 0xfffff, 0x13, 0xc));
  tss_ring0(free_selector, 0xa000);
  expect_ts(12, free_selector | 1, 0xc000);
  set_gdt(free_selector, segment_descriptor(0, 0x10, 0x93, 0x4));  // too small for the frame
  tss_ring0(free_selector, 0x13);
  expect_ts(12, free_selector | 1, 0xc000);
  cpu.s.tr.limit = 5;
  protected_mode_at(3, 32);
  cpu.s.tr.limit = 8;
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpu.s.rip, 0xa000u);
  EXPECT_EQ(d32(cpu.s.gpr[RSP]), u32{tss_selector} | 1);
}

TEST_F(Deliver32, ConformingHandlerKeepsTheRing) {
  protected_mode_at(3, 32);
  set_gate(6, 0x8e, conforming, 0x7000);
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpl(cpu), 3u);
  EXPECT_EQ(cpu.s.seg[CS].selector, conforming | 3);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x9000u - 12);
}

TEST_F(Deliver32, SoftwareInterrupts) {
  protected_mode_at(3, 32);
  EXPECT_TRUE(software(0x80, 0x4002));
  EXPECT_EQ(frame(5, 4), (V{0x4002, code3 | 3, 0x202, 0x9000, data3 | 3}));
  EXPECT_EQ(cpu.s.rip, 0x80000u);
  // Gate DPL: #GP with the IDT bit and without EXT, at the instruction itself.
  protected_mode_at(3, 32);
  EXPECT_TRUE(software(13, 0x4002));
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(frame(2, 4), (V{13 * 8 + 2, 0x4000}));
  // ICEBP is not checked.
  set_gate(1, 0x8e, code0, 0x1111);
  protected_mode_at(3, 32);
  cpu.s.dr7 = 0x2400;
  EXPECT_TRUE(software(1, 0x4001, SoftInt::icebp));
  EXPECT_EQ(cpu.s.rip, 0x1111u);
  EXPECT_EQ(frame(1, 4), (V{0x4001}));
  EXPECT_EQ(cpu.s.dr7, 0x2400u);
}

TEST_F(Deliver32, GateErrors) {
  struct Case {
    unsigned access;
    u16 selector;
    u32 rip, code;
  };
  for (const Case& c : {Case{0x0e, code0, 0xb000, 6 * 8 + 3},  // gate not present
                        Case{0x8c, code0, 0x5000, 6 * 8 + 3},  // no interrupt gate
                        Case{0x8e, 0, 0x5000, 1},              // null CS
                        Case{0x8e, 0x80, 0x5000, 0x81},        // beyond the GDT
                        Case{0x8e, data0, 0x5000, data0 | 1},  // not code
                        Case{0x8e, code3, 0x5000, code3 | 1},  // outer ring
                        Case{0x8e, free_selector, 0xb000, free_selector | 1}}) {
    protected_mode_at(0, 32);
    set_gdt(free_selector, segment_descriptor(0, 0xfffff, 0x1b, 0xc));
    set_gate(6, c.access, c.selector, 0x7000);
    EXPECT_TRUE(exception(vec_ud));
    EXPECT_EQ(cpu.s.rip, c.rip);
    EXPECT_EQ(frame(2, 4), (V{c.code, 0x4000}));
  }
  protected_mode_at(0, 32);
  cpu.s.idtr.limit = 0x20 * 8 - 1;
  EXPECT_TRUE(software(0x20, 0x4002));
  EXPECT_EQ(frame(2, 4), (V{0x20 * 8 + 2, 0x4000}));
  EXPECT_TRUE(deliver_interrupt(cpu, 0x21, false));
  EXPECT_EQ(frame(1, 4), (V{0x21 * 8 + 3}));
}

TEST_F(Deliver32, DoubleFaults) {
  // Contributory on contributory.
  set_gate(13, 0x0e, code0, 0);
  EXPECT_TRUE(exception(vec_gp, 0));
  EXPECT_EQ(cpu.s.rip, 0x8000u);
  EXPECT_EQ(frame(4, 4), (V{0, 0x4000, code0, 0x202}));
  // Benign first: the second one only.
  protected_mode_at(0, 32);
  set_gate(6, 0x0e, code0, 0);
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpu.s.rip, 0xb000u);
  // Page fault, then contributory.
  protected_mode_at(0, 32);
  set_gate(14, 0x0e, code0, 0);
  EXPECT_TRUE(exception(vec_pf, 2));
  EXPECT_EQ(cpu.s.rip, 0x8000u);
  // A software interrupt with a contributory vector is benign.
  protected_mode_at(0, 32);
  EXPECT_TRUE(software(13, 0x4002));
  EXPECT_EQ(cpu.s.rip, 0xb000u);
  // And a third.
  protected_mode_at(0, 32);
  set_gate(8, 0x0e, code0, 0);
  EXPECT_FALSE(exception(vec_gp, 0));
  EXPECT_EQ(cpu.s.run_state, x86::RunState::shutdown);
}

TEST_F(Deliver32, DebugException) {
  set_gate(1, 0x8e, code0, 0x1000);
  cpu.s.dr6 = 0xffff0ff3;
  cpu.s.dr7 = 0x2401;
  cpu.s.msr.debugctl = 3;
  cpu.s.rflags = 0x102;
  raise_debug(cpu, 1 << 14);
  EXPECT_TRUE(deliver_fault(cpu));
  EXPECT_EQ(cpu.s.dr6, 0xffff4ff0u);
  EXPECT_EQ(cpu.s.dr7, 0x401u);
  EXPECT_EQ(cpu.s.msr.debugctl, 0u);
  EXPECT_EQ(frame(3, 4), (V{0x4000, code0, 0x102}));  // RF as it was
  EXPECT_EQ(cpu.s.rflags, 2u);
}

TEST_F(Deliver32, NmiBlocksNmis) {
  set_gate(2, 0x8e, code0, 0x2000);
  cpu.s.events.interrupt_shadow = true;
  cpu.s.run_state = x86::RunState::halted;
  EXPECT_TRUE(deliver_interrupt(cpu, 77, true));
  EXPECT_EQ(cpu.s.rip, 0x2000u);
  EXPECT_TRUE(cpu.s.events.nmi_blocked);
  EXPECT_FALSE(cpu.s.events.interrupt_shadow);
  EXPECT_EQ(cpu.s.run_state, x86::RunState::running);
  EXPECT_EQ(frame(3, 4), (V{0x4000, code0, 0x202}));
}

TEST_F(Deliver32, NeedHeavyChangesNothing) {
  cpu.s.gpr[RSP] = 0xe0000010;  // MMIO
  raise(cpu, vec_gp, 5);
  EXPECT_FALSE(deliver_fault(cpu));
  EXPECT_TRUE(cpu.need_heavy);
  EXPECT_TRUE(cpu.fault.pending);
  EXPECT_EQ(cpu.fault.vector, vec_gp);
  EXPECT_EQ(cpu.fault.code, 5u);
  EXPECT_EQ(cpu.s.rip, 0x4000u);
  cpu.heavy = true;
  EXPECT_TRUE(deliver_fault(cpu));
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(mmio_log.size(), 4u);
}

// ---- virtual-8086 mode

class DeliverV86 : public Deliver32 {
 protected:
  DeliverV86() {
    cpu.s.rflags = 0x23202;  // VM, IOPL 3
    for (u8 i = 0; i < 6; i++) set_paragraph(cpu, i, static_cast<u16>(0x1000 + i));
    cpu.s.gpr[RSP] = 0x800;
    cpu.s.rip = 0x44;
    mode_changed(cpu);
  }
};

TEST_F(DeliverV86, ToRing0) {
  EXPECT_EQ(cpl(cpu), 3u);
  EXPECT_TRUE(exception(vec_gp, 0));
  EXPECT_EQ(frame(10, 4), (V{0, 0x44, 0x1001, 0x33202, 0x800, 0x1002, 0x1000, 0x1003, 0x1004, 0x1005}));
  EXPECT_EQ(cpu.s.rflags, 0x3002u);
  EXPECT_EQ(cpl(cpu), 0u);
  for (const u8 i : {ES, DS, FS, GS}) {
    EXPECT_TRUE(cpu.s.seg[i].unusable);
    EXPECT_EQ(cpu.s.seg[i].selector, 0);
  }
}

TEST_F(DeliverV86, IretGoesBack) {
  EXPECT_TRUE(exception(vec_ud));
  Insn insn;
  insn.opsize = 4;
  ASSERT_TRUE(iret(cpu, insn));
  EXPECT_EQ(cpu.s.rflags, 0x33202u);
  EXPECT_EQ(cpu.s.rip, 0x44u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x800u);
  for (u8 i = 0; i < 6; i++) {
    EXPECT_EQ(cpu.s.seg[i].selector, 0x1000 + i);
    EXPECT_EQ(cpu.s.seg[i].base, 0x10000u + i * 16u);
    EXPECT_EQ(cpu.s.seg[i].dpl(), 3);
  }
}

TEST_F(DeliverV86, IntNeedsIopl3) {
  EXPECT_TRUE(software(0x80, 0x46));
  EXPECT_EQ(cpu.s.rip, 0x80000u);
  EXPECT_EQ(frame(1, 4), (V{0x46}));
}

TEST_F(DeliverV86, IntWithLessIopl) {
  cpu.s.rflags = 0x22202;
  EXPECT_TRUE(software(0x80, 0x46));
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(frame(2, 4), (V{0, 0x44}));
}

TEST_F(DeliverV86, Int3IsNotSensitive) {
  cpu.s.rflags = 0x20202;
  set_gate(3, 0xee, code0, 0x3000);
  EXPECT_TRUE(software(3, 0x45, SoftInt::int3_into));
  EXPECT_EQ(cpu.s.rip, 0x3000u);
}

TEST_F(DeliverV86, HandlerMustBeRing0) {
  set_gate(6, 0x8e, conforming, 0x7000);
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(frame(1, 4), (V{conforming | 1}));
}

// ---- 64-bit mode

class Deliver64 : public Deliver {
 protected:
  Deliver64() {
    protected_mode_at(0, 64);
    set_gate64(13, 0x8e, code64_0, 0x100005000);
    set_gate64(14, 0x8e, code64_0, 0x6000);
    set_gate64(8, 0x8e, code64_0, 0x8000, 1);
    set_gate64(10, 0x8e, code64_0, 0xa000);
    set_gate64(11, 0x8e, code64_0, 0xb000);
    set_gate64(12, 0x8e, code64_0, 0xc000);
    set_gate64(6, 0x8f, code64_0, 0x7000);
    set_gate64(0x80, 0xee, code64_0, 0x80000);
    q64(tss_base + 4) = 0xa008;   // RSP0, misaligned on purpose
    q64(tss_base + 36) = 0xd000;  // IST1
    cpu.s.rflags = 0x202;
  }
};

TEST_F(Deliver64, SameRing) {
  cpu.s.gpr[RSP] = 0x9008;
  EXPECT_TRUE(exception(vec_gp, 7));
  EXPECT_EQ(cpu.s.gpr[RSP], 0x9000u - 48);
  EXPECT_EQ(frame(6, 8), (V{7, 0x4000, code64_0, 0x10202, 0x9008, data0}));
  EXPECT_EQ(cpu.s.rip, 0x100005000u);
  EXPECT_EQ(cpu.s.seg[SS].selector, data0);
  EXPECT_EQ(cpu.s.rflags, 2u);
}

TEST_F(Deliver64, InnerRingMakesSsNull) {
  protected_mode_at(3, 64);
  EXPECT_TRUE(software(0x80, 0x4002));
  EXPECT_EQ(cpu.s.gpr[RSP], 0xa000u - 40);
  EXPECT_EQ(frame(5, 8), (V{0x4002, code64_3 | 3, 0x202, 0x9000, data3 | 3}));
  EXPECT_EQ(cpu.s.seg[SS].selector, 0);
  EXPECT_TRUE(cpu.s.seg[SS].unusable);
  EXPECT_EQ(cpl(cpu), 0u);
}

TEST_F(Deliver64, FromCompatibilityMode) {
  protected_mode_at(3, 64);
  Descriptor d;
  d.low = q64(gdt_base + code3);
  set_segment(cpu.s.seg[CS], code3 | 3, d);
  mode_changed(cpu);
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(frame(3, 8), (V{0x4000, code3 | 3, 0x10202}));
  EXPECT_TRUE(code64(cpu));
}

TEST_F(Deliver64, Ist) {
  set_gate64(6, 0x8e, code64_0, 0x7000, 1);
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpu.s.gpr[RSP], 0xd000u - 40);
  EXPECT_EQ(frame(5, 8), (V{0x4000, code64_0, 0x10202, 0x9000, data0}));
  EXPECT_EQ(cpu.s.seg[SS].selector, data0);
}

TEST_F(Deliver64, GateErrors) {
  struct Case {
    unsigned access;
    u16 selector;
    u64 offset;
    u64 rip, code;
  };
  for (const Case& c : {Case{0x0e, code64_0, 0, 0xb000, 6 * 8 + 3}, Case{0x85, code64_0, 0, 0x100005000, 6 * 8 + 3},
                        Case{0x86, code64_0, 0, 0x100005000, 6 * 8 + 3}, Case{0x8e, 0, 0, 0x100005000, 1},
                        Case{0x8e, code0, 0, 0x100005000, code0 | 1}, Case{0x8e, data0, 0, 0x100005000, data0 | 1},
                        Case{0x8e, code64_0, 0x800000000000, 0x100005000, 1}}) {
    protected_mode_at(0, 64);
    set_gate64(6, c.access, c.selector, c.offset);
    EXPECT_TRUE(exception(vec_ud));
    EXPECT_EQ(cpu.s.rip, c.rip);
    EXPECT_EQ(frame(2, 8), (V{c.code, 0x4000}));
  }
  protected_mode_at(0, 64);
  cpu.s.idtr.limit = 0x20 * 16 - 1;
  EXPECT_TRUE(software(0x20, 0x4002));
  EXPECT_EQ(frame(2, 8), (V{0x20 * 8 + 2, 0x4000}));
  protected_mode_at(3, 64);
  EXPECT_TRUE(software(14, 0x4002));
  EXPECT_EQ(frame(2, 8), (V{14 * 8 + 2, 0x4000}));
}

TEST_F(Deliver64, BadStacks) {
  // Not canonical: #SS, whose delivery meets the same stack: #DF on its IST.
  cpu.s.gpr[RSP] = 0x800000000100;
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpu.s.rip, 0x8000u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0xd000u - 48);
  EXPECT_EQ(frame(2, 8), (V{0, 0x4000}));
  // Not mapped: #PF on #PF.
  protected_mode_at(0, 64);
  cpu.s.gpr[RSP] = 0x1000000;
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpu.s.rip, 0x8000u);
  EXPECT_EQ(cpu.s.cr2, 0x1000000u - 48);
  // TSS too small for the IST.
  protected_mode_at(0, 64);
  cpu.s.tr.limit = 36 + 6;
  set_gate64(6, 0x8e, code64_0, 0x7000, 1);
  EXPECT_TRUE(exception(vec_ud));
  EXPECT_EQ(cpu.s.rip, 0xa000u);
  EXPECT_EQ(frame(1, 8), (V{tss_selector | 1}));
}

TEST_F(Deliver64, SmapOnTheHandlersStack) {
  protected_mode_at(3, 64);
  cpu.s.cr4 |= cr4_smap;    // every page here is a user page
  cpu.s.rflags |= flag_ac;  // AC of ring 3 does not help
  EXPECT_FALSE(exception(vec_ud));
  EXPECT_EQ(cpu.s.run_state, x86::RunState::shutdown);
}

TEST_F(Deliver64, TripleFault) {
  cpu.s.idtr.limit = 0;
  EXPECT_FALSE(exception(vec_pf, 0));
  EXPECT_EQ(cpu.s.run_state, x86::RunState::shutdown);
}

}  // namespace
}  // namespace nagaya::engine::soft
