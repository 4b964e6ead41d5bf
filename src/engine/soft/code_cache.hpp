// Where translated code lives: anonymous memory mapped twice, executable here and writable there, never both at one address.
// It is cut into segments that are filled and emptied in turn, each with an arena for the records of its blocks.
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
  [[nodiscard]] unsigned next_segment() const { return (current_ + 1) % static_cast<unsigned>(segments_.size()); }
  [[nodiscard]] unsigned segment_count() const { return static_cast<unsigned>(segments_.size()); }
  /// Executable address that the next block will get (16-byte aligned).
  [[nodiscard]] const u8* next() const { return rx_ + segments_[current_].code_used; }
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
    static_assert(alignof(T) <= record_unit);
    return *new (allocate(sizeof(T))) T();
  }
  u8* allocate(u64 bytes);

  /// The block whose code holds `pc`, or null. Callable from a signal handler of a thread inside translated code.
  [[nodiscard]] const Block* find_by_pc(u64 pc) const;
  /// Blocks of a segment in order of their code.
  [[nodiscard]] const std::vector<Block*>& blocks(unsigned segment) const { return segments_[segment].blocks; }
  /// Forgets a segment whose blocks are in no structure any more. No vCPU may be inside.
  void clear(unsigned segment);

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
  u8* rx_ = nullptr;
  u8* rw_ = nullptr;
  u8* records_ = nullptr;
  u64 size_ = 0, segment_size_ = 0;
  std::vector<Segment> segments_;
  unsigned current_ = 0;
  mutable std::atomic<u32> index_lock_{0};
};

}  // namespace nagaya::engine::soft
