// TLB and jump-cache bookkeeping. A flush costs what was used since the last one: the inline tables keep logs of their
// filled entries, the second level only changes stamps.
#include "engine/soft/light/tlb.hpp"

#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/mode.hpp"
#include "engine/soft/light/paging.hpp"
#include "engine/soft/light/watch.hpp"

namespace nagaya::engine::soft {
namespace {

enum TlbFlag : u8 { in_log = 1, in_global_log = 2, is_global = 4 };
constexpr u32 log_size = 2048;  // entries of one inline-TLB log; a count above it means "overflowed"
constexpr u32 jump_log_size = 4096, jump_global_log_size = 16384;

// Stores to the inline tables are visible one by one: another thread may be scanning them in tlb_protect_gpa().
void put(u64& where, u64 value) { __atomic_store_n(&where, value, __ATOMIC_RELAXED); }

void reset_entry(SoftCpu& cpu, unsigned kind, u64 index) {
  TlbEntry& e = cpu.tlb[kind][index];
  put(e.negtag_read, miss_tag(index));
  put(e.negtag_write, miss_tag(index));
}

void log_entry(u32& count, u16* log, u64 index) {
  if (count < log_size) {
    __atomic_store_n(&log[count], static_cast<u16>(index), __ATOMIC_RELAXED);
    __atomic_store_n(&count, count + 1, __ATOMIC_RELEASE);
  } else {
    __atomic_store_n(&count, log_size + 1, __ATOMIC_RELEASE);
  }
}

void flush_inline_nonglobal(SoftCpu& cpu, unsigned kind) {
  SystemCache& sys = cpu.sys;
  u32& count = cpu.tlb_log_count[kind];
  const bool all = count > log_size;
  const u32 n = all ? tlb_entries : count;
  for (u32 i = 0; i < n; i++) {
    const u64 index = all ? i : cpu.tlb_log[kind][i];
    u8& flags = sys.tlb_flags[kind][index];
    if (!(flags & is_global)) reset_entry(cpu, kind, index);
    flags &= static_cast<u8>(~in_log);
  }
  __atomic_store_n(&count, 0, __ATOMIC_RELEASE);
}

void flush_inline(SoftCpu& cpu, unsigned kind) {
  SystemCache& sys = cpu.sys;
  u32& global_count = sys.tlb_global_log_count[kind];
  const bool all = global_count > log_size;
  const u32 n = all ? tlb_entries : global_count;
  for (u32 i = 0; i < n; i++) {
    const u64 index = all ? i : sys.tlb_global_log[kind][i];
    reset_entry(cpu, kind, index);
    sys.tlb_flags[kind][index] &= in_log;
  }
  __atomic_store_n(&global_count, 0, __ATOMIC_RELEASE);
  flush_inline_nonglobal(cpu, kind);
}

// A miss value is the tag of a RIP that belongs to another index.
void reset_jump(SoftCpu& cpu, u32 mode, u32 index) { cpu.jump[mode][index].neg_rip = 0 - u64{index ^ 1}; }
bool jump_missing(const JumpEntry& e, u32 index) { return e.neg_rip == 0 - u64{index ^ 1}; }

void flush_jump_nonglobal(SoftCpu& cpu) {
  const u32 n = cpu.jump_log_count < jump_log_size ? cpu.jump_log_count : jump_log_size;
  for (u32 i = 0; i < n; i++) reset_jump(cpu, cpu.jump_log[i] >> 16, cpu.jump_log[i] & 0xffff);
  cpu.jump_log_count = 0;
}

// A loop would become a call of memset.
void clear_words(u64* words, u64 count) { asm volatile("rep stosq" : "+D"(words), "+c"(count) : "a"(0ull) : "memory"); }

constexpr u32 page_hash(u64 page_number, u32 bits) {
  return static_cast<u32>((page_number * 0x9e3779b97f4a7c15) >> (64 - bits));
}
void filter_set(u64* words, u32 hash) { words[hash >> 6] |= 1ull << (hash & 63); }
bool filter_get(const u64* words, u32 hash) { return words[hash >> 6] >> (hash & 63) & 1; }

u32 l2_set(u64 page) { return page_hash(page >> 12, 11); }
static_assert(l2_sets == 1u << 11);

unsigned current_pcid(const SoftCpu& cpu) { return cpu.s.cr4 & cr4_pcide ? cpu.s.cr3 & 0xfff : 0; }

void drop_all_stamps(SoftCpu& cpu) {
  cpu.sys.stamp_floor = ++cpu.sys.stamp_counter;
  cpu.sys.global_stamp = ++cpu.sys.stamp_counter;
}

void clear_large_filters(SoftCpu& cpu) {
  clear_words(cpu.sys.large_2m, sizeof cpu.sys.large_2m / 8);
  clear_words(cpu.sys.large_1g, sizeof cpu.sys.large_1g / 8);
}

bool within_large_page(const SoftCpu& cpu, u64 linear) {
  return filter_get(cpu.sys.large_2m, page_hash(linear >> 21, 10)) ||
         filter_get(cpu.sys.large_1g, page_hash(linear >> 30, 10));
}

// Drops one 4 KiB page from the inline tables and those L2 ways that `stamp` or the global stamp keep alive.
void drop_page(SoftCpu& cpu, u64 page, u64 stamp) {
  const u64 index = tlb_index(page);
  for (unsigned kind = 0; kind < tlb_kinds; kind++) {
    const TlbEntry& e = cpu.tlb[kind][index];
    if (e.negtag_read + page == 0 || e.negtag_write + page == 0) reset_entry(cpu, kind, index);
  }
  for (L2Entry& e : cpu.sys.l2[l2_set(page)])
    if (e.page == page && (e.stamp == stamp || e.stamp == cpu.sys.global_stamp)) e.stamp = 0;
  const u64 number = page >> 12;
  if (filter_get(cpu.sys.jump_pages, page_hash(number, 14)) ||
      filter_get(cpu.sys.jump_pages, page_hash(number - 1, 14)))
    jump_flush(cpu);
}

}  // namespace

void tlb_init(SoftCpu& cpu) {
  forget_fast_modes(cpu);
  for (unsigned kind = 0; kind < tlb_kinds; kind++) {
    for (u64 i = 0; i < tlb_entries; i++) {
      reset_entry(cpu, kind, i);
      cpu.sys.tlb_flags[kind][i] = 0;
    }
    cpu.tlb_log_count[kind] = 0;
    cpu.sys.tlb_global_log_count[kind] = 0;
  }
  // A zero neg_rip can only be hit by RIP 0, at index 0.
  for (u32 mode = 0; mode < max_modes; mode++) reset_jump(cpu, mode, 0);
  cpu.jump_log_count = 0;
  cpu.sys.jump_global_log_count = 0;
  drop_all_stamps(cpu);
}

void tlb_rights_changed(SoftCpu& cpu) {
  cpu.count.count(Flush::rights);
  for (unsigned kind = 0; kind < tlb_kinds; kind++) flush_inline(cpu, kind);
}

void tlb_flush_all(SoftCpu& cpu) {
  forget_fast_modes(cpu);
  cpu.count.count(Flush::all);
  tlb_rights_changed(cpu);
  jump_flush(cpu);
  drop_all_stamps(cpu);
  clear_large_filters(cpu);
}

void tlb_flush_all_nonglobal(SoftCpu& cpu) {
  cpu.count.count(Flush::all_nonglobal);
  for (unsigned kind = 0; kind < tlb_kinds; kind++) flush_inline_nonglobal(cpu, kind);
  flush_jump_nonglobal(cpu);
  cpu.sys.stamp_floor = ++cpu.sys.stamp_counter;
}

void tlb_flush_pcid(SoftCpu& cpu, unsigned pcid) {
  cpu.count.count(Flush::pcid);
  cpu.sys.pcid_stamp[pcid & 0xfff] = 0;
  if (pcid != current_pcid(cpu)) return;
  for (unsigned kind = 0; kind < tlb_kinds; kind++) flush_inline_nonglobal(cpu, kind);
  flush_jump_nonglobal(cpu);
}

void tlb_flush_nonglobal(SoftCpu& cpu) { tlb_flush_pcid(cpu, current_pcid(cpu)); }

void load_cr3(SoftCpu& cpu, u64 value, bool keep) {
  const bool same = cpu.s.cr3 == (value & ~(1ull << 63));
  if (same && keep) return;
  cpu.count.count(Flush::cr3);
  cpu.s.cr3 = value & ~(1ull << 63);
  // The inline tables hold the old address space in any case.
  if (!keep) cpu.sys.pcid_stamp[current_pcid(cpu)] = 0;
  for (unsigned kind = 0; kind < tlb_kinds; kind++) flush_inline_nonglobal(cpu, kind);
  flush_jump_nonglobal(cpu);
}

void tlb_flush_page(SoftCpu& cpu, u64 linear) { tlb_flush_page_pcid(cpu, linear, current_pcid(cpu)); }

void tlb_flush_page_pcid(SoftCpu& cpu, u64 linear, unsigned pcid) {
  cpu.count.count(Flush::page);
  if (within_large_page(cpu, linear)) return tlb_flush_all(cpu);
  const u64 stamp = cpu.sys.pcid_stamp[pcid & 0xfff];
  if (stamp == cpu.sys.direct_stamp) {
    const u32 n = cpu.sys.direct_dropped_count;
    if (n < sizeof cpu.sys.direct_dropped / 8) cpu.sys.direct_dropped[n] = linear & ~0xfffull;
    cpu.sys.direct_dropped_count = n + 1;
  }
  drop_page(cpu, linear & ~0xfffull, stamp);
}

void tlb_protect_gpa(SoftCpu& cpu, u64 gpa_page) {
  const u64 host = reinterpret_cast<u64>(ram_page(cpu, gpa_page, false));
  if (!host) return;
  const auto protect = [&](unsigned kind, u64 index) {
    TlbEntry& e = cpu.tlb[kind][index];
    if (__atomic_load_n(&e.host, __ATOMIC_RELAXED) == host) put(e.negtag_write, miss_tag(index));
  };
  for (unsigned kind = 0; kind < tlb_kinds; kind++) {
    const u32 count = __atomic_load_n(&cpu.tlb_log_count[kind], __ATOMIC_ACQUIRE);
    const u32 global_count = __atomic_load_n(&cpu.sys.tlb_global_log_count[kind], __ATOMIC_ACQUIRE);
    if (count > log_size || global_count > log_size) {
      for (u64 i = 0; i < tlb_entries; i++) protect(kind, i);
      continue;
    }
    for (u32 i = 0; i < count; i++) protect(kind, cpu.tlb_log[kind][i]);
    for (u32 i = 0; i < global_count; i++) protect(kind, cpu.sys.tlb_global_log[kind][i]);
  }
}

bool tlb_set(SoftCpu& cpu, TlbKind kind, u64 page, u64 gpa_page, u8* host, bool writable, bool global) {
  const u64 index = tlb_index(page);
  TlbEntry& e = cpu.tlb[kind][index];
  u8& flags = cpu.sys.tlb_flags[kind][index];
  reset_entry(cpu, kind, index);
  if (global) {
    if (!(flags & in_global_log)) log_entry(cpu.sys.tlb_global_log_count[kind], cpu.sys.tlb_global_log[kind], index);
    flags |= in_global_log | is_global;
  } else {
    if (!(flags & in_log)) log_entry(cpu.tlb_log_count[kind], cpu.tlb_log[kind], index);
    flags = static_cast<u8>((flags | in_log) & ~is_global);
  }
  put(e.host, reinterpret_cast<u64>(host));
  put(e.addend, reinterpret_cast<u64>(host) - page);
  // Accesses to a page with a breakpoint on data are looked at one by one; its stores may meet any mark later.
  if ((cpu.s.dr7 & 0xff) && page_watched(cpu, page)) return !writable;
  put(e.negtag_read, 0 - page);
  if (!writable) return true;
  put(e.negtag_write, 0 - page);
  // Who makes a page special sets its mark, then looks for write tags; we set the tag, then look for the mark.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (!page_is_special(cpu, gpa_page)) return true;
  put(e.negtag_write, miss_tag(index));
  return false;
}

u64 l2_stamp(SoftCpu& cpu) {
  u64& stamp = cpu.sys.pcid_stamp[current_pcid(cpu)];
  if (stamp <= cpu.sys.stamp_floor) stamp = ++cpu.sys.stamp_counter;
  return stamp;
}

const L2Entry* l2_find(SoftCpu& cpu, u64 page) {
  const u64 stamp = l2_stamp(cpu);
  for (const L2Entry& e : cpu.sys.l2[l2_set(page)])
    if (e.page == page && (e.stamp == stamp || e.stamp == cpu.sys.global_stamp)) return &e;
  return nullptr;
}

void l2_insert(SoftCpu& cpu, u64 page, u64 gpa, u64 rights) {
  const u64 stamp = l2_stamp(cpu);
  const u32 set = l2_set(page);
  L2Entry* slot = nullptr;
  for (L2Entry& e : cpu.sys.l2[set]) {
    if (e.page == page && (e.stamp == stamp || e.stamp == cpu.sys.global_stamp)) {
      // Never two live entries for one page.
      if (slot) slot->stamp = 0;
      slot = &e;
    }
  }
  if (!slot) slot = &cpu.sys.l2[set][cpu.sys.l2_next_way[set]++ % l2_ways];
  *slot = {page, gpa, rights & right_global ? cpu.sys.global_stamp : stamp, rights};
  if (rights & right_2m) {  // both halves of what may be a 4 MiB page
    filter_set(cpu.sys.large_2m, page_hash(page >> 21, 10));
    filter_set(cpu.sys.large_2m, page_hash(page >> 21 ^ 1, 10));
  }
  if (rights & right_1g) filter_set(cpu.sys.large_1g, page_hash(page >> 30, 10));
}

void jump_insert(SoftCpu& cpu, unsigned mode, u64 rip, u64 linear, const void* code, bool global) {
  const u32 index = rip & 0xffff;
  JumpEntry& e = cpu.jump[mode][index];
  // The log a live entry is in is known from its RIP's half: a lower-half one is never in the global log.
  const bool upper = rip >> 63;
  global = global && upper;
  const bool live = e.neg_rip && !jump_missing(e, index);
  const bool old_upper = live && (0 - e.neg_rip) >> 63;
  const bool logged = live && (global || !old_upper);
  if (!logged) {
    if (global ? cpu.sys.jump_global_log_count >= jump_global_log_size : cpu.jump_log_count >= jump_log_size)
      jump_flush(cpu);
    if (global)
      cpu.sys.jump_global_log[cpu.sys.jump_global_log_count++] = mode << 16 | index;
    else
      cpu.jump_log[cpu.jump_log_count++] = mode << 16 | index;
  }
  e.code = code;
  e.neg_rip = 0 - rip;
  filter_set(cpu.sys.jump_pages, page_hash(linear >> 12, 14));
}

namespace {
u32 tag_index(u64 rip, u32 mode) { return page_hash(rip * max_modes + mode, 14); }
static_assert(jump_tag_entries == 1u << 14);
}  // namespace

const void* jump_recall(SoftCpu& cpu, u32 mode, u64 rip, bool& global) {
  const JumpTag& t = cpu.sys.jump_tags[tag_index(rip, mode)];
  if (t.rip != rip || t.mode != mode || t.generation != cpu.sys.jump_generation) return nullptr;
  global = t.stamp == cpu.sys.global_stamp;
  return global || t.stamp == l2_stamp(cpu) ? t.code : nullptr;
}

void jump_remember(SoftCpu& cpu, u32 mode, u64 rip, const void* code, bool global) {
  cpu.sys.jump_tags[tag_index(rip, mode)] = {rip, global ? cpu.sys.global_stamp : l2_stamp(cpu), code, mode, cpu.sys.jump_generation};
}

void jump_flush(SoftCpu& cpu) {
  ++cpu.sys.jump_generation;
  cpu.count.count(Flush::jump);
  flush_jump_nonglobal(cpu);
  for (u32 i = 0; i < cpu.sys.jump_global_log_count; i++)
    reset_jump(cpu, cpu.sys.jump_global_log[i] >> 16, cpu.sys.jump_global_log[i] & 0xffff);
  cpu.sys.jump_global_log_count = 0;
  clear_words(cpu.sys.jump_pages, sizeof cpu.sys.jump_pages / 8);
}

}  // namespace nagaya::engine::soft
