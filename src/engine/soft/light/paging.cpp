// The page walker. Intel SDM vol. 3, 4.3 (32-bit), 4.4 (PAE), 4.5 (4-level), 4.6 (rights), 4.7 (error code), 4.8 (A and
// D).
#include "engine/soft/light/paging.hpp"

#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/tlb.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr u64 pte_p = 1, pte_w = 2, pte_u = 4, pte_a = 0x20, pte_d = 0x40, pte_ps = 0x80, pte_g = 0x100,
              pte_nx = 1ull << 63;
constexpr u64 address_field = 0x000ffffffffff000;
constexpr u32 err_p = 1, err_w = 2, err_u = 4, err_rsvd = 8, err_id = 16;

enum class Step : u8 { done, fault, again };

struct Walker {
  SoftCpu& cpu;
  u64 linear;
  Access access;
  TlbKind kind;
  u64 rights = right_write | right_user;
  u64 gpa = 0;

  Step fault(u32 bits) const {
    if (access == Access::write) bits |= err_w;
    if (kind == tlb_user) bits |= err_u;
    const bool nx = (cpu.s.cr4 & cr4_pae) && (cpu.s.msr.efer & efer_nxe);
    if (access == Access::fetch && (nx || (cpu.s.cr4 & cr4_smep))) bits |= err_id;
    cpu.s.cr2 = linear;
    raise(cpu, vec_pf, bits);
    return Step::fault;
  }

  // A table that is not in RAM reads as ones.
  template <class T>
  T read(u64 at) const {
    const u8* page = ram_page(cpu, at & ~0xfffull, false);
    return page ? __atomic_load_n(reinterpret_cast<const T*>(page + (at & 0xfff)), __ATOMIC_RELAXED)
                : static_cast<T>(~0ull);
  }

  // Sets bits in an entry that still has the value it was judged by. False: it has changed, walk again.
  template <class T>
  bool set_bits(u64 at, T value, T bits) const {
    if ((value & bits) == bits) return true;
    u8* page = ram_page(cpu, at & ~0xfffull, true);
    if (!page) return true;  // tables in ROM keep what they have
    T expected = value;
    if (!__atomic_compare_exchange_n(reinterpret_cast<T*>(page + (at & 0xfff)), &expected, static_cast<T>(value | bits),
                                     false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
      return false;
    if (page_is_special(cpu, at & ~0xfffull)) store_special(cpu, at, sizeof(T));
    return true;
  }

  void add_rights(u64 entry) {
    if (!(entry & pte_w)) rights &= ~u64{right_write};
    if (!(entry & pte_u)) rights &= ~u64{right_user};
    if (entry & pte_nx) rights |= right_nx;
  }

  template <class T>
  Step leaf(u64 at, T entry, u64 size) {
    if (!permitted(cpu, rights, access, kind)) return fault(err_p);
    T bits = pte_a;
    if (access == Access::write) bits |= pte_d;
    if (!set_bits<T>(at, entry, bits)) return Step::again;
    if ((entry | bits) & pte_d) rights |= right_dirty;
    if ((entry & pte_g) && (cpu.s.cr4 & cr4_pge)) rights |= right_global;
    if (size == 1ull << 30)
      rights |= right_1g;
    else if (size > 4096)
      rights |= right_2m;
    gpa |= linear & (size - 1);
    return Step::done;
  }

  Step four_level_or_pae(bool pae) {
    const u64 beyond = address_field & ~((1ull << cpu.maxphyaddr) - 1);
    const u64 nx = cpu.s.msr.efer & efer_nxe ? 0 : pte_nx;
    u64 reserved = beyond | nx;
    u64 table = cpu.s.cr3 & address_field;
    int level = 3;
    if (pae) {
      // The PDPTEs are read anew at each walk; they have no rights and no accessed bit.
      const u64 at = (cpu.s.cr3 & 0xffffffe0) + (linear >> 30 & 3) * 8;
      const u64 entry = read<u64>(at);
      if (!(entry & pte_p)) return fault(0);
      if (entry & (0xfff0000000000000 | beyond | 0x1e6)) return fault(err_p | err_rsvd);
      table = entry & address_field;
      reserved |= 0x7ff0000000000000;
      level = 1;
    }
    for (;; level--) {
      const u64 at = table + (linear >> (12 + 9 * level) & 511) * 8;
      const u64 entry = read<u64>(at);
      if (!(entry & pte_p)) return fault(0);
      const bool large = level && (entry & pte_ps);
      u64 must_be_zero = reserved;
      if (large) {
        if (level == 1)
          must_be_zero |= 0x1fe000;
        else if (level == 2 && (cpu.features & feat_pdpe1gb))
          must_be_zero |= 0x3fffe000;
        else
          must_be_zero |= pte_ps;
      }
      if (entry & must_be_zero) return fault(err_p | err_rsvd);
      add_rights(entry);
      if (large || !level) {
        const u64 size = 1ull << (12 + 9 * level);
        gpa = entry & address_field & ~(size - 1);
        return leaf<u64>(at, entry, size);
      }
      if (!set_bits<u64>(at, entry, pte_a)) return Step::again;
      table = entry & address_field;
    }
  }

  Step two_level() {
    const u64 pde_at = (cpu.s.cr3 & 0xfffff000) + (linear >> 22 & 1023) * 4;
    const u32 pde = read<u32>(pde_at);
    if (!(pde & pte_p)) return fault(0);
    if ((pde & pte_ps) && (cpu.s.cr4 & cr4_pse)) {
      // PSE-36: bits 20:13 are address bits 39:32 as far as MAXPHYADDR goes, bit 21 and the rest are reserved.
      const unsigned high_bits = cpu.maxphyaddr >= 40 ? 8 : cpu.maxphyaddr > 32 ? cpu.maxphyaddr - 32 : 0;
      const u32 high_mask = (1u << high_bits) - 1;
      if ((pde >> 13 & 0x1ff) & ~high_mask) return fault(err_p | err_rsvd);
      add_rights(pde);
      gpa = (pde & 0xffc00000) | u64{pde >> 13 & high_mask} << 32;
      return leaf<u32>(pde_at, pde, 1u << 22);
    }
    add_rights(pde);
    if (!set_bits<u32>(pde_at, pde, pte_a)) return Step::again;
    const u64 pte_at = (pde & 0xfffff000) + (linear >> 12 & 1023) * 4;
    const u32 pte = read<u32>(pte_at);
    if (!(pte & pte_p)) return fault(0);
    add_rights(pte);
    gpa = pte & 0xfffff000;
    return leaf<u32>(pte_at, pte, 4096);
  }

  Step go() {
    if (long_mode(cpu)) return four_level_or_pae(false);
    return cpu.s.cr4 & cr4_pae ? four_level_or_pae(true) : two_level();
  }
};

}  // namespace

bool permitted(const SoftCpu& cpu, u64 rights, Access access, TlbKind kind) {
  if (kind == tlb_user) {
    if (!(rights & right_user)) return false;
    if (access == Access::write) return rights & right_write;
    return access == Access::read || !(rights & right_nx);
  }
  if (access == Access::fetch) return !(rights & right_nx) && !((rights & right_user) && (cpu.s.cr4 & cr4_smep));
  if ((rights & right_user) && (cpu.s.cr4 & cr4_smap) && kind != tlb_supervisor_ac) return false;
  return access == Access::read || (rights & right_write) || !(cpu.s.cr0 & cr0_wp);
}

bool walk_tables(SoftCpu& cpu, u64 linear, Access access, TlbKind kind, u64& gpa, u64& rights) {
  if (long_mode(cpu)) {
    if (!canonical(linear)) return raise(cpu, vec_gp, 0);
  } else {
    linear &= 0xffffffff;
  }
  for (;;) {
    Walker walker{cpu, linear, access, kind};
    const Step step = walker.go();
    if (step == Step::again) continue;  // another processor changed the entry: judge it anew
    if (step == Step::fault) return false;
    gpa = walker.gpa;
    rights = walker.rights;
    l2_insert(cpu, linear & ~0xfffull, gpa & ~0xfffull, rights);
    return true;
  }
}

bool translate(SoftCpu& cpu, u64 linear, Access access, TlbKind kind, u64& gpa, u64& rights) {
  if (!(cpu.s.cr0 & cr0_pg)) {
    gpa = linear & 0xffffffff;
    rights = right_write | right_dirty | (kind == tlb_user ? u64{right_user} : 0);
    return true;
  }
  if (const L2Entry* hit = l2_find(cpu, linear & ~0xfffull)) {
    // Rights that do not suffice may be stale: only a walk raises a fault.
    if (permitted(cpu, hit->rights, access, kind) && (access != Access::write || (hit->rights & right_dirty))) {
      ++cpu.count.l2_hits;
      gpa = hit->gpa | (linear & 0xfff);
      rights = hit->rights;
      return true;
    }
  }
  ++cpu.count.walks;
  return walk_tables(cpu, linear, access, kind, gpa, rights);
}

bool translate_fetch(SoftCpu& cpu, u64 linear, u64& gpa, bool* global) {
  u64 rights = 0;
  if (!translate(cpu, linear, Access::fetch, cpl(cpu) == 3 ? tlb_user : tlb_supervisor, gpa, rights)) return false;
  if (global) *global = rights & right_global;
  return true;
}

bool walk(SoftCpu& cpu, u64 linear, Access access, TlbKind kind, Walk& out) {
  u64 rights = 0;
  if (!translate(cpu, linear, access, kind, out.gpa, rights)) return false;
  out.writable = (rights & right_dirty) && permitted(cpu, rights, Access::write, kind);
  out.user = rights & right_user;
  out.global = rights & right_global;
  out.page_size = rights & right_1g   ? 1u << 30
                  : rights & right_2m ? (long_mode(cpu) || (cpu.s.cr4 & cr4_pae) ? 1u << 21 : 1u << 22)
                                      : 4096;
  return true;
}

bool pdptes_valid(SoftCpu& cpu, u64 cr3) {
  const u64 reserved = 0xfff0000000000000 | (address_field & ~((1ull << cpu.maxphyaddr) - 1)) | 0x1e6;
  const u64 at = cr3 & 0xffffffe0;
  const u8* page = ram_page(cpu, at & ~0xfffull, false);
  if (!page) return false;
  for (unsigned i = 0; i < 4; i++) {
    const u64 entry = __atomic_load_n(reinterpret_cast<const u64*>(page + (at & 0xfff)) + i, __ATOMIC_RELAXED);
    if ((entry & pte_p) && (entry & reserved)) return false;
  }
  return true;
}

}  // namespace nagaya::engine::soft
