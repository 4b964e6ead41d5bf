// Translated blocks and who points at them. Lookup is lock-free; inserting, linking and dropping take a spin lock, because they
// happen while guest vector state is live (no library locks) and are short. A dropped block's memory stays until the next
// whole flush, so that a vCPU inside it can always finish.
#pragma once
#include <atomic>

#include "engine/soft/cpu.hpp"
#include "engine/soft/insn.hpp"

namespace nagaya::engine::soft {

/// Records of blocks are named in code by their distance from CodeShared::records in these units.
inline constexpr u64 record_unit = 4;

/// A pointer from record to record, kept as the distance in half the space. Not copyable: the copy would point elsewhere.
template <class T>
class Near {
 public:
  Near() = default;
  Near(const Near&) = delete;
  Near& operator=(const Near& other) { return *this = static_cast<T*>(other); }
  Near& operator=(T* to) {
    distance_ = to ? static_cast<i32>(reinterpret_cast<i64>(to) - reinterpret_cast<i64>(this)) : 0;
    return *this;
  }
  operator T*() const { return distance_ ? reinterpret_cast<T*>(reinterpret_cast<i64>(this) + distance_) : nullptr; }
  T* operator->() const { return *this; }

 private:
  i32 distance_ = 0;
};

/// A direct exit of a block: a rel32 that can be pointed at a target block in the same page, or back at its own stub.
struct LinkSite {
  Near<Block> owner, target;
  Near<LinkSite> next_in;        ///< in the target's list
  Near<Near<LinkSite>> prev_in;
  Near<LinkSite> next_own;       ///< of the same owner
  u16 rel32 = 0;                 ///< offset in the owner's code of the 4 displacement bytes (4-byte aligned)
  u16 stub = 0;                  ///< … and of where they point when unlinked
  u16 rip = 0;                   ///< of the target, from the start of the page
  bool checked = true;           ///< enter at the entry that looks for kicks (backward branches)
};

/// A lookup in the inline TLB that may miss.
struct MissSite {
  u32 block = 0;   ///< record of the block
  i32 disp = 0;    ///< with a base: the address is that register plus this
  u32 desc = 0;    ///< slow_desc() of the operand; from bit 24 the guest register that is its base, or ff: R11 has the address
  u16 retry = 0;   ///< offset in the block's code of the instruction's first byte
  u16 guest = 0;   ///< offset of the instruction in its page; with bit 15 the lookup is for several, and no fault may be raised for it
};
inline constexpr u16 miss_of_group = 0x8000;

/// An instruction that C++ executes.
struct KeptInsn {
  Insn insn;
  const u8* next = nullptr;  ///< code behind it, where the block goes on
  u32 offset = 0;            ///< of the instruction in its page
};

struct Block {
  u64 gpa = 0;              ///< of the first byte
  u64 gpa2 = ~0ull;         ///< page of the part beyond the page end (one crossing instruction), or ~0
  const u8* code = nullptr;    ///< executable view
  u32 code_size = 0;
  u32 mode_index = 0;
  u32 key = 0;
  u16 dep_lo = 0, dep_hi = 0;  ///< bytes of the page this translation depends on: [dep_lo, dep_hi)
  u16 dep2_hi = 0;             ///< … and of the second page: [0, dep2_hi)
  u16 indirect_entry = 0, checked_entry = 0, entry = 0;  ///< offsets in code
  u16 side_bytes = 0;
  bool dead = false;
  Near<const u8> side;         ///< host to guest, see guest_offset()
  std::atomic<Block*> hash_next{nullptr};
  Near<Block> page_next[2];
  Near<LinkSite> in, own;
  u64 executed = 0;  ///< entries, with TranslateOptions::count_blocks; vCPUs at the same time may lose some
};

/// Goes along the row of pairs that leads from host code to guest instructions: how far host code and guest code (signed) go on to
/// the next entry.
class SideCursor {
 public:
  explicit SideCursor(const Block& block) : block_(block), guest(static_cast<u32>(block.gpa & 0xfff)) {}
  /// Moves to the next entry; false at the end.
  bool next() {
    if (at_ + 1 >= block_.side_bytes) return false;
    host += block_.side[at_];
    guest += static_cast<u32>(static_cast<i8>(block_.side[at_ + 1]));
    at_ += 2;
    return true;
  }

 private:
  const Block& block_;
  u32 at_ = 0;

 public:
  u32 host = 0;  ///< offset in the block's code
  u32 guest;     ///< offset in its page of the instruction that the code there belongs to
};

/// Offset in the page of the guest instruction that the code at `host` belongs to.
inline u32 guest_offset(const Block& block, u32 host) {
  SideCursor cursor(block);
  u32 guest = cursor.guest;
  while (cursor.next() && cursor.host <= host) guest = cursor.guest;
  return guest;
}

struct MemorySlot {
  u64 gpa, size;
  u8* hva;
  bool readonly;
  int fd = -1;  ///< of a shared file, from `fd_offset` on, or -1
  u64 fd_offset = 0;
};

/// A page whose bytes are being translated, and which of them were written meanwhile.
struct PendingPage {
  u64 page = ~0ull;       ///< page number, or ~0
  u64 lo = 4096, hi = 0;  ///< written since: within [lo, hi)
};

/// In Block::mode_index: a careful block of that mode.
inline constexpr u32 careful_mode = 0x100;
/// The index of blocks: lines of eight entries, one cache line each. An entry is 32 bits of the hash above the block's record; 0 is free.
/// What finds its line full goes to a chain.
inline constexpr unsigned index_lines = 1u << 15, index_ways = 8, block_chains = 1u << 12;
inline constexpr unsigned max_slots = 16;
inline constexpr unsigned max_cpus = 64;
inline constexpr u8 page_has_code = 1;
inline constexpr u8 page_dirty_log = 2;
/// Stores there must be seen.
inline constexpr u8 page_special = page_has_code | page_dirty_log;
inline constexpr u8 page_direct = 4;  ///< some vCPU's process for direct execution may write it

/// State shared by the vCPUs of one engine.
struct CodeShared {
  std::atomic<u32> lock{0};
  std::atomic<u64>* index = nullptr;     ///< index_lines * index_ways
  std::atomic<Block*>* chains = nullptr;  ///< block_chains
  u8* page_flags = nullptr;       ///< one byte per guest-physical page below page_limit
  Block** page_blocks = nullptr;  ///< list heads, same index
  u64* dirty_bits = nullptr;      ///< one bit per page
  u64 page_limit = 0;
  i64 rw_minus_rx = 0;
  u8* records = nullptr;
  const u8* lookup = nullptr;  ///< where a dropped block's entry leads
  u32 mode_keys[max_modes] = {};
  std::atomic<u32> mode_count{0};
  MemorySlot slots[max_slots] = {};
  u32 slot_count = 0;
  SoftCpu* cpus[max_cpus] = {};
  std::atomic<u32> cpu_count{0};
  std::atomic<u64> dropped{0};
  PendingPage pending[2];  ///< of the one translation in progress; guarded by `lock`
};

class SpinGuard {
 public:
  explicit SpinGuard(std::atomic<u32>& lock) : lock_(lock) {
    while (lock_.exchange(1, std::memory_order_acquire)) {
      while (lock_.load(std::memory_order_relaxed)) __builtin_ia32_pause();
    }
  }
  ~SpinGuard() { lock_.store(0, std::memory_order_release); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  std::atomic<u32>& lock_;
};

/// The high bits are the best ones.
inline u64 block_hash(u64 gpa, u32 mode_index) { return (gpa + mode_index * 0xff51afd7ed558ccdull) * 0x9e3779b97f4a7c15ull; }
/// The live block at a guest-physical address in a mode, or null. `gpa2`: page that follows virtually, needed only when the block
/// found crosses (then called again with it): pass ~0 to get any.
Block* find_block(CodeShared& shared, u64 gpa, u32 mode_index, u64 gpa2);
/// Before the bytes of a page are read for translation (`part`: 0, or 1 for the page that follows): marks it and watches for
/// writes to it. One translation at a time.
void begin_translation(CodeShared& shared, unsigned part, u64 gpa_page);
/// Ends the watch. Afterwards, unless a block was inserted, its pages may be marked though they hold no code.
void end_translation(CodeShared& shared);
/// Makes a finished block visible, unless bytes it was made from were written since begin_translation: false.
bool insert_block(CodeShared& shared, Block& block);
/// Points `site` at `target` unless either is gone.
void link(CodeShared& shared, LinkSite& site, Block& target);
/// Marks a page as holding code and takes write permission for it from every vCPU's TLB.
void mark_code_page(CodeShared& shared, u64 gpa_page);
/// Takes a block out of every structure for good, before its memory is used again. No vCPU may be inside translated code.
void retire_block(CodeShared& shared, Block& block);
/// Drops the blocks that depend on [gpa, gpa + size). True when there were any.
bool drop_blocks(CodeShared& shared, u64 gpa, u64 size);
/// Host address of guest-physical memory inside one slot, or null.
u8* slot_address(const CodeShared& shared, u64 gpa, bool write);

/// After a single-instruction block. True when TF or a breakpoint on data makes a #DB pending.
bool finish_step(SoftCpu& cpu);

/// Called by the thunks (light): see thunks.cpp. A null result leaves translated code with cpu.leave set.
extern "C" const void* soft_dispatch(SoftCpu* cpu);
extern "C" const void* soft_link(SoftCpu* cpu, u32 site);
extern "C" const void* soft_execute(SoftCpu* cpu, u32 insn);
/// The same for an instruction inside a block, which goes on behind it unless something is due.
extern "C" const void* soft_execute_inline(SoftCpu* cpu, u32 insn);
/// An exception for the instruction at the offset in bits 0..15 of `what`; the vector is above.
extern "C" const void* soft_raise(SoftCpu* cpu, u32 what);
/// A lookup in the inline TLB missed: the code to try again, or a careful block for the instruction.
extern "C" const void* soft_miss(SoftCpu* cpu, u64 linear, u32 site);
extern "C" u64 soft_mem_slow(SoftCpu* cpu, u64 linear, u32 desc);
extern "C" u32 soft_commit(SoftCpu* cpu);
extern "C" u32 soft_segment(SoftCpu* cpu, u64 offset, u32 desc);

}  // namespace nagaya::engine::soft
