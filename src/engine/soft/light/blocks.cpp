#include "engine/soft/light/blocks.hpp"

#include "engine/soft/system.hpp"

namespace nagaya::engine::soft {
namespace {

std::atomic<u64>* line_of(const CodeShared& shared, u64 hash) { return shared.index + (hash >> 49) * index_ways; }
static_assert(index_lines == 1u << (64 - 49));
u64 entry_of(const CodeShared& shared, u64 hash, const Block& block) {
  return hash << 32 | static_cast<u32>((reinterpret_cast<const u8*>(&block) - shared.records) / record_unit);
}
Block& block_of(const CodeShared& shared, u64 entry) { return *reinterpret_cast<Block*>(shared.records + (entry & 0xffffffff) * record_unit); }
std::atomic<Block*>& chain_of(const CodeShared& shared, u64 hash) { return shared.chains[hash >> 52]; }
static_assert(block_chains == 1u << (64 - 52));

bool matches(const Block& b, u64 gpa, u32 mode_index, u64 gpa2) {
  return b.gpa == gpa && b.mode_index == mode_index && !b.dead && (gpa2 == ~0ull || b.gpa2 == ~0ull || b.gpa2 == gpa2);
}

/// With the lock held.
void index_insert(CodeShared& shared, Block& block) {
  const u64 hash = block_hash(block.gpa, block.mode_index);
  std::atomic<u64>* line = line_of(shared, hash);
  for (unsigned i = 0; i < index_ways; ++i) {
    if (line[i].load(std::memory_order_relaxed)) continue;
    line[i].store(entry_of(shared, hash, block), std::memory_order_release);
    return;
  }
  std::atomic<Block*>& chain = chain_of(shared, hash);
  block.hash_next.store(chain.load());
  chain.store(&block, std::memory_order_release);
}

void index_remove(CodeShared& shared, Block& block) {
  const u64 hash = block_hash(block.gpa, block.mode_index), entry = entry_of(shared, hash, block);
  std::atomic<u64>* line = line_of(shared, hash);
  for (unsigned i = 0; i < index_ways; ++i) {
    if (line[i].load(std::memory_order_relaxed) == entry) return line[i].store(0, std::memory_order_release);
  }
  auto* prev = &chain_of(shared, hash);
  for (Block* b = prev->load(); b; prev = &b->hash_next, b = b->hash_next.load()) {
    if (b != &block) continue;
    prev->store(block.hash_next.load());  // block.hash_next stays for readers inside the chain
    return;
  }
}

template <class T>
void store_code(const CodeShared& shared, const u8* rx, T value) {
  auto* rw = reinterpret_cast<T*>(const_cast<u8*>(rx) + shared.rw_minus_rx);
  __atomic_store_n(rw, value, __ATOMIC_RELEASE);
}

void point(const CodeShared& shared, const LinkSite& site, const u8* target) {
  const u8* rel32 = site.owner->code + site.rel32;
  store_code<u32>(shared, rel32, static_cast<u32>(target - (rel32 + 4)));
}

void unchain(LinkSite& site) {
  *static_cast<Near<LinkSite>*>(site.prev_in) = site.next_in;
  if (site.next_in) site.next_in->prev_in = site.prev_in;
  site.target = nullptr;
  site.next_in = nullptr;
  site.prev_in = nullptr;
}

/// With the lock held. A page that is being translated stays marked: its block is not in the list yet.
void unmark_if_empty(CodeShared& shared, u64 page) {
  if (shared.page_blocks[page] || shared.pending[0].page == page || shared.pending[1].page == page) return;
  __atomic_and_fetch(&shared.page_flags[page], static_cast<u8>(~page_has_code), __ATOMIC_SEQ_CST);
}

void unlink_from_page(CodeShared& shared, u64 page, Block& block) {
  Block* before = nullptr;
  const auto next_of = [&](Block& b) -> Near<Block>& { return b.page_next[b.gpa >> 12 == page ? 0 : 1]; };
  for (Block* b = shared.page_blocks[page]; b; before = b, b = next_of(*b)) {
    if (b != &block) continue;
    Block* after = next_of(*b);
    before ? static_cast<void>(next_of(*before) = after) : static_cast<void>(shared.page_blocks[page] = after);
    break;
  }
  unmark_if_empty(shared, page);
}

/// With the lock held: takes a block out of every structure and makes its entries lead to the lookup.
void kill_block(CodeShared& shared, Block& block) {
  block.dead = true;
  index_remove(shared, block);
  if (block.gpa >> 12 < shared.page_limit) unlink_from_page(shared, block.gpa >> 12, block);
  if (block.gpa2 >> 12 < shared.page_limit) unlink_from_page(shared, block.gpa2 >> 12, block);
  while (LinkSite* site = block.in) {
    point(shared, *site, site->owner->code + site->stub);
    unchain(*site);
  }
  // The first 5 of the 8 aligned bytes at the indirect entry become a jump to the lookup; RIP is in R11 there.
  const u8* entry = block.code + block.indirect_entry;
  u64 head = *reinterpret_cast<const u64*>(entry);
  const u32 rel = static_cast<u32>(shared.lookup - (entry + 5));
  head = (head & ~0xffffffffffull) | 0xe9 | static_cast<u64>(rel) << 8;
  store_code<u64>(shared, entry, head);
  shared.dropped.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

Block* find_block(CodeShared& shared, u64 gpa, u32 mode_index, u64 gpa2) {
  const u64 hash = block_hash(gpa, mode_index);
  const std::atomic<u64>* line = line_of(shared, hash);
  for (unsigned i = 0; i < index_ways; ++i) {
    const u64 entry = line[i].load(std::memory_order_acquire);
    if (entry == 0 || entry >> 32 != (hash & 0xffffffff)) continue;
    Block& b = block_of(shared, entry);
    if (matches(b, gpa, mode_index, gpa2)) return &b;
  }
  for (Block* b = chain_of(shared, hash).load(std::memory_order_acquire); b; b = b->hash_next.load(std::memory_order_acquire)) {
    if (matches(*b, gpa, mode_index, gpa2)) return b;
  }
  return nullptr;
}

void begin_translation(CodeShared& shared, unsigned part, u64 gpa_page) {
  {
    SpinGuard guard(shared.lock);
    shared.pending[part] = {gpa_page >> 12, 4096, 0};
  }
  mark_code_page(shared, gpa_page);
}

void end_translation(CodeShared& shared) {
  SpinGuard guard(shared.lock);
  for (PendingPage& p : shared.pending) {
    const u64 page = p.page;
    p = {};
    if (page < shared.page_limit) unmark_if_empty(shared, page);
  }
}

bool insert_block(CodeShared& shared, Block& block) {
  SpinGuard guard(shared.lock);
  const u64 page = block.gpa >> 12, page2 = block.gpa2 >> 12;
  for (const PendingPage& p : shared.pending) {
    const bool stale = (p.page == page && p.lo < block.dep_hi && block.dep_lo < p.hi) ||
                       (block.gpa2 != ~0ull && p.page == page2 && p.lo < block.dep2_hi);
    if (stale) {
      block.dead = true;
      return false;
    }
  }
  if (page < shared.page_limit) {
    block.page_next[0] = shared.page_blocks[page];
    shared.page_blocks[page] = &block;
  }
  if (block.gpa2 != ~0ull && page2 != page && page2 < shared.page_limit) {
    block.page_next[1] = shared.page_blocks[page2];
    shared.page_blocks[page2] = &block;
  }
  index_insert(shared, block);
  return true;
}

void link(CodeShared& shared, LinkSite& site, Block& target) {
  SpinGuard guard(shared.lock);
  if (site.owner->dead || target.dead || site.target) return;
  site.target = &target;
  site.next_in = target.in;
  site.prev_in = &target.in;
  if (target.in) target.in->prev_in = &site.next_in;
  target.in = &site;
  point(shared, site, target.code + (site.checked ? target.checked_entry : target.entry));
}

void retire_block(CodeShared& shared, Block& block) {
  SpinGuard guard(shared.lock);
  if (!block.dead) kill_block(shared, block);
  for (LinkSite* site = block.own; site; site = site->next_own)
    if (site->target) unchain(*site);
}

void mark_code_page(CodeShared& shared, u64 gpa_page) {
  const u64 page = gpa_page >> 12;
  if (page >= shared.page_limit) return;
  const u8 before = __atomic_fetch_or(&shared.page_flags[page], page_has_code, __ATOMIC_SEQ_CST);
  if (before & page_has_code) return;
  const u32 count = shared.cpu_count.load();
  for (u32 i = 0; i < count; ++i) tlb_protect_gpa(*shared.cpus[i], gpa_page);
}

bool drop_blocks(CodeShared& shared, u64 gpa, u64 size) {
  if (size == 0) return false;
  bool any = false;
  const u64 last = (gpa + size - 1) >> 12;
  for (u64 page = gpa >> 12; page <= last && page < shared.page_limit; ++page) {
    if (!(__atomic_load_n(&shared.page_flags[page], __ATOMIC_SEQ_CST) & page_has_code)) continue;
    const u64 lo = page == gpa >> 12 ? gpa & 0xfff : 0;
    const u64 hi = page == last ? ((gpa + size - 1) & 0xfff) + 1 : 4096;
    SpinGuard guard(shared.lock);
    for (PendingPage& p : shared.pending) {
      if (p.page != page) continue;
      if (lo < p.lo) p.lo = lo;
      if (hi > p.hi) p.hi = hi;
    }
    for (Block* b = shared.page_blocks[page]; b;) {
      // Both parts of a crossing instruction may be on one physical page.
      const bool first = b->gpa >> 12 == page, second = b->gpa2 >> 12 == page;
      Block* next = b->page_next[first ? 0 : 1];
      if ((first && b->dep_lo < hi && lo < b->dep_hi) || (second && lo < b->dep2_hi)) kill_block(shared, *b), any = true;
      b = next;
    }
  }
  return any;
}

u8* slot_address(const CodeShared& shared, u64 gpa, bool write) {
  for (u32 i = 0; i < shared.slot_count; ++i) {
    const MemorySlot& m = shared.slots[i];
    if (gpa - m.gpa < m.size) return write && m.readonly ? nullptr : m.hva + (gpa - m.gpa);
  }
  return nullptr;
}

u8* ram_page(SoftCpu& cpu, u64 gpa, bool write) { return slot_address(*cpu.shared, gpa & ~0xfffull, write); }

bool page_is_special(SoftCpu& cpu, u64 gpa_page) {
  const u64 page = gpa_page >> 12;
  return page < cpu.shared->page_limit && (__atomic_load_n(&cpu.shared->page_flags[page], __ATOMIC_SEQ_CST) & page_special) != 0;
}

void store_special(SoftCpu& cpu, u64 gpa, unsigned size) {
  if (size == 0) return;
  CodeShared& shared = *cpu.shared;
  const u64 last = (gpa + size - 1) >> 12;
  for (u64 page = gpa >> 12; page <= last && page < shared.page_limit; ++page) {
    if (__atomic_load_n(&shared.page_flags[page], __ATOMIC_SEQ_CST) & page_dirty_log) {
      // In this order: between the two nobody can take the bit and leave the page unwatched.
      __atomic_and_fetch(&shared.page_flags[page], static_cast<u8>(~page_dirty_log), __ATOMIC_SEQ_CST);
      __atomic_or_fetch(&shared.dirty_bits[page / 64], 1ull << (page % 64), __ATOMIC_SEQ_CST);
    }
  }
  if (drop_blocks(shared, gpa, size)) cpu.code_dropped = true;
}

}  // namespace nagaya::engine::soft
