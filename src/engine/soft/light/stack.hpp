// The stack as pushes and pops of any mode see it: a position that is committed only when nothing can fault any more.
#pragma once
#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/memory.hpp"

namespace nagaya::engine::soft {

/// A stack segment and a position in it. Pops move `sp`; nothing of the CPU changes until commit().
struct Stack {
  u64 sp = 0;
  u64 mask = 0xffff;       ///< of the stack-address size
  x86::Segment segment{};  ///< base, limit, type
  bool paragraph = false;  ///< real or virtual-8086 mode: the segment has a limit but no type
  bool flat64 = false;     ///< 64-bit mode: no segmentation, canonical check instead
  TlbKind kind = tlb_supervisor;
  u32 error_code = 0;  ///< of the #SS raised at the limit

  /// The current SS:rSP of the CPU.
  static Stack current(const SoftCpu& cpu);
};

/// The most values of one stack_push: a call gate's 31 parameters and two far pointers.
inline constexpr unsigned max_push = 36;
/// Pushes `count` values of `size` bytes each (2, 4, 8), first one highest. All are checked before any is written. On
/// success st.sp is lowered.
bool stack_push(SoftCpu& cpu, Stack& st, const u64* values, unsigned count, unsigned size);
/// Checks that `bytes` more can be pushed, byte range only (limit, canonical), without touching memory.
bool stack_room(SoftCpu& cpu, const Stack& st, unsigned bytes);
/// Reads one value at sp and raises sp.
bool stack_pop(SoftCpu& cpu, Stack& st, u64& value, unsigned size);
/// Writes st.sp to rSP with the width of the stack (16-bit: the upper bits of ESP stay).
void stack_commit(SoftCpu& cpu, const Stack& st);

/// One PUSH / POP on the current stack, rSP included.
bool push(SoftCpu& cpu, u64 value, unsigned size);
bool pop(SoftCpu& cpu, u64& value, unsigned size);

/// Stack-address mask at present: ffffh, ffffffffh or all ones.
u64 stack_mask(const SoftCpu& cpu);

}  // namespace nagaya::engine::soft
