// Where translated code lives: anonymous memory mapped twice, executable here and writable there, never both at one address.
#pragma once
#include <deque>
#include <memory>
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

  /// Executable address that the next block will get (16-byte aligned).
  [[nodiscard]] const u8* next() const { return rx_ + used_; }
  /// Copies a finished block there; null when it does not fit (the caller flushes).
  const u8* commit(const u8* code, u32 size);
  [[nodiscard]] i64 rw_minus_rx() const { return rw_ - rx_; }
  [[nodiscard]] bool contains(u64 pc) const { return pc - reinterpret_cast<u64>(rx_) < size_; }
  [[nodiscard]] u64 used() const { return used_; }
  [[nodiscard]] u64 block_count() const { return blocks_.size(); }

  /// Objects that live until the next flush.
  Block& new_block();
  LinkSite& new_site();
  const Insn& keep(const Insn& insn);
  const SideEntry* keep(const std::vector<SideEntry>& side);
  /// The block whose code holds `pc`, or null. Callable from a signal handler of a thread inside translated code.
  [[nodiscard]] const Block* find_by_pc(u64 pc) const;
  /// Forgets everything. No vCPU may be inside.
  void flush();
  /// Blocks in order of their code (for the translation log).
  [[nodiscard]] const std::deque<Block>& blocks() const { return blocks_; }

 private:
  CodeCache() = default;
  u8* rx_ = nullptr;
  u8* rw_ = nullptr;
  u64 size_ = 0, used_ = 0;
  std::deque<Block> blocks_;
  std::deque<LinkSite> sites_;
  std::deque<Insn> insns_;
  std::deque<std::vector<SideEntry>> sides_;
  mutable std::atomic<u32> index_lock_{0};
  std::vector<const Block*> by_pc_;  // guarded by index_lock_; ascending
};

}  // namespace nagaya::engine::soft
