// Accesses through the TLBs: filling, flushing, page crossings, MMIO, ROM, special pages, and operands of re-encoded
// instructions.
#include "engine/soft/light/env_test.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr u64 p = 1, w = 2, u = 4, dirty = 0x40, global = 0x100;

// A hit in the inline table, as translated code looks it up.
u8* inline_lookup(const SoftCpu& cpu, TlbKind kind, u64 linear, bool write) {
  const TlbEntry& e = cpu.tlb[kind][tlb_index(linear)];
  const u64 offset = linear + (write ? e.negtag_write : e.negtag_read);
  return offset < 4096 ? reinterpret_cast<u8*>(e.host + offset) : nullptr;
}

class SoftMmu : public Env {
 protected:
  static constexpr u64 base = 0x4000000000;  // PML4[0], PDPT[256]
  SoftMmu() {
    protected_mode_at(0, 64);
    q64(0x2000 + 256 * 8) = 0x5000 | p | w | u;
    q64(0x5000) = 0x6000 | p | w | u;
    for (u64 i = 0; i < 16; i++) pte(i) = (0x300000 + i * 0x1000) | p | w | u;
    cpu.s.cr4 |= cr4_pge;
  }
  Cell<u64> pte(u64 i) { return q64(0x6000 + i * 8); }
  u64 read(u64 linear, TlbKind kind = tlb_supervisor) {
    u64 value = 0;
    EXPECT_TRUE(mem_get(cpu, linear, value, kind));
    return value;
  }
};

TEST_F(SoftMmu, ReadFillsReadTagAndWriteTagOnlyWhenDirty) {
  q64(0x300010) = 0x1122334455667788;
  EXPECT_EQ(read(base + 0x10), 0x1122334455667788u);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base + 5, false), ram_ + 0x300005);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base, true), nullptr);
  EXPECT_EQ(inline_lookup(cpu, tlb_user, base, false), nullptr);
  EXPECT_FALSE(pte(0) & dirty);
  EXPECT_TRUE(mem_put(cpu, base + 0x10, u32{7}, tlb_supervisor));
  EXPECT_TRUE(pte(0) & dirty);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base, true), ram_ + 0x300000);
  tlb_flush_all(cpu);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base, false), nullptr);
  read(base);
  EXPECT_NE(inline_lookup(cpu, tlb_supervisor, base, true), nullptr);  // dirty already
}

TEST_F(SoftMmu, EmptyTablesMissEverywhere) {
  for (const u64 linear : {0ull, 4095ull, 0x1000ull, ~0ull, 0xfffffffffffff000ull, 0x800000000000ull})
    for (unsigned kind = 0; kind < tlb_kinds; kind++)
      EXPECT_EQ(inline_lookup(cpu, static_cast<TlbKind>(kind), linear, false), nullptr);
  for (const u64 rip : {0ull, 1ull, 0xffffull, 0x10000ull, ~0ull})
    EXPECT_NE(cpu.jump[0][rip & 0xffff].neg_rip + rip, 0u);
}

TEST_F(SoftMmu, Cr3KeepsGlobalPages) {
  pte(1) |= global;
  read(base);
  read(base + 0x1000);
  load_cr3(cpu, 0x1000, false);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base, false), nullptr);
  EXPECT_NE(inline_lookup(cpu, tlb_supervisor, base + 0x1000, false), nullptr);
  // The second level too: a changed entry shows for the one, not for the other.
  pte(0) = 0;
  pte(1) = 0;
  u64 value;
  EXPECT_FALSE(mem_get(cpu, base, value, tlb_supervisor));
  take_fault();
  EXPECT_TRUE(mem_get(cpu, base + 0x1000, value, tlb_supervisor));
  tlb_flush_all(cpu);
  EXPECT_FALSE(mem_get(cpu, base + 0x1000, value, tlb_supervisor));
}

TEST_F(SoftMmu, PcidKeepsOtherAddressSpaces) {
  cpu.s.cr4 |= cr4_pcide;
  tlb_flush_all(cpu);
  load_cr3(cpu, 0x1001, false);
  read(base);
  load_cr3(cpu, 0x1002, false);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base, false), nullptr);
  pte(0) = 0x302000 | p | w | u;
  q64(0x300000) = 1;
  q64(0x302000) = 2;
  EXPECT_EQ(read(base), 2u);
  load_cr3(cpu, 0x1001 | 1ull << 63, true);
  EXPECT_EQ(cpu.s.cr3, 0x1001u);
  EXPECT_EQ(read(base), 1u);  // still as cached under PCID 1
  load_cr3(cpu, 0x1002, true);
  tlb_flush_pcid(cpu, 1);
  load_cr3(cpu, 0x1001, true);
  EXPECT_EQ(read(base), 2u);
  pte(0) = 0x300000 | p | w | u;
  tlb_flush_all_nonglobal(cpu);
  EXPECT_EQ(read(base), 1u);
}

TEST_F(SoftMmu, InvlpgDropsThePageInEveryKind) {
  read(base);
  read(base, tlb_user);
  read(base + 0x1000);
  pte(0) = pte(1) = 0x302000 | p | w | u;
  q64(0x302000) = 99;
  tlb_flush_page(cpu, base + 0x123);
  EXPECT_EQ(read(base), 99u);
  EXPECT_EQ(read(base, tlb_user), 99u);
  EXPECT_EQ(read(base + 0x1000), 0u);  // not flushed, still the old one
}

TEST_F(SoftMmu, InvlpgInALargePageDropsAllOfIt) {
  q64(0x5008) = 0x400000 | p | w | u | 0x80 | global;
  for (u64 i = 0; i < 8; i++) read(base + 0x200000 + i * 0x1000);
  q64(0x5008) = 0x600000 | p | w | u | 0x80;
  q64(0x607000) = 5;
  tlb_flush_page(cpu, base + 0x200000);
  EXPECT_EQ(read(base + 0x207000), 5u);
}

TEST_F(SoftMmu, InvlpgInEitherHalfOf4MiB) {
  cpu.s.msr.efer = 0;
  cpu.s.cr4 = cr4_pse;
  cpu.s.cr3 = 0x5000;
  tlb_flush_all(cpu);
  for (u32 i = 0; i < 1024; i++) d32(0x5000 + i * 4) = 0x83;
  read(0x40000000);
  d32(0x5000 + 0x100 * 4) = 0x00400083;
  q64(0x400000) = 8;
  tlb_flush_page(cpu, 0x40200000);
  EXPECT_EQ(read(0x40000000), 8u);
}

TEST_F(SoftMmu, ManyPagesOverflowTheLogsAndStillFlush) {
  for (u64 page = 0; page < ram_size; page += 0x1000) read(page);  // identity map: 2048 slots
  for (u64 i = 0; i < 16; i++) read(base + i * 0x1000);
  for (u64 i = 0; i < 3000; i++) {  // fill further slots through a second mapping
    q64(0x7000 + (i & 511) * 8) = 0x300000 | p | w | u;
  }
  for (u64 i = 1; i < 6; i++) q64(0x5000 + i * 8) = 0x7000 | p | w | u;
  for (u64 i = 0; i < 5 * 512; i++) read(base + 0x200000 + i * 0x1000);
  for (int round = 0; round < 2; round++) {
    if (round)
      tlb_flush_all(cpu);
    else
      tlb_flush_nonglobal(cpu);
    for (u64 index = 0; index < tlb_entries; index++) EXPECT_EQ(cpu.tlb[0][index].negtag_read, miss_tag(index));
  }
}

TEST_F(SoftMmu, StaleRightsNeverFault) {
  pte(0) &= ~w;
  read(base);
  pte(0) |= w;  // no INVLPG: a fault would be allowed once, but not for ever
  EXPECT_TRUE(mem_put(cpu, base, u64{3}, tlb_supervisor));
}

TEST_F(SoftMmu, SpecialPages) {
  mark_code(0x300000);
  pte(0) |= dirty;
  EXPECT_TRUE(mem_put(cpu, base + 8, u64{0x55}, tlb_supervisor));
  EXPECT_EQ(q64(0x300008), 0x55u);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base, true), nullptr);
  EXPECT_NE(inline_lookup(cpu, tlb_supervisor, base, false), nullptr);
  u64 gpa = 0;
  bool special = false;
  EXPECT_EQ(tlb_fill(cpu, base + 8, Access::write, tlb_supervisor, &gpa, &special), nullptr);
  EXPECT_TRUE(special);
  EXPECT_EQ(gpa, 0x300008u);
  // A page that becomes special loses its tag; one in dirty logging is reported once.
  read(base + 0x1000);
  pte(1) |= dirty;
  EXPECT_TRUE(mem_put(cpu, base + 0x1000, u8{1}, tlb_supervisor));
  EXPECT_NE(inline_lookup(cpu, tlb_supervisor, base + 0x1000, true), nullptr);
  shared.page_flags[0x301] = page_dirty_log;
  tlb_protect_gpa(cpu, 0x301000);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base + 0x1000, true), nullptr);
  EXPECT_NE(inline_lookup(cpu, tlb_supervisor, base + 0x1000, false), nullptr);
  EXPECT_TRUE(mem_put(cpu, base + 0x1000, u8{1}, tlb_supervisor));
  EXPECT_TRUE(dirty_[0x301 / 64] >> (0x301 % 64) & 1);
}

TEST_F(SoftMmu, CrossingWritesCheckBothPagesFirst) {
  q64(0x300ff8) = 0;
  pte(1) = 0;
  u64 value = ~0ull;
  EXPECT_FALSE(mem_write(cpu, base + 0xffc, &value, 8, tlb_supervisor));
  expect_fault(vec_pf, 2);
  EXPECT_EQ(cpu.s.cr2, base + 0x1000);
  EXPECT_EQ(q64(0x300ff8), 0u);
  EXPECT_FALSE(mem_probe_write(cpu, base + 0xffc, 8, tlb_supervisor));
  expect_fault(vec_pf, 2);
  pte(1) = 0x305000 | p | w;
  EXPECT_TRUE(mem_write(cpu, base + 0xffc, &value, 8, tlb_supervisor));
  EXPECT_EQ(d32(0x300ffc), 0xffffffff);
  EXPECT_EQ(d32(0x305000), 0xffffffff);
  EXPECT_EQ(d32(0x305004), 0u);
  EXPECT_EQ(read(base + 0xffc), ~0ull);
}

TEST_F(SoftMmu, LegacyAddressesWrapAt4GiB) {
  protected_mode_at(0, 32);
  cpu.s.msr.efer = 0;
  cpu.s.cr0 &= ~cr0_pg;
  cpu.s.cr4 = 0;
  tlb_flush_all(cpu);
  EXPECT_EQ(linear_add(cpu, 0xfffffffe, 4), 2u);
  d32(0) = 0x12345678;
  cpu.heavy = true;
  EXPECT_EQ(read(0xfffffffc) >> 32, 0x12345678u);
  ASSERT_EQ(mmio_log.size(), 1u);
  EXPECT_EQ(mmio_log[0], (MmioAccess{0xfffffffc, 4, false, 0x14131211}));
}

TEST_F(SoftMmu, MmioNeedsHeavy) {
  pte(0) = 0xe0000000 | p | w | u;
  u64 value = 0;
  EXPECT_FALSE(mem_get(cpu, base, value, tlb_supervisor));
  EXPECT_TRUE(cpu.need_heavy);
  EXPECT_FALSE(cpu.fault.pending);
  EXPECT_TRUE(mmio_log.empty());
  cpu.need_heavy = false;
  cpu.heavy = true;
  EXPECT_TRUE(mem_get(cpu, base + 4, value, tlb_supervisor));
  EXPECT_TRUE(mem_put(cpu, base + 4, u16{0xabcd}, tlb_supervisor));
  EXPECT_EQ(mmio_log,
            (std::vector<MmioAccess>{{0xe0000004, 8, false, 0x1817161514131211}, {0xe0000004, 2, true, 0xabcd}}));
  // The APIC page hides RAM.
  cpu.s.apic_base = 0x303000 | 0x800;
  pte(3) = 0x303000 | p | w | u;
  mmio_log.clear();
  EXPECT_TRUE(mem_put(cpu, base + 0x3020, u32{1}, tlb_supervisor));
  EXPECT_EQ(mmio_log.size(), 1u);
}

TEST_F(SoftMmu, RomReadsAndKeepsItsBytes) {
  pte(0) = rom_base | p | w | u | dirty;
  EXPECT_EQ(read(base), 0x9090909090909090u);
  EXPECT_EQ(inline_lookup(cpu, tlb_supervisor, base, true), nullptr);
  cpu.heavy = true;
  EXPECT_TRUE(mem_put(cpu, base, u64{0}, tlb_supervisor));
  EXPECT_EQ(read(base), 0x9090909090909090u);
  EXPECT_EQ(mmio_log.size(), 1u);
}

TEST_F(SoftMmu, ChangeByteKeepsOtherBits) {
  b8(0x300000) = 0x90;
  EXPECT_TRUE(mem_change_byte(cpu, base, 3, 0x7f, tlb_supervisor));
  EXPECT_EQ(b8(0x300000), 0x13);
}

class MemSlow : public SoftMmu {
 protected:
  u64 bounce(u64 linear) { return reinterpret_cast<u64>(cpu.bounce) + (linear & 63); }  // aligned as the original
};

TEST_F(MemSlow, RamIsDirect) {
  EXPECT_EQ(mem_slow(cpu, base + 0xff8, slow_desc(8, true, true, tlb_supervisor)),
            reinterpret_cast<u64>(ram_ + 0x300ff8));
  EXPECT_EQ(cpu.bounce_write, 0u);
  EXPECT_NE(inline_lookup(cpu, tlb_supervisor, base, true), nullptr);
  EXPECT_TRUE(mem_commit(cpu));
}

TEST_F(MemSlow, FaultsAreReported) {
  pte(0) = 0;
  EXPECT_EQ(mem_slow(cpu, base, slow_desc(4, true, false, tlb_user)), 0u);
  expect_fault(vec_pf, 4);
  // Across a page, only the second part faults: CR2 is its start; a write faults as a write.
  pte(0) = 0x300000 | p | w | u;
  pte(1) = 0;
  EXPECT_EQ(mem_slow(cpu, base + 0xfff, slow_desc(4, true, true, tlb_user)), 0u);
  expect_fault(vec_pf, 6);
  EXPECT_EQ(cpu.s.cr2, base + 0x1000);
}

TEST_F(MemSlow, SpecialPagesStayDirect) {
  mark_code(0x300000);
  EXPECT_EQ(mem_slow(cpu, base + 0x10, slow_desc(4, true, true, tlb_supervisor)),
            reinterpret_cast<u64>(ram_ + 0x300010));
  EXPECT_EQ(cpu.bounce_write, 2u);
  EXPECT_EQ(cpu.bounce_ea, 0x300010u);
  EXPECT_TRUE(mem_commit(cpu));
  EXPECT_EQ(cpu.bounce_write, 0u);
}

TEST_F(MemSlow, CrossingsBounce) {
  q64(0x300ff8) = 0x1111111111111111;
  q64(0x301000) = 0x2222222222222222;
  ASSERT_EQ(mem_slow(cpu, base + 0xffc, slow_desc(8, true, true, tlb_supervisor)), bounce(base + 0xffc));
  u8* copy = cpu.bounce + 0x3c;
  u64 value;
  std::memcpy(&value, copy, 8);
  EXPECT_EQ(value, 0x2222222211111111u);
  EXPECT_EQ(cpu.bounce_write, 1u);
  value = ~value;
  std::memcpy(copy, &value, 8);
  EXPECT_TRUE(mem_commit(cpu));
  EXPECT_EQ(q64(0x300ff8), 0xeeeeeeee11111111u);
  EXPECT_EQ(q64(0x301000), 0x22222222ddddddddu);
  ASSERT_EQ(mem_slow(cpu, base + 0xffc, slow_desc(8, true, false, tlb_supervisor)), bounce(base + 0xffc));
  EXPECT_EQ(cpu.bounce_write, 0u);
}

TEST_F(MemSlow, MmioBouncesAndWritesAreNotRead) {
  pte(0) = 0xe0000000 | p | w | u;
  EXPECT_EQ(mem_slow(cpu, base, slow_desc(4, false, true, tlb_supervisor)), 0u);
  EXPECT_TRUE(cpu.need_heavy);
  cpu.need_heavy = false;
  cpu.heavy = true;
  ASSERT_EQ(mem_slow(cpu, base, slow_desc(4, false, true, tlb_supervisor)), bounce(base));
  EXPECT_TRUE(mmio_log.empty());
  const u32 value = 0x12345678;
  std::memcpy(cpu.bounce, &value, 4);
  EXPECT_TRUE(mem_commit(cpu));
  EXPECT_EQ(mmio_log, (std::vector<MmioAccess>{{0xe0000000, 4, true, 0x12345678}}));
  mmio_log.clear();
  ASSERT_EQ(mem_slow(cpu, base, slow_desc(2, true, true, tlb_supervisor)), bounce(base));
  EXPECT_TRUE(mem_commit(cpu));
  EXPECT_EQ(mmio_log, (std::vector<MmioAccess>{{0xe0000000, 2, false, 0x1211}, {0xe0000000, 2, true, 0x1211}}));
  mmio_log.clear();
  ASSERT_EQ(mem_slow(cpu, base + 16, slow_desc(32, true, false, tlb_supervisor)), bounce(16));
  EXPECT_EQ(mmio_log.size(), 1u);  // the stand-in sees it whole; mmio_access() splits
}

TEST_F(MemSlow, AlignmentIsCheckedFirst) {
  pte(0) = 0;
  EXPECT_EQ(mem_slow(cpu, base + 8, slow_desc(16, true, false, tlb_supervisor, false, true)), 0u);
  expect_fault(vec_gp, 0);
  EXPECT_EQ(mem_slow(cpu, base + 16, slow_desc(16, true, false, tlb_supervisor, false, true)), 0u);
  expect_fault(vec_pf, 0);
}

TEST_F(MemSlow, MaskedOperands) {
  const auto masked = [&](u64 linear, bool write) {
    return mem_slow(cpu, linear, slow_desc(32, !write, write, tlb_supervisor, true));
  };
  EXPECT_EQ(masked(base, false), reinterpret_cast<u64>(ram_ + 0x300000));
  // A part that is not accessible: interpret, and nothing happened.
  pte(2) = 0;
  cpu.s.cr2 = 77;
  for (const u64 offset : {0x2000, 0x1ff0}) {
    EXPECT_EQ(masked(base + offset, false), 1u);
    EXPECT_FALSE(cpu.fault.pending);
    EXPECT_EQ(cpu.s.cr2, 77u);
  }
  // Across accessible pages: only the bytes that were changed are written.
  q64(0x300ff8) = 0x1111111111111111;
  q64(0x301000) = 0x2222222222222222;
  ASSERT_EQ(masked(base + 0xff0, true), bounce(base + 0xff0));
  u8* copy = cpu.bounce + 0x30;
  EXPECT_EQ(copy[8], 0x11);
  copy[9] = 0x33;
  copy[16] = 0x44;
  b8(0x300ff8) = 0x99;  // another processor, meanwhile
  b8(0x301001) = 0x99;
  EXPECT_TRUE(mem_commit(cpu));
  EXPECT_EQ(q64(0x300ff8), 0x1111111111113399u);
  EXPECT_EQ(q64(0x301000), 0x2222222222229944u);
}

class JumpCache : public SoftMmu {
 protected:
  const void* find(unsigned mode, u64 rip) {
    const JumpEntry& e = cpu.jump[mode][rip & 0xffff];
    return e.neg_rip + rip == 0 ? e.code : nullptr;
  }
};

TEST_F(JumpCache, FlushesKeepWhatTheyMay) {
  const u64 kernel = 0xffffffff81000010, user = 0x400010;
  jump_insert(cpu, 1, kernel, kernel, ram_, true);
  jump_insert(cpu, 2, user, user, ram_, false);
  EXPECT_EQ(find(1, kernel), ram_);
  EXPECT_EQ(find(2, user), ram_);
  tlb_flush_nonglobal(cpu);
  EXPECT_EQ(find(1, kernel), ram_);
  EXPECT_EQ(find(2, user), nullptr);
  tlb_flush_page(cpu, 0x500000);
  tlb_flush_page(cpu, kernel - 0x1000);
  EXPECT_EQ(find(1, kernel), ram_);
  // The page of a block, and the one it may reach into.
  for (const u64 offset : {0, 0x1000}) {
    tlb_flush_page(cpu, kernel + offset);
    EXPECT_EQ(find(1, kernel), nullptr);
    jump_insert(cpu, 1, kernel, kernel, ram_, true);
  }
  tlb_flush_all(cpu);
  EXPECT_EQ(find(1, kernel), nullptr);
}

TEST_F(JumpCache, TheSameSlotMayChangeOwners) {
  const u64 kernel = 0xffffffff81000010, other = 0xffffffff82000010, user = 0x400010;
  jump_insert(cpu, 1, user, user, ram_, false);
  jump_insert(cpu, 1, kernel, kernel, ram_, true);
  jump_insert(cpu, 1, other, other, ram_ + 1, false);
  tlb_flush_nonglobal(cpu);
  EXPECT_EQ(find(1, other), nullptr);
  jump_insert(cpu, 1, kernel, kernel, ram_, true);
  jump_insert(cpu, 1, user, user, ram_, false);
  tlb_flush_nonglobal(cpu);
  EXPECT_EQ(find(1, user), nullptr);
  jump_insert(cpu, 1, kernel, kernel, ram_, true);
  tlb_flush_all(cpu);
  EXPECT_EQ(find(1, kernel), nullptr);
}

TEST_F(JumpCache, AFullLogStartsAnew) {
  for (u64 i = 0; i < 30000; i++) jump_insert(cpu, 0, i * 3, i * 3, ram_, false);
  EXPECT_EQ(find(0, 29999 * 3), ram_);
  jump_flush(cpu);
  for (u64 i = 0; i < 30000; i++) EXPECT_EQ(find(0, i * 3), nullptr);
}

}  // namespace
}  // namespace nagaya::engine::soft
