#include "engine/soft/direct_pages.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "engine/soft/direct_scan.hpp"
#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/blocks.hpp"
#include "engine/soft/light/paging.hpp"
#include "engine/soft/light/tlb.hpp"

namespace nagaya::engine::soft {
namespace {

using direct::user_end;
constexpr u64 page_bytes = 4096, large_bytes = 2 * MiB;
constexpr u64 most_tables = 32;  // read ahead at once
/// Pieces that lie apart in guest memory cost a call each: so many are mapped around a page that faulted, and twice as many each time
/// that another faults soon, times the tables read.
constexpr u64 first_pieces = 8, most_pieces = 64;

const MemorySlot* slot_of(const CodeShared& shared, u64 gpa) {
  for (u32 i = 0; i < shared.slot_count; ++i)
    if (gpa - shared.slots[i].gpa < shared.slots[i].size) return &shared.slots[i];
  return nullptr;
}

/// Whether stores to [gpa, gpa + size) may go by unseen. Says first that they may come, then looks: who marks a page looks for that.
bool claim_writes(CodeShared& shared, u64 gpa, u64 size) {
  for (u64 page = gpa >> 12; page < (gpa + size) >> 12; ++page) {
    if (page >= shared.page_limit) return false;
    if (__atomic_load_n(&shared.page_flags[page], __ATOMIC_SEQ_CST) & page_special) return false;
  }
  bool free = true;
  for (u64 page = gpa >> 12; page < (gpa + size) >> 12; ++page)
    if (__atomic_fetch_or(&shared.page_flags[page], page_direct, __ATOMIC_SEQ_CST) & page_special) free = false;
  return free;
}

/// The last level of the tables for `linear`, as the processor would read it, without effects. Null: not there, or not four levels down.
const u64* last_table(SoftCpu& cpu, u64 linear, bool& write, bool& execute) {
  constexpr u64 present = 1, writable = 2, user = 4, accessed = 0x20, large = 0x80, nx = 1ull << 63, address = 0x000ffffffffff000;
  write = execute = true;
  u64 table = cpu.s.cr3 & address;
  for (int level = 3; level > 0; --level) {
    const u8* page = ram_page(cpu, table, false);
    if (!page) return nullptr;
    const u64 entry = __atomic_load_n(reinterpret_cast<const u64*>(page) + (linear >> (12 + 9 * level) & 511), __ATOMIC_RELAXED);
    if ((entry & (present | user | accessed)) != (present | user | accessed) || (entry & large)) return nullptr;
    if (!(entry & writable)) write = false;
    if (entry & nx) execute = false;
    table = entry & address;
  }
  return reinterpret_cast<const u64*>(ram_page(cpu, table, false));
}

}  // namespace

const DirectPages::Rights* DirectPages::find(u64 page) const {
  if (const auto it = small_.find(page); it != small_.end()) return &it->second;
  if (const auto it = large_.find(page & ~(large_bytes - 1)); it != large_.end()) return &it->second;
  return nullptr;
}

bool DirectPages::drop_all(SoftCpu& cpu) {
  cpu.sys.direct_stamp = 0;
  cpu.sys.direct_dropped_count = 0;
  if (small_.empty() && large_.empty()) return true;
  ++drops;
  small_.clear();
  large_.clear();
  calls_ = 0;
  const u64 own = process_.own_page(), behind = own + 2 * page_bytes;
  const direct::MapCall calls[] = {direct::MapCall::unmap(0, own), direct::MapCall::unmap(behind, user_end - behind)};
  return process_.change(calls).has_value();
}

bool DirectPages::sync(SoftCpu& cpu) {
  in_a_row_ = 0;
  SystemCache& sys = cpu.sys;
  const u64 stamp = l2_stamp(cpu);
  if (sys.direct_stamp != stamp || sys.direct_dropped_count > std::size(sys.direct_dropped)) {
    if (!drop_all(cpu)) return false;
    sys.direct_stamp = stamp;
  }
  std::vector<direct::MapCall> calls;
  for (u32 i = 0; i < sys.direct_dropped_count; ++i) {
    const u64 page = sys.direct_dropped[i];
    if (page >= user_end) continue;
    if (small_.erase(page)) calls.push_back(direct::MapCall::unmap(page, page_bytes));
    const u64 large = page & ~(large_bytes - 1);
    if (large_.erase(large)) {
      std::erase_if(small_, [&](const auto& item) { return item.first - large < large_bytes; });
      calls.push_back(direct::MapCall::unmap(large, large_bytes));
    }
  }
  sys.direct_dropped_count = 0;
  return process_.change(calls).has_value();
}

bool DirectPages::describe(SoftCpu& cpu, u64 page, u64 gpa, u64 rights, bool fetch, Mapping& out) const {
  if (!(rights & right_user) || (rights & right_global)) return false;
  CodeShared& shared = *cpu.shared;
  out = {page, gpa, page_bytes, {}};
  if (rights & right_2m) {
    const u64 large = page & ~(large_bytes - 1), large_gpa = gpa - (page - large);
    const MemorySlot* slot = slot_of(shared, large_gpa);
    const u64 own = process_.own_page();
    if (slot && slot->gpa + slot->size >= large_gpa + large_bytes && large_gpa % large_bytes == 0 && (own < large || own - large >= large_bytes) &&
        (!(rights & right_write) || !(rights & right_dirty) || claim_writes(shared, large_gpa, large_bytes)) && !fetch) {
      out = {large, large_gpa, large_bytes, {}};
      out.rights.write = (rights & right_write) && (rights & right_dirty);
    }
  }
  const MemorySlot* slot = slot_of(shared, out.gpa);
  if (!slot || slot->fd < 0 || (page ^ process_.own_page()) < 2 * page_bytes) return false;
  if (out.size == large_bytes) return !slot->readonly || !out.rights.write;
  out.rights.scanned = fetch;
  if (fetch && !(rights & right_nx)) out.rights.execute = !shows_host({slot->hva + (gpa - slot->gpa), page_bytes});
  if (!out.rights.execute) out.rights.write = (rights & right_write) && (rights & right_dirty) && !slot->readonly && claim_writes(shared, gpa, page_bytes);
  return true;
}

void DirectPages::around(SoftCpu& cpu, const Mapping& first) {
  // A program that goes through memory in one direction gets twice as much each time.
  const u64 begin = first.page & ~(large_bytes - 1);
  tables_ = begin == next_ ? std::min(2 * tables_, most_tables) : 1;
  next_ = begin + tables_ * large_bytes;
  const u64 pieces = first_pieces << std::min<u64>(in_a_row_++, 3);
  static_assert(first_pieces << 3 == most_pieces);
  budget_ = pieces * tables_;
  for (u64 at = begin; at < next_ && at < user_end; at += large_bytes) {
    bool write = false, execute = false;
    const u64* table = last_table(cpu, at, write, execute);
    if (table && budget_ != 0) whole_table(cpu, table, at, write, execute, first);
  }
}

void DirectPages::whole_table(SoftCpu& cpu, const u64* table, u64 begin, bool write, bool execute, const Mapping& first) {
  // From the page that faulted on; what lies before it may never be met again.
  for (u64 page = std::max(begin, first.page); page < begin + large_bytes && page < user_end; page += page_bytes) {
    constexpr u64 needed = 1 | 4 | 0x20, global = 0x100, nx = 1ull << 63;
    const u64 entry = __atomic_load_n(table + (page >> 12 & 511), __ATOMIC_RELAXED);
    if ((entry & needed) != needed || (entry & global) || page == first.page || find(page)) continue;
    u64 rights = right_user;
    if (write && (entry & 2)) rights |= right_write;
    if (entry & 0x40) rights |= right_dirty;
    if (!execute || (entry & nx)) rights |= right_nx;
    Mapping other;
    if (describe(cpu, page, entry & 0x000ffffffffff000, rights, first.rights.execute && !(rights & right_nx), other)) {
      const Mapping& last = wanted_.back();
      if ((last.page + last.size != page || last.gpa + last.size != other.gpa) && --budget_ == 0) return;
      wanted_.push_back(other);
    }
  }
}

bool DirectPages::apply(SoftCpu& cpu) {
  std::ranges::sort(wanted_, {}, &Mapping::page);
  std::vector<direct::MapCall> calls;
  for (std::size_t i = 0; i < wanted_.size();) {
    const Mapping& from = wanted_[i];
    u64 size = from.size;
    std::size_t next = i + 1;
    const MemorySlot* slot = slot_of(*cpu.shared, from.gpa);
    while (next < wanted_.size() && wanted_[next].page == from.page + size && wanted_[next].gpa == from.gpa + size &&
           wanted_[next].rights.write == from.rights.write && wanted_[next].rights.execute == from.rights.execute &&
           from.gpa + size < slot->gpa + slot->size) {
      size += wanted_[next++].size;
    }
    const int protection = PROT_READ | (from.rights.write ? PROT_WRITE : 0) | (from.rights.execute ? PROT_EXEC : 0);
    calls.push_back(direct::MapCall::map(from.page, size, protection, slot->fd, slot->fd_offset + (from.gpa - slot->gpa), true));
    i = next;
  }
  calls_ += calls.size();
  pieces += calls.size();
  if (!process_.change(calls)) return false;
  for (const Mapping& m : wanted_) {
    if (m.size == large_bytes) {
      std::erase_if(small_, [&](const auto& item) { return item.first - m.page < large_bytes; });
      large_[m.page] = m.rights;
    } else {
      small_[m.page] = m.rights;
    }
  }
  mapped += wanted_.size();
  wanted_.clear();
  return true;
}

DirectPages::Fixed DirectPages::fix(SoftCpu& cpu, u64 address, u64 rip) {
  const u64 page = address & ~(page_bytes - 1);
  if (page >= user_end || page < 16 * page_bytes) return Fixed::no;  // the host lets nobody map the lowest pages
  const bool fetch = address == rip || (page > rip && page - rip < 15 && address == page);
  const Rights* has = find(page);
  if (has && fetch && (has->execute || has->scanned)) return Fixed::no;  // what is on it must be translated
  // What is mapped and yet faults was written to, unless it is to be executed.
  const bool write = has && !fetch;
  if (has && write && has->write) return Fixed::no;
  if (full()) return Fixed::no;
  const u64 cr2 = cpu.s.cr2;
  u64 gpa = 0, rights = 0;
  const Access access = write ? Access::write : fetch ? Access::fetch : Access::read;
  const bool allowed = translate(cpu, address, access, tlb_user, gpa, rights);
  if (!allowed || cpu.need_heavy) {
    // The translated instruction will meet it again.
    cpu.fault = {};
    cpu.s.cr2 = cr2;
    cpu.need_heavy = false;
    return Fixed::no;
  }
  Mapping first;
  if (!describe(cpu, page, gpa & ~(page_bytes - 1), rights, fetch, first)) return Fixed::no;
  if ((write && !first.rights.write) || (fetch && !first.rights.execute)) return Fixed::no;
  wanted_.assign(1, first);
  if (first.size == page_bytes && !has) around(cpu, first);
  return apply(cpu) ? Fixed::yes : Fixed::failed;
}

}  // namespace nagaya::engine::soft
