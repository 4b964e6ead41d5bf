// Far control transfers and task switches. All return false with a fault (or need_heavy) and no other effect, except a
// task switch that faults after its commit point: the state is then that of the new task, as the architecture wants.
// Intel SDM vol. 2 JMP, CALL, RET, IRET; vol. 3 ch. 5.8, 7.
#pragma once
#include "engine/soft/light/arch.hpp"

namespace nagaya::engine::soft {

/// After a return to a program of CPL 3: direct execution counts them, and may take over at the next block head.
inline void program_goes_on(SoftCpu& cpu) {
  ++cpu.program_returns;
  if (cpu.direct_wanted) __atomic_store_n(&cpu.run_ok, 0, __ATOMIC_RELAXED);
}

/// JMP far to selector:offset with operand size 2, 4 or 8. Sets CS and s.rip. `next_rip`: of the instruction after (a
/// task switch saves it).
bool far_jump(SoftCpu& cpu, u16 selector, u64 offset, unsigned opsize, u64 next_rip);
/// CALL far; `next_rip` is the return address.
bool far_call(SoftCpu& cpu, u16 selector, u64 offset, unsigned opsize, u64 next_rip);
/// RET far, releasing `release` bytes of parameters.
bool far_ret(SoftCpu& cpu, unsigned opsize, u64 release);

enum class TaskReason : u8 { jump, call, iret, gate };
/// Switches to the task of a TSS selector (already taken out of a task gate if there was one). `ext`: EXT bit for error
/// codes (deliveries). An error code, if any, is pushed on the new task's stack. `flags`: the image to save when it is
/// not s.rflags. Heavy only: otherwise sets need_heavy. A set T flag leaves #DB pending in the new task.
bool task_switch(SoftCpu& cpu, u16 tss_selector, TaskReason reason, u64 next_rip, unsigned ext = 0,
                 bool push_code = false, u32 code = 0, const u64* flags = nullptr);
/// IRET with NT set in legacy protected mode.
bool task_return(SoftCpu& cpu, u64 next_rip);

/// Offset of a near or far target within the code segment it goes to: limit in legacy modes, canonical in 64-bit mode.
bool valid_target(const x86::Segment& cs, u64 offset, bool in_long_mode);

}  // namespace nagaya::engine::soft
