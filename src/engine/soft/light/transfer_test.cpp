// Far jumps, calls and returns, IRET, call gates.
#include "engine/soft/light/env_test.hpp"

namespace nagaya::engine::soft {
namespace {

using x86::CS, x86::DS, x86::ES, x86::FS, x86::GS, x86::RSP, x86::SS;

class Transfer : public Env {
 protected:
  bool do_iret(unsigned opsize) {
    Insn insn;
    insn.opsize = static_cast<u8>(opsize);
    insn.length = 1;
    return iret(cpu, insn);
  }
  void put_frame(std::initializer_list<u64> values, unsigned size) {
    u64 where = cpu.s.gpr[RSP];
    for (const u64 value : values) {
      if (size == 2)
        w16(where) = static_cast<u16>(value);
      else if (size == 4)
        d32(where) = static_cast<u32>(value);
      else
        q64(where) = value;
      where += size;
    }
  }
  void call_gate(unsigned access, u16 selector, u64 offset, unsigned params = 0) {
    set_gdt(free_selector, (offset & 0xffff) | u64{selector} << 16 | u64{params} << 32 | u64{access} << 40 |
                               (offset >> 16 & 0xffff) << 48);
    q64(gdt_base + free_selector + 8) = offset >> 32;
  }
  void tss_ring0(u16 ss, u32 esp) {
    d32(tss_base + 4) = esp;
    w16(tss_base + 8) = ss;
  }
};

TEST_F(Transfer, RealMode) {
  cpu.s.gpr[RSP] = 0x1000;
  EXPECT_TRUE(far_call(cpu, 0x1234, 0x10, 2, 0x105));
  EXPECT_EQ(cpu.s.seg[CS].base, 0x12340u);
  EXPECT_EQ(cpu.s.rip, 0x10u);
  EXPECT_EQ(d32(0xffc), 0x00000105u);
  EXPECT_TRUE(far_ret(cpu, 2, 4));
  EXPECT_EQ(cpu.s.rip, 0x105u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x1004u);
  EXPECT_FALSE(far_jump(cpu, 0, 0x10000, 4, 0));
  expect_fault(vec_gp, 0);
  EXPECT_TRUE(far_jump(cpu, 0xf000, 0x1fff0, 2, 0));
  EXPECT_EQ(cpu.s.rip, 0xfff0u);
}

TEST_F(Transfer, RealModeIret) {
  cpu.s.gpr[RSP] = 0x1000;
  cpu.s.rflags = 0x1a0002;
  put_frame({0x44, 0x2000, 0xffffffff}, 4);
  EXPECT_TRUE(do_iret(4));
  EXPECT_EQ(cpu.s.rflags, 0x3f7fd7u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x100cu);
  cpu.s.rflags = 2;
  cpu.s.gpr[RSP] = 0x1000;
  put_frame({0x44, 0x2000, 0xffff}, 2);
  EXPECT_TRUE(do_iret(2));
  EXPECT_EQ(cpu.s.rflags, 0x7fd7u);
  EXPECT_EQ(cpu.s.seg[CS].base, 0x20000u);
}

TEST_F(Transfer, DirectJumps) {
  protected_mode_at(0, 32);
  EXPECT_TRUE(far_jump(cpu, code16, 0x1234, 4, 0));
  EXPECT_EQ(cpu.s.seg[CS].selector, code16);
  EXPECT_FALSE(cpu.s.seg[CS].db());
  EXPECT_TRUE(far_jump(cpu, code0, 0x12345678, 4, 0));
  EXPECT_EQ(cpu.s.rip, 0x12345678u);
  EXPECT_FALSE(far_jump(cpu, code16, 0x10000, 4, 0));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(far_jump(cpu, 0, 0, 4, 0));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(far_jump(cpu, 0x80, 0, 4, 0));
  expect_fault(vec_gp, 0x80);
  EXPECT_FALSE(far_jump(cpu, data0, 0, 4, 0));
  expect_fault(vec_gp, data0);
  EXPECT_FALSE(far_jump(cpu, code3, 0, 4, 0));
  expect_fault(vec_gp, code3);
  EXPECT_FALSE(far_jump(cpu, code0 | 1, 0, 4, 0));  // RPL > CPL
  expect_fault(vec_gp, code0);
  set_gdt(free_selector, segment_descriptor(0, 0xfffff, 0x1a, 0xc));
  EXPECT_FALSE(far_jump(cpu, free_selector, 0, 4, 0));
  expect_fault(vec_np, free_selector);
  set_gdt(free_selector, segment_descriptor(0, 0xfffff, 0x9a, 0xc));
  EXPECT_TRUE(far_jump(cpu, free_selector, 0, 4, 0));
  EXPECT_EQ(b8(gdt_base + free_selector + 5), 0x9b);
  protected_mode_at(3, 32);
  EXPECT_TRUE(far_jump(cpu, conforming, 0x10, 4, 0));
  EXPECT_EQ(cpu.s.seg[CS].selector, conforming | 3);
  EXPECT_EQ(cpl(cpu), 3u);
}

TEST_F(Transfer, LongModeJumps) {
  protected_mode_at(0, 64);
  EXPECT_TRUE(far_jump(cpu, code64_0, 0xffff800000000000, 8, 0));
  EXPECT_EQ(cpu.s.rip, 0xffff800000000000u);
  EXPECT_FALSE(far_jump(cpu, code64_0, 0x800000000000, 8, 0));
  expect_fault(vec_gp, 0);
  set_gdt(free_selector, segment_descriptor(0, 0xfffff, 0x9b, 0xe));  // L and D
  EXPECT_FALSE(far_jump(cpu, free_selector, 0, 4, 0));
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(far_jump(cpu, tss_selector, 0, 4, 0));
  expect_fault(vec_gp, tss_selector);
  EXPECT_TRUE(far_jump(cpu, code0, 0x4000, 4, 0));
  EXPECT_FALSE(code64(cpu));
  EXPECT_TRUE(far_jump(cpu, code64_0, 0x4000, 4, 0));
  EXPECT_TRUE(code64(cpu));
}

TEST_F(Transfer, CallAndReturnSameRing) {
  protected_mode_at(0, 32);
  EXPECT_TRUE(far_call(cpu, conforming, 0x10, 4, 0x4007));
  EXPECT_EQ(cpu.s.gpr[RSP], 0x8ff8u);
  EXPECT_EQ(d32(0x8ff8), 0x4007u);
  EXPECT_EQ(d32(0x8ffc), code0);
  EXPECT_TRUE(far_ret(cpu, 4, 0x10));
  EXPECT_EQ(cpu.s.rip, 0x4007u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x9010u);
  // A stack without room changes nothing.
  cpu.s.seg[SS].limit = 0xfff;
  cpu.s.gpr[RSP] = 0x2000;
  EXPECT_FALSE(far_call(cpu, code0, 0x10, 4, 0x4007));
  expect_fault(vec_ss, 0);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x2000u);
}

TEST_F(Transfer, GateToTheSameRing) {
  protected_mode_at(0, 32);
  call_gate(0x8c, code0, 0x77777777);
  EXPECT_TRUE(far_call(cpu, free_selector, 0xdead, 4, 0x4007));
  EXPECT_EQ(cpu.s.rip, 0x77777777u);
  EXPECT_TRUE(far_jump(cpu, free_selector, 0xdead, 4, 0x4007));
  call_gate(0x84, code0, 0x77777777);
  EXPECT_TRUE(far_call(cpu, free_selector, 0xdead, 4, 0x4007));
  EXPECT_EQ(cpu.s.rip, 0x7777u);
  EXPECT_EQ(w16(cpu.s.gpr[RSP]), 0x4007);
  call_gate(0x0c, code0, 0);
  EXPECT_FALSE(far_call(cpu, free_selector, 0, 4, 0));
  expect_fault(vec_np, free_selector);
  call_gate(0x8c, 0, 0);
  EXPECT_FALSE(far_call(cpu, free_selector, 0, 4, 0));
  expect_fault(vec_gp, 0);
  call_gate(0x8c, data0, 0);
  EXPECT_FALSE(far_call(cpu, free_selector, 0, 4, 0));
  expect_fault(vec_gp, data0);
  protected_mode_at(3, 32);
  call_gate(0x8c, code0, 0);
  EXPECT_FALSE(far_call(cpu, free_selector | 3, 0, 4, 0));  // gate DPL 0
  expect_fault(vec_gp, free_selector);
  call_gate(0xec, code0, 0);
  EXPECT_FALSE(far_jump(cpu, free_selector | 3, 0, 4, 0));  // a jump goes to no inner ring
  expect_fault(vec_gp, code0);
}

TEST_F(Transfer, GateToAnInnerRingCopiesParameters) {
  protected_mode_at(3, 32);
  tss_ring0(data0, 0xa000);
  put_frame({1, 2, 3, 4}, 4);
  call_gate(0xec, code0, 0x5000, 3);
  EXPECT_TRUE(far_call(cpu, free_selector | 3, 0, 4, 0x4007));
  EXPECT_EQ(cpl(cpu), 0u);
  EXPECT_EQ(cpu.s.rip, 0x5000u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0xa000u - 28);
  const u32 expected[] = {0x4007, code3 | 3, 1, 2, 3, 0x9000, data3 | 3};
  for (unsigned i = 0; i < 7; i++) EXPECT_EQ(d32(cpu.s.gpr[RSP] + i * 4), expected[i]) << i;
  // And back, releasing them on both stacks; segments of the inner ring go.
  ASSERT_TRUE(load_segment(cpu, DS, data0));
  ASSERT_TRUE(load_segment(cpu, ES, data3 | 3));
  EXPECT_TRUE(far_ret(cpu, 4, 12));
  EXPECT_EQ(cpl(cpu), 3u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x900cu);
  EXPECT_EQ(cpu.s.rip, 0x4007u);
  EXPECT_TRUE(cpu.s.seg[DS].unusable);
  EXPECT_FALSE(cpu.s.seg[ES].unusable);
}

TEST_F(Transfer, SixteenBitGateToAnInnerRing) {
  protected_mode_at(3, 32);
  tss_ring0(data0, 0xa000);
  put_frame({0x1111, 0x2222}, 2);
  call_gate(0xe4, code0, 0x5000, 2);
  EXPECT_TRUE(far_call(cpu, free_selector | 3, 0, 4, 0x4007));
  const u16 expected[] = {0x4007, code3 | 3, 0x1111, 0x2222, 0x9000, data3 | 3};
  for (unsigned i = 0; i < 6; i++) EXPECT_EQ(w16(cpu.s.gpr[RSP] + i * 2), expected[i]) << i;
}

TEST_F(Transfer, LongModeGate) {
  protected_mode_at(3, 64);
  q64(tss_base + 4) = 0xa000;
  call_gate(0xec, code64_0, 0xffff800000001000);
  EXPECT_TRUE(far_call(cpu, free_selector | 3, 0, 4, 0x4007));
  EXPECT_EQ(cpu.s.rip, 0xffff800000001000u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0xa000u - 32);
  const u64 expected[] = {0x4007, code64_3 | 3, 0x9000, data3 | 3};
  for (unsigned i = 0; i < 4; i++) EXPECT_EQ(q64(cpu.s.gpr[RSP] + i * 8), expected[i]) << i;
  EXPECT_TRUE(cpu.s.seg[SS].unusable);
  EXPECT_EQ(cpl(cpu), 0u);
  EXPECT_TRUE(far_ret(cpu, 8, 0));
  EXPECT_EQ(cpl(cpu), 3u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x9000u);
  call_gate(0xec, code0, 0x1000);  // not a 64-bit segment
  EXPECT_FALSE(far_call(cpu, free_selector | 3, 0, 4, 0x4007));
  expect_fault(vec_gp, code0);
  call_gate(0xe4, code64_0, 0x1000);  // no such type
  EXPECT_FALSE(far_call(cpu, free_selector | 3, 0, 4, 0x4007));
  expect_fault(vec_gp, free_selector);
}

TEST_F(Transfer, ReturnChecks) {
  protected_mode_at(3, 32);
  const auto fails = [&](u64 cs, u8 vector, u32 code) {
    put_frame({0x4000, cs, 0, data3 | 3}, 4);
    EXPECT_FALSE(far_ret(cpu, 4, 0));
    expect_fault(vector, code);
    EXPECT_EQ(cpu.s.gpr[RSP], 0x9000u);
  };
  fails(3, vec_gp, 0);
  fails(0x83, vec_gp, 0x80);
  fails(data3 | 3, vec_gp, data3);
  fails(code0, vec_gp, code0);      // RPL < CPL
  fails(code0 | 3, vec_gp, code0);  // DPL != RPL
  set_gdt(free_selector, segment_descriptor(0, 0xfffff, 0x7b, 0xc));
  fails(free_selector | 3, vec_np, free_selector);
  protected_mode_at(0, 32);
  const auto stack_fails = [&](u64 ss, u8 vector, u32 code) {
    put_frame({0x4000, code3 | 3, 0x7000, ss}, 4);
    EXPECT_FALSE(far_ret(cpu, 4, 0));
    expect_fault(vector, code);
  };
  stack_fails(0, vec_gp, 0);
  stack_fails(data3, vec_gp, data3);
  stack_fails(data0 | 3, vec_gp, data0);
  stack_fails(code3 | 3, vec_gp, code3);
  set_gdt(free_selector, segment_descriptor(0, 0xfffff, 0x73, 0xc));
  stack_fails(free_selector | 3, vec_ss, free_selector);
}

TEST_F(Transfer, IretSameRing) {
  protected_mode_at(0, 32);
  put_frame({0x4444, code0, 0x3f7fd7 & ~0x20000}, 4);
  cpu.s.events.nmi_blocked = true;
  EXPECT_TRUE(do_iret(4));
  EXPECT_EQ(cpu.s.rip, 0x4444u);
  EXPECT_EQ(cpu.s.rflags, 0x3d7fd7u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x900cu);
  EXPECT_FALSE(cpu.s.events.nmi_blocked);
}

TEST_F(Transfer, IretFlagsInRing3) {
  protected_mode_at(3, 32);
  cpu.s.rflags = 0x202;
  put_frame({0x4444, code3 | 3, 0x3f7dd7}, 4);
  EXPECT_TRUE(do_iret(4));  // VM is ignored in ring 3; IF, IOPL, VIF, VIP stay
  EXPECT_EQ(cpu.s.rflags, 0x254fd7u);
}

TEST_F(Transfer, IretToOuterRing) {
  protected_mode_at(0, 32);
  put_frame({0x4444, code3 | 3, 0x202, 0x7000, data3 | 3}, 4);
  EXPECT_TRUE(do_iret(4));
  EXPECT_EQ(cpl(cpu), 3u);
  EXPECT_EQ(cpu.s.gpr[RSP], 0x7000u);
  for (const u8 i : {ES, DS, FS, GS}) EXPECT_TRUE(cpu.s.seg[i].unusable);
  EXPECT_EQ(cpu.s.rflags, 0x202u);
}

TEST_F(Transfer, IretToASixteenBitStackKeepsTheUpperHalf) {
  protected_mode_at(0, 32);
  set_gdt(free_selector, segment_descriptor(0, 0xffff, 0xf3, 0));
  cpu.s.gpr[RSP] = 0x00029000;
  put_frame({0x4444, code3 | 3, 0x202, 0x12347000, free_selector | 3}, 4);
  EXPECT_TRUE(do_iret(4));
  EXPECT_EQ(cpu.s.gpr[RSP], 0x00027000u);
}

TEST_F(Transfer, Iret64) {
  protected_mode_at(0, 64);
  put_frame({0x4444, code64_0, 0x202, 0x7008, 0}, 8);  // SS:RSP always; null is good
  EXPECT_TRUE(do_iret(8));
  EXPECT_EQ(cpu.s.gpr[RSP], 0x7008u);
  EXPECT_TRUE(cpu.s.seg[SS].unusable);
  EXPECT_EQ(cpl(cpu), 0u);
  cpu.s.seg[GS].base = 0xffff888000000000;
  cpu.s.seg[GS].unusable = true;
  put_frame({0x4444, code64_3 | 3, 0x3202, 0x7000, data3 | 3}, 8);
  EXPECT_TRUE(do_iret(8));
  EXPECT_EQ(cpl(cpu), 3u);
  EXPECT_EQ(cpu.s.rflags, 0x3202u);
  EXPECT_EQ(cpu.s.seg[GS].base, 0xffff888000000000u);
  protected_mode_at(0, 64);
  put_frame({0x4444, code64_3 | 3, 0x202, 0x7000, 3}, 8);  // null for ring 3
  EXPECT_FALSE(do_iret(8));
  expect_fault(vec_gp, 0);
  put_frame({0x800000000000, code64_0, 0x202, 0x7000, data0}, 8);
  EXPECT_FALSE(do_iret(8));
  expect_fault(vec_gp, 0);
  put_frame({0x4444, code64_0, 0x202, 0x7000, data3 | 3}, 8);  // wrong ring for SS
  EXPECT_FALSE(do_iret(8));
  expect_fault(vec_gp, data3);
  cpu.s.rflags |= flag_nt;
  EXPECT_FALSE(do_iret(8));
  expect_fault(vec_gp, 0);
  cpu.s.rflags &= ~flag_nt;
  // To compatibility mode, with 4-byte slots.
  put_frame({0x4444, code3 | 3, 0x202, 0xfffff000, data3 | 3}, 4);
  EXPECT_TRUE(do_iret(4));
  EXPECT_FALSE(code64(cpu));
  EXPECT_EQ(cpu.s.gpr[RSP], 0xfffff000u);
}

TEST_F(Transfer, V86Iret) {
  protected_mode_at(0, 32);
  cpu.s.rflags = 0x23002;
  for (u8 i = 0; i < 6; i++) set_paragraph(cpu, i, 0x100);
  cpu.s.gpr[RSP] = 0x800;
  w16(0x1800) = 0x55;
  w16(0x1802) = 0x200;
  w16(0x1804) = 0x0202;
  EXPECT_TRUE(do_iret(2));
  EXPECT_EQ(cpu.s.rip, 0x55u);
  EXPECT_EQ(cpu.s.seg[CS].base, 0x2000u);
  EXPECT_EQ(cpu.s.rflags, 0x23202u);  // IOPL and VM stay
  cpu.s.rflags = 0x22202;
  EXPECT_FALSE(do_iret(2));
  expect_fault(vec_gp, 0);
}

}  // namespace
}  // namespace nagaya::engine::soft
