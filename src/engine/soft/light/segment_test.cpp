// Segment limits and loads: every check and its exception.
#include "engine/soft/light/env_test.hpp"

namespace nagaya::engine::soft {
namespace {

using x86::CS, x86::DS, x86::ES, x86::FS, x86::GS, x86::SS;

class Segments : public Env {
 protected:
  u64 linear = 0;
  bool addr(u8 seg, u64 offset, unsigned size, Access access = Access::read) {
    return linear_address(cpu, seg, offset, size, access, linear);
  }
  // Loads a descriptor with these access bits through the free slot.
  bool load(u8 seg, unsigned access, unsigned rpl = 0, u32 limit = 0xfffff, u32 base = 0x1234000) {
    set_gdt(free_selector, segment_descriptor(base, limit, access, 0xc));
    return load_segment(cpu, seg, static_cast<u16>(free_selector | rpl));
  }
};

TEST_F(Segments, RealModeParagraphs) {
  EXPECT_TRUE(load_segment(cpu, DS, 0x1234));
  EXPECT_EQ(cpu.s.seg[DS].base, 0x12340u);
  EXPECT_EQ(cpu.s.seg[DS].limit, 0xffffu);
  EXPECT_TRUE(addr(DS, 0xfffe, 2, Access::write));
  EXPECT_EQ(linear, 0x12340u + 0xfffe);
  EXPECT_FALSE(addr(DS, 0xffff, 2));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(addr(SS, 0xffff, 2));
  expect_fault(vec_ss, 0);
  // "Unreal" limits survive.
  cpu.s.seg[DS].limit = 0xffffffff;
  EXPECT_TRUE(load_segment(cpu, DS, 0));
  EXPECT_TRUE(addr(DS, 0x12345678, 4));
}

TEST_F(Segments, LimitsAndTypes) {
  protected_mode_at(0, 32);
  ASSERT_TRUE(load(DS, 0x93, 0, 0));  // page-granular limit 0: 4 KiB
  EXPECT_TRUE(addr(DS, 0xffc, 4));
  EXPECT_EQ(linear, 0x1234ffcu);
  EXPECT_FALSE(addr(DS, 0xffd, 4));
  expect_fault(vec_gp, 0);
  ASSERT_TRUE(load(DS, 0x91));  // read-only
  EXPECT_TRUE(addr(DS, 0, 4));
  EXPECT_FALSE(addr(DS, 0, 4, Access::write));
  expect_fault(vec_gp, 0);
  ASSERT_TRUE(load(DS, 0x9b));  // readable code
  EXPECT_TRUE(addr(DS, 0, 4));
  EXPECT_FALSE(addr(DS, 0, 4, Access::write));
  expect_fault(vec_gp, 0);
  // Expand-down: valid above the limit.
  ASSERT_TRUE(load(DS, 0x97, 0, 1));
  EXPECT_FALSE(addr(DS, 0x1fff, 1));
  expect_fault(vec_gp, 0);
  EXPECT_TRUE(addr(DS, 0x2000, 4));
  EXPECT_TRUE(addr(DS, 0xfffffffc, 4));
  EXPECT_FALSE(addr(DS, 0xfffffffd, 4));
  expect_fault(vec_gp, 0);
  set_gdt(free_selector, segment_descriptor(0, 0xfff, 0x97, 0));  // 16-bit
  ASSERT_TRUE(load_segment(cpu, DS, free_selector));
  EXPECT_TRUE(addr(DS, 0xfffe, 2));
  EXPECT_FALSE(addr(DS, 0xffff, 2));
  expect_fault(vec_gp, 0);
  // Null.
  ASSERT_TRUE(load_segment(cpu, ES, 3));
  EXPECT_EQ(cpu.s.seg[ES].selector, 3);
  EXPECT_FALSE(addr(ES, 0, 1));
  expect_fault(vec_gp, 0);
  // Code is not writable through CS, and wraps at 4 GiB when flat.
  EXPECT_FALSE(addr(CS, 0, 1, Access::write));
  expect_fault(vec_gp, 0);
  EXPECT_TRUE(addr(SS, 0xffffffff, 4));
}

TEST_F(Segments, DataSegmentChecks) {
  protected_mode_at(0, 32);
  EXPECT_FALSE(load(DS, 0x99));  // execute-only
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(load(DS, 0x89));  // system
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(load(DS, 0x13));  // not present
  expect_fault(vec_np, free_selector);
  EXPECT_FALSE(load(DS, 0x93, 1));  // RPL 1 > DPL 0
  expect_fault(vec_gp, free_selector);
  EXPECT_TRUE(load(DS, 0x9f, 3));  // conforming code: no privilege check
  EXPECT_FALSE(load_segment(cpu, DS, 0x80));
  expect_fault(vec_gp, 0x80);
  EXPECT_FALSE(load_segment(cpu, DS, 0x0c));  // no LDT
  expect_fault(vec_gp, 0x0c);
  protected_mode_at(3, 32);
  EXPECT_FALSE(load(DS, 0x93, 3));
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(load(DS, 0xd3, 0));  // DPL 2
  expect_fault(vec_gp, free_selector);
  EXPECT_TRUE(load(DS, 0xf3, 3));
}

TEST_F(Segments, StackSegmentChecks) {
  protected_mode_at(0, 32);
  EXPECT_FALSE(load_segment(cpu, SS, 0));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(load(SS, 0x91));
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(load(SS, 0x9b));
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(load(SS, 0x93, 1));
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(load(SS, 0xf3));
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(load(SS, 0x13));
  expect_fault(vec_ss, free_selector);
  EXPECT_TRUE(load(SS, 0x93));
}

TEST_F(Segments, AccessedBitIsSetInMemory) {
  protected_mode_at(0, 32);
  EXPECT_TRUE(load(DS, 0x92));
  EXPECT_EQ(b8(gdt_base + free_selector + 5), 0x93);
  EXPECT_EQ(cpu.s.seg[DS].attr & 0xff, 0x93);
  // Not by a load that fails.
  EXPECT_FALSE(load(SS, 0x92, 1));
  EXPECT_EQ(b8(gdt_base + free_selector + 5), 0x92);
}

TEST_F(Segments, LocalTable) {
  protected_mode_at(0, 32);
  set_gdt(free_selector, segment_descriptor(ldt_base, 0x0f, 0x82, 0));
  ASSERT_TRUE(load_ldtr(cpu, free_selector));
  q64(ldt_base + 8) = segment_descriptor(0x777000, 0xff, 0x93, 0x4);
  ASSERT_TRUE(load_segment(cpu, FS, 0x0c));
  EXPECT_EQ(cpu.s.seg[FS].base, 0x777000u);
  EXPECT_FALSE(load_segment(cpu, FS, 0x14));
  expect_fault(vec_gp, 0x14);
  ASSERT_TRUE(load_ldtr(cpu, 0));
  EXPECT_FALSE(load_segment(cpu, FS, 0x0c));
  expect_fault(vec_gp, 0x0c);
  EXPECT_FALSE(load_ldtr(cpu, data0));
  expect_fault(vec_gp, data0);
}

TEST_F(Segments, LongModeIsFlat) {
  protected_mode_at(0, 64);
  EXPECT_TRUE(load(DS, 0x91, 0, 0));
  EXPECT_TRUE(addr(DS, 0x7fffffffffff, 1, Access::write));
  EXPECT_EQ(linear, 0x7fffffffffffu);
  EXPECT_FALSE(addr(DS, 0x7fffffffffff, 2));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(addr(SS, 0x800000000000, 1));
  expect_fault(vec_ss, 0);
  EXPECT_TRUE(load(FS, 0x93));
  EXPECT_TRUE(addr(FS, 0x10, 8));
  EXPECT_EQ(linear, 0x1234010u);
  EXPECT_EQ(cpu.lin_seg_base[FS], 0x1234000u);
  EXPECT_EQ(cpu.lin_seg_base[DS], 0u);
  EXPECT_TRUE(load_segment(cpu, FS, 0));
  EXPECT_TRUE(addr(FS, 0x10, 8));
  EXPECT_EQ(linear, 0x10u);
  // A null SS is good below ring 3, with RPL = CPL.
  EXPECT_TRUE(load_segment(cpu, SS, 0));
  EXPECT_EQ(cpl(cpu), 0u);
  EXPECT_FALSE(load_segment(cpu, SS, 1));
  expect_fault(vec_gp, 0);
  protected_mode_at(3, 64);
  EXPECT_FALSE(load_segment(cpu, SS, 3));
  expect_fault(vec_gp, 0);
}

TEST_F(Segments, TaskRegister) {
  protected_mode_at(0, 64);
  q64(gdt_base + free_selector) = segment_descriptor(0x81000000, 0x67, 0x89, 0);
  q64(gdt_base + free_selector + 8) = 0xffff8000;
  ASSERT_TRUE(load_tr(cpu, free_selector));
  EXPECT_EQ(cpu.s.tr.base, 0xffff800081000000u);
  EXPECT_EQ(b8(gdt_base + free_selector + 5), 0x8b);
  EXPECT_EQ(cpu.s.tr.type(), 11);
  EXPECT_FALSE(load_tr(cpu, free_selector));  // busy
  expect_fault(vec_gp, free_selector);
  q64(gdt_base + free_selector) = segment_descriptor(0x81000000, 0x67, 0x09, 0);
  EXPECT_FALSE(load_tr(cpu, free_selector));
  expect_fault(vec_np, free_selector);
  q64(gdt_base + free_selector) = segment_descriptor(0x81000000, 0x67, 0x89, 0);
  q64(gdt_base + free_selector + 8) = 0x00008000;  // not canonical
  EXPECT_FALSE(load_tr(cpu, free_selector));
  expect_fault(vec_gp, free_selector);
  EXPECT_FALSE(load_tr(cpu, 0));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(load_tr(cpu, free_selector | 4));
  expect_fault(vec_gp, free_selector | 4);
}

TEST_F(Segments, LarLslVerrVerw) {
  protected_mode_at(3, 32);
  bool ok = false;
  u32 value = 0;
  ASSERT_TRUE(lar(cpu, data3 | 3, ok, value));
  EXPECT_TRUE(ok);
  EXPECT_EQ(value & 0xf0ff00, 0xc0f300u);
  ASSERT_TRUE(lsl(cpu, data3 | 3, ok, value));
  EXPECT_TRUE(ok);
  EXPECT_EQ(value, 0xffffffffu);
  for (const u16 selector : {u16{0}, u16{data0}, u16{0x80}, u16{0xc}}) {
    ASSERT_TRUE(lar(cpu, selector, ok, value));
    EXPECT_FALSE(ok) << selector;
    ASSERT_TRUE(lsl(cpu, selector, ok, value));
    EXPECT_FALSE(ok) << selector;
    ASSERT_TRUE(verify(cpu, selector, false, ok));
    EXPECT_FALSE(ok) << selector;
  }
  ASSERT_TRUE(verify(cpu, data3 | 3, true, ok));
  EXPECT_TRUE(ok);
  ASSERT_TRUE(verify(cpu, code3 | 3, false, ok));
  EXPECT_TRUE(ok);
  ASSERT_TRUE(verify(cpu, code3 | 3, true, ok));
  EXPECT_FALSE(ok);
  ASSERT_TRUE(verify(cpu, conforming | 3, false, ok));
  EXPECT_TRUE(ok);
  // System types: LAR knows gates, LSL does not.
  set_gdt(free_selector, segment_descriptor(0, 0x55, 0xec, 0));
  ASSERT_TRUE(lar(cpu, free_selector, ok, value));
  EXPECT_TRUE(ok);
  ASSERT_TRUE(lsl(cpu, free_selector, ok, value));
  EXPECT_FALSE(ok);
  set_gdt(free_selector, segment_descriptor(0, 0x55, 0xee, 0));  // interrupt gate
  ASSERT_TRUE(lar(cpu, free_selector, ok, value));
  EXPECT_FALSE(ok);
  set_gdt(free_selector, segment_descriptor(0, 0x55, 0xe9, 0));
  ASSERT_TRUE(lsl(cpu, free_selector, ok, value));
  EXPECT_TRUE(ok);
  EXPECT_EQ(value, 0x55u);
  ASSERT_TRUE(verify(cpu, free_selector, false, ok));
  EXPECT_FALSE(ok);
}

TEST_F(Segments, StackWidthFollowsTheMode) {
  protected_mode_at(0, 16);
  cpu.s.gpr[x86::RSP] = 0xabcd0000;
  EXPECT_TRUE(push(cpu, 0x1234, 2));
  EXPECT_EQ(cpu.s.gpr[x86::RSP], 0xabcdfffeu);
  EXPECT_EQ(w16(0x20000 + 0xfffe), 0x1234);
  u64 value = 0;
  EXPECT_TRUE(pop(cpu, value, 2));
  EXPECT_EQ(value, 0x1234u);
  EXPECT_EQ(cpu.s.gpr[x86::RSP], 0xabcd0000u);
  protected_mode_at(0, 32);
  cpu.s.gpr[x86::RSP] = 0x9000;
  EXPECT_TRUE(push(cpu, 0x12345678, 4));
  EXPECT_EQ(d32(0x8ffc), 0x12345678u);
  protected_mode_at(0, 64);
  cpu.s.gpr[x86::RSP] = 0x800000000008;
  EXPECT_FALSE(push(cpu, 1, 8));
  expect_fault(vec_ss, 0);
  EXPECT_EQ(cpu.s.gpr[x86::RSP], 0x800000000008u);
}

}  // namespace
}  // namespace nagaya::engine::soft
