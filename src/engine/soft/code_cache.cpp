#include "engine/soft/code_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "engine/soft/emit.hpp"

namespace nagaya::engine::soft {
namespace {

/// Bounds of what one block may need (Translator stays far below).
constexpr u64 most_code = Emitter::capacity, most_records = 32 * KiB;
/// The first bytes hold the trampolines.
constexpr u64 trampoline_bytes = 4096;

}  // namespace

Result<std::unique_ptr<CodeCache>> CodeCache::create(u64 size) {
  std::unique_ptr<CodeCache> cache(new CodeCache);
  size = (size + 4095) & ~4095ull;
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
  void* records = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (records == MAP_FAILED) return fail_errno("cannot map the records of the code cache");
  cache->records_ = static_cast<u8*>(records);

  for (unsigned thunk = 0; thunk < thunk_count; ++thunk) {  // jmp gs:[thunks + 8 * thunk]
    u8* at = cache->rw_ + trampoline_size * thunk;
    const u32 slot = static_cast<u32>(offsetof(SoftCpu, thunks) + 8 * thunk);
    const u8 jump[5] = {0x65, 0xff, 0x24, 0x25, 0};
    std::memcpy(at, jump, 4);
    std::memcpy(at + 4, &slot, 4);
  }
  const unsigned count = size >= 16 * MiB ? 8 : 4;
  const u64 part = (size / count) & ~4095ull;
  cache->segment_size_ = part;
  for (unsigned i = 0; i < count; ++i) {
    Segment s;
    s.code_begin = s.code_used = i ? i * part : trampoline_bytes;
    s.code_end = (i + 1) * part;
    s.records_begin = s.records_used = i * part;
    s.records_end = (i + 1) * part;
    cache->segments_.push_back(std::move(s));
  }
  return cache;
}

CodeCache::~CodeCache() {
  if (rw_) munmap(rw_, size_);
  if (rx_) munmap(rx_, size_);
  if (records_) munmap(records_, size_);
}

bool CodeCache::reserve() {
  const Segment& s = segments_[current_];
  if (s.code_used + most_code <= s.code_end && s.records_used + most_records <= s.records_end) return true;
  const unsigned next = next_segment();
  if (!segments_[next].blocks.empty()) return false;
  current_ = next;
  return true;
}

const u8* CodeCache::commit(const u8* code, u32 size, Block& block) {
  Segment& s = segments_[current_];
  std::memcpy(rw_ + s.code_used, code, size);
  block.code = rx_ + s.code_used;
  block.code_size = size;
  s.code_used = (s.code_used + size + 15) & ~15ull;
  SpinGuard guard(index_lock_);
  s.blocks.push_back(&block);
  return block.code;
}

u8* CodeCache::allocate(u64 bytes) {
  Segment& s = segments_[current_];
  u8* at = records_ + s.records_used;
  s.records_used = (s.records_used + bytes + record_unit - 1) / record_unit * record_unit;
  return at;
}

const Block* CodeCache::find_by_pc(u64 pc) const {
  const u64 segment = (pc - reinterpret_cast<u64>(rx_)) / segment_size_;
  if (!contains(pc) || segment >= segments_.size()) return nullptr;
  SpinGuard guard(index_lock_);
  const auto& blocks = segments_[segment].blocks;
  auto it = std::upper_bound(blocks.begin(), blocks.end(), pc, [](u64 p, const Block* b) { return p < reinterpret_cast<u64>(b->code); });
  if (it == blocks.begin()) return nullptr;
  const Block* b = *--it;
  return pc - reinterpret_cast<u64>(b->code) < b->code_size ? b : nullptr;
}

void CodeCache::clear(unsigned segment) {
  SpinGuard guard(index_lock_);
  Segment& s = segments_[segment];
  s.blocks.clear();
  s.code_used = s.code_begin;
  s.records_used = s.records_begin;
}

u64 CodeCache::code_bytes() const {
  u64 sum = 0;
  for (const Segment& s : segments_) sum += s.code_used - s.code_begin;
  return sum;
}

u64 CodeCache::record_bytes() const {
  u64 sum = 0;
  for (const Segment& s : segments_) sum += s.records_used - s.records_begin;
  return sum;
}

u64 CodeCache::block_count() const {
  u64 sum = 0;
  for (const Segment& s : segments_) sum += s.blocks.size();
  return sum;
}

}  // namespace nagaya::engine::soft
