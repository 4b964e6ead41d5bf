#include "engine/soft/code_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "engine/soft/emit.hpp"

namespace nagaya::engine::soft {
namespace {

/// Bounds of what one block may need (Translator stays far below).
constexpr u64 most_code = Emitter::capacity, most_records = 32 * KiB;
constexpr u64 most_segment = 4 * MiB;
/// What is in turn at first: enough for a system that rests, or works at one thing at a time.
constexpr u64 first_active = 24 * MiB;
/// What a guest at rest keeps.
constexpr unsigned least_active = 4;
constexpr unsigned evicted_bits = 18;
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
  const u64 part = std::clamp(size / 4, 256 * KiB, most_segment) & ~4095ull;
  const auto count = static_cast<unsigned>(size / part);
  cache->segment_size_ = part;
  for (unsigned i = 0; i < count; ++i) {
    Segment s;
    s.code_begin = s.code_used = i ? i * part : trampoline_bytes;
    s.code_end = (i + 1) * part;
    s.records_begin = s.records_used = i ? i * part : 64;  // record 0 is none
    s.records_end = (i + 1) * part;
    cache->segments_.push_back(std::move(s));
  }
  cache->first_active_ = std::min<std::size_t>(count, std::max<std::size_t>(least_active, first_active / part));
  for (unsigned i = 0; i < count; ++i) (i < cache->first_active_ ? cache->ring_ : cache->unused_).push_back(i);
  cache->evicted_.resize(1u << evicted_bits);
  return cache;
}

CodeCache::~CodeCache() {
  if (rw_) munmap(rw_, size_);
  if (rx_) munmap(rx_, size_);
  if (records_) munmap(records_, size_);
}

bool CodeCache::reserve() {
  const Segment& s = segments_[current()];
  if (s.code_used + most_code <= s.code_end && s.records_used + most_records <= s.records_end) return true;
  if (!segments_[next_segment()].blocks.empty()) {
    if (!hungry() || unused_.empty()) return false;
    ring_.insert(ring_.begin() + turn_ + 1, unused_.back());
    unused_.pop_back();
  }
  begin_fill(next_turn());
  return true;
}

void CodeCache::begin_fill(unsigned turn) {
  quiet_turns_ = made_again_ * 32 < made_ ? quiet_turns_ + 1 : 0;
  turn_ = turn;
  made_ = made_again_ = 0;
}

namespace {

struct Trace {
  u32 index;
  u16 tag;
};
Trace trace_of(const Block& block) {
  const u64 hash = block_hash(block.gpa, block.mode_index);
  return {static_cast<u32>(hash >> (64 - evicted_bits)), static_cast<u16>(hash >> 16 | 1)};
}

}  // namespace

void CodeCache::evicting(const Block& block) {
  if (block.dead) return;
  const Trace t = trace_of(block);
  evicted_[t.index] = t.tag;
}

bool CodeCache::recall(const Block& block) {
  const Trace t = trace_of(block);
  if (evicted_[t.index] != t.tag) return false;
  evicted_[t.index] = 0;
  return true;
}

const u8* CodeCache::commit(const u8* code, u32 size, Block& block) {
  Segment& s = segments_[current()];
  std::memcpy(rw_ + s.code_used, code, size);
  block.code = rx_ + s.code_used;
  block.code_size = size;
  s.code_used = (s.code_used + size + 15) & ~15ull;
  ++made_;
  if (recall(block)) ++made_again_;
  SpinGuard guard(index_lock_);
  s.blocks.push_back(&block);
  return block.code;
}

u8* CodeCache::allocate(u64 bytes, u64 alignment) {
  Segment& s = segments_[current()];
  s.records_used = (s.records_used + alignment - 1) / alignment * alignment;
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
  if (ring_.size() > first_active_ && quiet_turns_ >= ring_.size()) give_back(segment);
}

bool CodeCache::may_shrink() const { return ring_.size() > least_active; }

unsigned CodeCache::oldest() const {
  unsigned turn = next_turn();
  if (ring_[turn] == 0) turn = turn + 1 == ring_.size() ? 0 : turn + 1;  // it has the trampolines
  return ring_[turn];
}

void CodeCache::give_back(unsigned segment) {
  const auto at = std::ranges::find(ring_, segment);
  if (!may_shrink() || segment == 0 || segment == current() || at == ring_.end()) return;
  if (static_cast<unsigned>(at - ring_.begin()) < turn_) --turn_;
  ring_.erase(at);
  unused_.push_back(segment);
  // Best effort: what the host cannot take back stays in use.
  madvise(rw_ + segment * segment_size_, segment_size_, MADV_REMOVE);
  madvise(records_ + segment * segment_size_, segment_size_, MADV_DONTNEED);
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
