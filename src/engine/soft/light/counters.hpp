// What happened in one vCPU, in numbers: increments by its own thread, cheap enough to be always on. Read by others at any time.
#pragma once
#include "base/types.hpp"

namespace nagaya::engine::soft {

/// What brought the vCPU to the dispatcher.
enum class Cause : u8 {
  lookup,          ///< a branch that found nothing in the jump cache, a kick, or a block that was dropped
  enter,           ///< from the run loop
  link,            ///< a direct branch not linked yet
  execute,         ///< the end of a block that ended with an instruction in C++
  execute_inline,  ///< an instruction in C++ within a block that could not go on behind it
  raise,           ///< an exception known at translation
  memory_fault,    ///< of an operand, or of a segment check
  native_fault,    ///< of a re-encoded instruction
  count_,
};

/// What a memory operand met that missed the inline TLB.
enum class Slow : u8 {
  fill,      ///< RAM: the next such access hits
  special,   ///< a store to a page with translated code or in dirty logging
  crossing,  ///< on two pages: runs on a copy
  mmio,      ///< a device
  masked,    ///< parts not accessible: interpreted
  fault,
  count_,
};

enum class Flush : u8 {
  all,           ///< every translation
  rights,        ///< the inline tables only, global entries too
  all_nonglobal,
  pcid,          ///< one address space
  page,
  cr3,           ///< another address space: the inline tables
  jump,          ///< the whole jump cache
  count_,
};

inline constexpr unsigned counted_mnemonics = 2048;  // of Zydis, and room

struct Counters {
  template <class E>
  static constexpr unsigned size = static_cast<unsigned>(E::count_);

  u64 dispatched[size<Cause>];
  u64 slow[size<Slow>];
  u64 flush[size<Flush>];
  u64 leave[8];           ///< by enum Leave
  u64 jump_misses;        ///< dispatches whose target was not in the jump cache
  u64 l2_hits, walks;     ///< of translations that the inline TLB did not know
  u64 commits, segments;  ///< calls of those helpers
  u64 faults[32];         ///< by vector
  u64 interrupts, nmis;
  u64 unknown_msr, undefined;  ///< accesses to MSRs, and instructions, that the engine does not know
  u64 execute[counted_mnemonics];         ///< in C++ at the end of a block
  u64 execute_inline[counted_mnemonics];  ///< in C++ within a block
  u64 execute_heavy[counted_mnemonics];   ///< outside translated code
  Cause cause;  ///< of the next dispatch

  void count(Cause c) { ++dispatched[static_cast<unsigned>(c)]; }
  void count(Slow s) { ++slow[static_cast<unsigned>(s)]; }
  void count(Flush f) { ++flush[static_cast<unsigned>(f)]; }
  /// At the beginning of a dispatch.
  void dispatch(bool link) {
    count(link ? Cause::link : cause);
    cause = Cause::lookup;
  }
};

}  // namespace nagaya::engine::soft
