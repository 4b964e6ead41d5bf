// Every bit of the page tables at every level, in each paging mode.
#include <thread>

#include "engine/soft/light/env_test.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr u64 p = 1, w = 2, u = 4, a = 0x20, dirty = 0x40, ps = 0x80, nx = 1ull << 63;
constexpr u64 linear = 0x7f1234567abc & ~0xfffull;

class Paging : public Env {
 protected:
  Paging() { protected_mode_at(0, 64); }

  // A 4 KiB mapping of `linear` with tables at 0x5000 (PML4) … 0x8000 (PT) to page 0x200000.
  u64 entry_at[4];  // [0]: PTE … [3]: PML4E
  void map4k(u64 bits = p | w | u) {
    for (int level = 3; level >= 0; level--) {
      const u64 table = 0x8000 - level * 0x1000u;
      entry_at[level] = table + (linear >> (12 + 9 * level) & 511) * 8;
      q64(entry_at[level]) = (level ? table + 0x1000 : 0x200000) | bits;
    }
    cpu.s.cr3 = 0x5000;
    tlb_flush_all(cpu);
  }
  bool go(Access access, TlbKind kind = tlb_supervisor, u64 offset = 0) {
    tlb_flush_all(cpu);
    return walk(cpu, linear + offset, access, kind, out);
  }
  void expect_pf(u32 code, u64 offset = 0) {
    EXPECT_EQ(cpu.s.cr2, linear + offset);
    expect_fault(vec_pf, code);
    cpu.s.cr2 = 0;
  }
  Walk out;
};

TEST_F(Paging, FourLevelsTranslate) {
  map4k();
  ASSERT_TRUE(go(Access::read, tlb_supervisor, 0x123));
  EXPECT_EQ(out.gpa, 0x200123u);
  EXPECT_TRUE(out.user);
  EXPECT_FALSE(out.writable);  // not dirty yet
  EXPECT_EQ(out.page_size, 4096u);
  for (int level = 0; level < 4; level++) EXPECT_EQ(q64(entry_at[level]) & (a | dirty), a) << level;
  ASSERT_TRUE(go(Access::write));
  EXPECT_TRUE(out.writable);
  EXPECT_TRUE(q64(entry_at[0]) & dirty);
  for (int level = 1; level < 4; level++) EXPECT_FALSE(q64(entry_at[level]) & dirty) << level;
}

TEST_F(Paging, NotPresentAtEachLevel) {
  for (int level = 0; level < 4; level++) {
    map4k();
    q64(entry_at[level]) &= ~p;
    EXPECT_FALSE(go(Access::read, tlb_supervisor, 8));
    expect_pf(0, 8);
    EXPECT_FALSE(go(Access::write, tlb_user));
    expect_pf(6);
    EXPECT_FALSE(go(Access::fetch, tlb_user));
    expect_pf(0x14);
    // Levels above it were used, so they are marked; the level itself and those below are not.
    for (int other = 0; other < 4; other++)
      EXPECT_EQ(q64(entry_at[other]) & a, other > level ? a : 0) << level << other;
  }
}

TEST_F(Paging, UserAndWriteAtEachLevel) {
  for (int level = 0; level < 4; level++) {
    map4k();
    q64(entry_at[level]) &= ~u;
    EXPECT_FALSE(go(Access::read, tlb_user));
    expect_pf(5);
    EXPECT_FALSE(q64(entry_at[0]) & a);
    EXPECT_TRUE(go(Access::read));
    EXPECT_FALSE(out.user);
    map4k();
    q64(entry_at[level]) &= ~w;
    EXPECT_FALSE(go(Access::write, tlb_user));
    expect_pf(7);
    EXPECT_FALSE(go(Access::write));
    expect_pf(3);
    EXPECT_FALSE(q64(entry_at[0]) & (a | dirty));
    EXPECT_TRUE(go(Access::read));
    EXPECT_FALSE(out.writable);
    cpu.s.cr0 &= ~cr0_wp;
    EXPECT_TRUE(go(Access::write));
    EXPECT_TRUE(out.writable);
    EXPECT_FALSE(go(Access::write, tlb_user));
    expect_pf(7);
    cpu.s.cr0 |= cr0_wp;
  }
}

TEST_F(Paging, NoExecuteAtEachLevel) {
  for (int level = 0; level < 4; level++) {
    map4k();
    q64(entry_at[level]) |= nx;
    EXPECT_TRUE(go(Access::read, tlb_user));
    EXPECT_FALSE(go(Access::fetch));
    expect_pf(0x11);
    EXPECT_FALSE(go(Access::fetch, tlb_user));
    expect_pf(0x15);
    // Without EFER.NXE the bit is reserved, and the error code has no I/D bit.
    cpu.s.msr.efer &= ~efer_nxe;
    EXPECT_FALSE(go(Access::read));
    expect_pf(9);
    EXPECT_FALSE(go(Access::fetch));
    expect_pf(9);
    cpu.s.cr4 |= cr4_smep;
    EXPECT_FALSE(go(Access::fetch));
    expect_pf(0x19);
    cpu.s.cr4 &= ~cr4_smep;
    cpu.s.msr.efer |= efer_nxe;
  }
}

TEST_F(Paging, ReservedBitsAtEachLevel) {
  for (int level = 0; level < 4; level++) {
    for (unsigned bit = cpu.maxphyaddr; bit < 52; bit++) {
      map4k();
      q64(entry_at[level]) |= 1ull << bit;
      EXPECT_FALSE(go(Access::write, tlb_user));
      expect_pf(15);
    }
    // 52..62 are the system's own.
    map4k();
    q64(entry_at[level]) |= 0x7ff0000000000000;
    EXPECT_TRUE(go(Access::read));
    // Not present: nothing else counts.
    map4k();
    q64(entry_at[level]) = ~p;
    EXPECT_FALSE(go(Access::read));
    expect_pf(0);
  }
  map4k();
  q64(entry_at[3]) |= ps;
  EXPECT_FALSE(go(Access::read));
  expect_pf(9);
}

TEST_F(Paging, LargePages) {
  map4k();
  q64(entry_at[1]) = 0x400000 | p | w | u | ps | 0x1000;  // PAT bit
  ASSERT_TRUE(go(Access::write, tlb_user, 0x345));
  EXPECT_EQ(out.gpa, 0x400000 | ((linear + 0x345) & 0x1fffff));
  EXPECT_EQ(out.page_size, 1u << 21);
  EXPECT_EQ(q64(entry_at[1]) & (a | dirty), a | dirty);
  for (unsigned bit = 13; bit < 21; bit++) {
    map4k();
    q64(entry_at[1]) = 0x400000 | p | w | u | ps | 1ull << bit;
    EXPECT_FALSE(go(Access::read));
    expect_pf(9);
  }
  map4k();
  q64(entry_at[2]) = p | w | u | ps | 1ull << 30;
  ASSERT_TRUE(go(Access::read));
  EXPECT_EQ(out.gpa, 1ull << 30 | (linear & 0x3fffffff));
  EXPECT_EQ(out.page_size, 1u << 30);
  for (unsigned bit = 13; bit < 30; bit++) {
    map4k();
    q64(entry_at[2]) = p | w | u | ps | 1ull << bit;
    EXPECT_FALSE(go(Access::read));
    expect_pf(9);
  }
  cpu.features &= ~u32{feat_pdpe1gb};
  map4k();
  q64(entry_at[2]) |= ps;
  EXPECT_FALSE(go(Access::read));
  expect_pf(9);
}

TEST_F(Paging, SmepAndSmap) {
  map4k();
  cpu.s.cr4 |= cr4_smep | cr4_smap;
  EXPECT_FALSE(go(Access::fetch));
  expect_pf(0x11);
  EXPECT_TRUE(go(Access::fetch, tlb_user));
  EXPECT_FALSE(go(Access::read));
  expect_pf(1);
  EXPECT_FALSE(go(Access::write));
  expect_pf(3);
  EXPECT_TRUE(go(Access::read, tlb_supervisor_ac));
  EXPECT_TRUE(go(Access::write, tlb_user));
  for (int level = 0; level < 4; level++) {
    map4k();
    q64(entry_at[level]) &= ~u;
    EXPECT_TRUE(go(Access::fetch));
    EXPECT_TRUE(go(Access::write));
  }
}

TEST_F(Paging, SmapKindFollowsAc) {
  EXPECT_EQ(current_kind(cpu), tlb_supervisor);
  cpu.s.rflags |= flag_ac;
  EXPECT_EQ(current_kind(cpu), tlb_supervisor);
  cpu.s.cr4 |= cr4_smap;
  EXPECT_EQ(current_kind(cpu), tlb_supervisor_ac);
  protected_mode_at(3, 64);
  EXPECT_EQ(current_kind(cpu), tlb_user);
}

TEST_F(Paging, NonCanonicalIsAProtectionFault) {
  EXPECT_FALSE(walk(cpu, 0x0000800000000000, Access::read, tlb_supervisor, out));
  expect_fault(vec_gp, 0);
  EXPECT_FALSE(walk(cpu, 0xffff7fffffffffff, Access::read, tlb_supervisor, out));
  expect_fault(vec_gp, 0);
}

TEST_F(Paging, TablesOutsideRamReadAsOnes) {
  map4k();
  q64(entry_at[2]) = 0x800000000 | p | w | u;  // far beyond RAM, below MAXPHYADDR
  EXPECT_FALSE(go(Access::read));
  expect_pf(9);
}

TEST_F(Paging, DirtyTablesAreReported) {
  map4k();
  shared.page_flags[entry_at[0] >> 12] = page_dirty_log;
  ASSERT_TRUE(go(Access::write));
  EXPECT_EQ(shared.page_flags[entry_at[0] >> 12], 0);
  EXPECT_TRUE(dirty_[0] >> (entry_at[0] >> 12) & 1);
}

TEST_F(Paging, UpdatesLoseNoStoreOfAnotherProcessor) {
  map4k();
  auto* entry = reinterpret_cast<u64*>(ram_ + entry_at[0]);
  constexpr u64 rounds = 200000;
  // The other processor counts in the system's own bits 52..62 and takes A and D away.
  std::thread other([&] {
    for (u64 i = 0; i < rounds; i++) {
      __atomic_fetch_add(entry, 1ull << 52, __ATOMIC_SEQ_CST);
      __atomic_fetch_and(entry, ~(a | dirty), __ATOMIC_SEQ_CST);
    }
  });
  for (u64 i = 0; i < rounds; i++) {
    u64 gpa = 0, rights = 0;
    ASSERT_TRUE(walk_tables(cpu, linear, Access::write, tlb_user, gpa, rights));
  }
  other.join();
  // 2^11 counts wrap into bit 63 (XD), which a walk for a write does not mind.
  EXPECT_EQ(q64(entry_at[0]) >> 52, rounds & 0xfff);
}

TEST_F(Paging, GlobalNeedsPge) {
  map4k(p | w | u | 0x100);
  ASSERT_TRUE(go(Access::read));
  EXPECT_FALSE(out.global);
  cpu.s.cr4 |= cr4_pge;
  ASSERT_TRUE(go(Access::read));
  EXPECT_TRUE(out.global);
}

class Paging32 : public Env {
 protected:
  Paging32() {
    protected_mode_at(0, 32);
    cpu.s.cr0 |= cr0_pg | cr0_wp;
    cpu.s.cr3 = 0x5000;
    d32(pde) = 0x6000 | p | w | u;
    d32(pte) = 0x200000 | p | w | u;
  }
  static constexpr u64 where = 0xc0123000, pde = 0x5000 + (where >> 22) * 4, pte = 0x6000 + (where >> 12 & 1023) * 4;
  bool go(Access access, TlbKind kind = tlb_supervisor, u64 offset = 0) {
    tlb_flush_all(cpu);
    return walk(cpu, where + offset, access, kind, out);
  }
  Walk out;
};

TEST_F(Paging32, TwoLevels) {
  ASSERT_TRUE(go(Access::read, tlb_user, 0x77));
  EXPECT_EQ(out.gpa, 0x200077u);
  EXPECT_TRUE(d32(pde) & a);
  EXPECT_EQ(d32(pte) & (a | dirty), a);
  EXPECT_EQ(d32(pte + 4), 0u);  // a 4-byte entry was written, not 8
  ASSERT_TRUE(go(Access::write, tlb_user));
  EXPECT_TRUE(d32(pte) & dirty);
  EXPECT_FALSE(d32(pde) & dirty);
}

TEST_F(Paging32, Rights) {
  d32(pde) &= ~static_cast<u32>(u);
  EXPECT_FALSE(go(Access::read, tlb_user));
  expect_fault(vec_pf, 5);
  EXPECT_EQ(cpu.s.cr2, where);
  d32(pde) |= u;
  d32(pte) &= ~static_cast<u32>(w);
  EXPECT_FALSE(go(Access::write));
  expect_fault(vec_pf, 3);
  d32(pte) &= ~static_cast<u32>(p);
  // EFER.NXE means nothing without PAE.
  cpu.s.msr.efer = efer_nxe;
  EXPECT_FALSE(go(Access::fetch));
  expect_fault(vec_pf, 0);
}

TEST_F(Paging32, LargePages) {
  cpu.s.cr4 |= cr4_pse;
  d32(pde) = 0x00400000 | p | w | u | ps;
  ASSERT_TRUE(go(Access::write, tlb_user, 5));
  EXPECT_EQ(out.gpa, 0x400000 | ((where + 5) & 0x3fffff));
  EXPECT_EQ(out.page_size, 1u << 22);
  EXPECT_EQ(d32(pde) & (a | dirty), a | dirty);
  // PSE-36 with MAXPHYADDR 36: bits 16:13 are address bits 35:32, 21:17 reserved.
  d32(pde) = 0x00400000 | p | ps | 0xf << 13;
  ASSERT_TRUE(go(Access::read));
  EXPECT_EQ(out.gpa, 0xf00400000 | (where & 0x3fffff));
  for (unsigned bit = 17; bit < 22; bit++) {
    d32(pde) = 0x00400000 | p | ps | 1u << bit;
    EXPECT_FALSE(go(Access::read));
    expect_fault(vec_pf, 9);
  }
  // Without CR4.PSE the bit is ignored.
  cpu.s.cr4 &= ~cr4_pse;
  d32(pde) = 0x6000 | p | w | u | ps;
  ASSERT_TRUE(go(Access::read));
  EXPECT_EQ(out.gpa, 0x200000u);
}

class PagingPae : public Env {
 protected:
  PagingPae() {
    protected_mode_at(0, 32);
    cpu.s.cr0 |= cr0_pg | cr0_wp;
    cpu.s.cr4 |= cr4_pae;
    cpu.s.msr.efer = efer_nxe;
    cpu.s.cr3 = 0x5020;
    q64(pdpte) = 0x6000 | p;
    q64(pde) = 0x7000 | p | w | u;
    q64(pte) = 0x200000 | p | w | u;
  }
  static constexpr u64 where = 0xc0723000, pdpte = 0x5020 + 3 * 8, pde = 0x6000 + (where >> 21 & 511) * 8,
                       pte = 0x7000 + (where >> 12 & 511) * 8;
  bool go(Access access, TlbKind kind = tlb_supervisor) {
    tlb_flush_all(cpu);
    return walk(cpu, where, access, kind, out);
  }
  Walk out;
};

TEST_F(PagingPae, Translates) {
  ASSERT_TRUE(go(Access::write, tlb_user));  // the PDPTE has no rights
  EXPECT_EQ(out.gpa, 0x200000u);
  EXPECT_EQ(q64(pdpte), 0x6000 | p);
  EXPECT_EQ(q64(pde) & (a | dirty), a);
  EXPECT_EQ(q64(pte) & (a | dirty), a | dirty);
}

TEST_F(PagingPae, ReservedBits) {
  for (const unsigned bit : {1u, 2u, 5u, 6u, 7u, 8u, 36u, 51u, 52u, 63u}) {
    q64(pdpte) = 0x6000 | p | 1ull << bit;
    EXPECT_FALSE(go(Access::read)) << bit;
    expect_fault(vec_pf, 9);
    EXPECT_FALSE(pdptes_valid(cpu, cpu.s.cr3)) << bit;
  }
  q64(pdpte) = 0x6000 | p;
  EXPECT_TRUE(pdptes_valid(cpu, cpu.s.cr3));
  for (const u64 entry : {pde, pte}) {
    const u64 good = q64(entry);
    for (unsigned bit = 36; bit < 63; bit++) {
      q64(entry) = good | 1ull << bit;
      EXPECT_FALSE(go(Access::read)) << bit;
      expect_fault(vec_pf, 9);
    }
    q64(entry) = good | nx;
    EXPECT_FALSE(go(Access::fetch));
    expect_fault(vec_pf, 0x11);
    q64(entry) = good;
  }
  q64(pdpte) = 0;
  EXPECT_FALSE(go(Access::read));
  expect_fault(vec_pf, 0);
}

TEST_F(PagingPae, LargePages) {
  q64(pde) = 0x400000 | p | w | u | ps;
  ASSERT_TRUE(go(Access::read));
  EXPECT_EQ(out.gpa, 0x400000 | (where & 0x1fffff));
  EXPECT_EQ(out.page_size, 1u << 21);
  q64(pde) |= 1 << 13;
  EXPECT_FALSE(go(Access::read));
  expect_fault(vec_pf, 9);
}

TEST_F(Env, NoPagingIsIdentity) {
  Walk out;
  ASSERT_TRUE(walk(cpu, 0x100123456, Access::write, tlb_user, out));
  EXPECT_EQ(out.gpa, 0x123456u);
  EXPECT_TRUE(out.writable);
}

}  // namespace
}  // namespace nagaya::engine::soft
