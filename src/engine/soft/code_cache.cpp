#include "engine/soft/code_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace nagaya::engine::soft {

Result<std::unique_ptr<CodeCache>> CodeCache::create(u64 size) {
  std::unique_ptr<CodeCache> cache(new CodeCache);
  cache->size_ = size;
  // Of shared memory, mremap with size 0 makes a second view. Not a memfd: perf takes such a mapping for a file without symbols,
  // and would not look at its map (perf_map.hpp).
  void* rw = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (rw == MAP_FAILED) return fail_errno("cannot map the code cache");
  cache->rw_ = static_cast<u8*>(rw);
  void* rx = mremap(rw, 0, size, MREMAP_MAYMOVE);
  if (rx == MAP_FAILED) return fail_errno("cannot map the code cache a second time");
  cache->rx_ = static_cast<u8*>(rx);
  if (mprotect(rx, size, PROT_READ | PROT_EXEC) != 0)
    return fail_errno("cannot map the code cache", errno, "the software engine needs memory that is executable");
  return cache;
}

CodeCache::~CodeCache() {
  if (rw_) munmap(rw_, size_);
  if (rx_) munmap(rx_, size_);
}

const u8* CodeCache::commit(const u8* code, u32 size) {
  if (used_ + size + 64 > size_) return nullptr;
  std::memcpy(rw_ + used_, code, size);
  const u8* at = rx_ + used_;
  used_ = (used_ + size + 15) & ~15ull;
  return at;
}

Block& CodeCache::new_block() { return blocks_.emplace_back(); }
LinkSite& CodeCache::new_site() { return sites_.emplace_back(); }
const Insn& CodeCache::keep(const Insn& insn) { return insns_.emplace_back(insn); }

const SideEntry* CodeCache::keep(const std::vector<SideEntry>& side) {
  const auto& kept = sides_.emplace_back(side);
  SpinGuard guard(index_lock_);
  by_pc_.push_back(&blocks_.back());
  return kept.data();
}

const Block* CodeCache::find_by_pc(u64 pc) const {
  SpinGuard guard(index_lock_);
  auto it = std::upper_bound(by_pc_.begin(), by_pc_.end(), pc, [](u64 p, const Block* b) { return p < reinterpret_cast<u64>(b->code); });
  if (it == by_pc_.begin()) return nullptr;
  const Block* b = *--it;
  return pc - reinterpret_cast<u64>(b->code) < b->code_size ? b : nullptr;
}

void CodeCache::flush() {
  SpinGuard guard(index_lock_);
  by_pc_.clear();
  blocks_.clear();
  sites_.clear();
  insns_.clear();
  sides_.clear();
  used_ = 0;
}

}  // namespace nagaya::engine::soft
