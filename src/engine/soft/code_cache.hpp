// Where translated code lives: anonymous memory mapped twice, executable here and writable there, never both at one address.
// It is cut into segments that are filled and emptied in turn, each with an arena for the records of its blocks. Few segments are in
// turn at first; when blocks are made again that were evicted not long ago, more are, up to the limit, and fewer when that has ended
// or the guest rests.
#pragma once
#include <memory>
#include <new>
#include <vector>

#include "base/result.hpp"
#include "engine/soft/decode.hpp"
#include "engine/soft/light/blocks.hpp"

namespace nagaya::engine::soft {

class CodeCache {
 public:
  static Result<std::unique_ptr<CodeCache>> create(u64 size);
  ~CodeCache();
  CodeCache(const CodeCache&) = delete;
  CodeCache& operator=(const CodeCache&) = delete;

  /// Makes room for one more block of any size. False when the next segment holds code: the caller evicts it.
  bool reserve();
  /// The segment that `reserve` wants empty.
  [[nodiscard]] unsigned next_segment() const { return ring_[next_turn()]; }
  [[nodiscard]] unsigned segment_count() const { return static_cast<unsigned>(segments_.size()); }
  /// Segments in turn now.
  [[nodiscard]] unsigned active_segments() const { return static_cast<unsigned>(ring_.size()); }
  /// Executable address that the next block will get (16-byte aligned).
  [[nodiscard]] const u8* next() const { return rx_ + segments_[current()].code_used; }
  /// Copies a finished block there.
  const u8* commit(const u8* code, u32 size, Block& block);
  static constexpr u32 trampoline_size = 16;
  /// Where every block finds the jump to a thunk, within reach of a 32-bit displacement.
  [[nodiscard]] const u8* trampoline(Thunk thunk) const { return rx_ + trampoline_size * thunk; }
  [[nodiscard]] i64 rw_minus_rx() const { return rw_ - rx_; }
  [[nodiscard]] bool contains(u64 pc) const { return pc - reinterpret_cast<u64>(rx_) < size_; }
  /// Base of the records; blocks name them by 32-bit numbers (record_id).
  [[nodiscard]] u8* records() const { return records_; }
  [[nodiscard]] u32 record_id(const void* record) const {
    return static_cast<u32>((static_cast<const u8*>(record) - records_) / record_unit);
  }

  /// A record that lives as long as the segment of the block being made.
  template <class T>
  T& make() {
    return *new (allocate(sizeof(T), alignof(T))) T();
  }
  u8* allocate(u64 bytes, u64 alignment = record_unit);

  /// The block whose code holds `pc`, or null. Callable from a signal handler of a thread inside translated code.
  [[nodiscard]] const Block* find_by_pc(u64 pc) const;
  /// Blocks of a segment in order of their code.
  [[nodiscard]] const std::vector<Block*>& blocks(unsigned segment) const { return segments_[segment].blocks; }
  /// Before a block is taken out of use to make room: should it be made again soon, the cache is too small.
  void evicting(const Block& block);
  /// Forgets a segment whose blocks are in no structure any more. No vCPU may be inside.
  void clear(unsigned segment);

  /// Whether more segments are in turn than a guest at rest needs.
  [[nodiscard]] bool may_shrink() const;
  /// The segment that was filled first of those that can be given back.
  [[nodiscard]] unsigned oldest() const;
  /// Takes an empty segment out of turn, and its memory goes back to the host.
  void give_back(unsigned segment);

  [[nodiscard]] u64 code_bytes() const;
  [[nodiscard]] u64 record_bytes() const;
  [[nodiscard]] u64 block_count() const;

 private:
  CodeCache() = default;
  struct Segment {
    u64 code_begin = 0, code_used = 0, code_end = 0;  // offsets in the file
    u64 records_begin = 0, records_used = 0, records_end = 0;
    std::vector<Block*> blocks;  // guarded by index_lock_
  };
  [[nodiscard]] unsigned current() const { return ring_[turn_]; }
  [[nodiscard]] unsigned next_turn() const { return turn_ + 1 == ring_.size() ? 0 : turn_ + 1; }
  void begin_fill(unsigned turn);
  [[nodiscard]] bool hungry() const { return made_again_ * 2 >= made_; }
  bool recall(const Block& block);

  u8* rx_ = nullptr;
  u8* rw_ = nullptr;
  u8* records_ = nullptr;
  u64 size_ = 0, segment_size_ = 0;
  std::vector<Segment> segments_;
  std::vector<unsigned> ring_;    // segments in the order of filling
  std::vector<unsigned> unused_;  // the others
  unsigned turn_ = 0;             // place in ring_ of the segment being filled
  std::size_t first_active_ = 0;
  std::vector<u16> evicted_;      // by a hash of address and mode: a tag of the block that was evicted last
  u64 made_ = 0, made_again_ = 0;  // since this segment's turn began
  unsigned quiet_turns_ = 0;       // turns in a row with hardly a block made again
  mutable std::atomic<u32> index_lock_{0};
};

}  // namespace nagaya::engine::soft
