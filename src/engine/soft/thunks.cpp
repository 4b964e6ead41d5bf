#include "engine/soft/thunks.hpp"

#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/blocks.hpp"
#include "engine/soft/system.hpp"

#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace nagaya::engine::soft {

/// Heavy halves of the memory helpers: vector state is in s.xsave, devices may be called.
extern "C" __attribute__((used)) u64 soft_mem_slow_heavy(SoftCpu* cpu, u64 linear, u32 desc) {
  cpu->heavy = true;
  cpu->need_heavy = false;
  const u64 host = soft_mem_slow(cpu, linear, desc);
  cpu->heavy = false;
  return host;
}

extern "C" __attribute__((used)) u32 soft_commit_heavy(SoftCpu* cpu) {
  cpu->heavy = true;
  cpu->need_heavy = false;
  const u32 failed = soft_commit(cpu);
  cpu->heavy = false;
  return failed;
}

// clang-format off
#define OFF(name, field) [name] "i"(offsetof(SoftCpu, field))
#define GPR(name, n) [name] "i"(offsetof(SoftCpu, s) + offsetof(x86::CpuState, gpr) + 8 * (n))
#define STATE_OPERANDS                                                                                              \
  GPR(rax, 0), GPR(rcx, 1), GPR(rdx, 2), GPR(rbx, 3), GPR(rsp, 4),                \
  GPR(rbp, 5), GPR(rsi, 6), GPR(rdi, 7), GPR(r8, 8), GPR(r9, 9),                   \
  GPR(r12, 12), GPR(r13, 13), GPR(r14, 14), GPR(r15, 15), [flags] "i"(offsetof(SoftCpu, s) + offsetof(x86::CpuState, rflags)),           \
  [rip] "i"(offsetof(SoftCpu, s) + offsetof(x86::CpuState, rip)), OFF(hostsp, host_rsp), [xsave] "i"(offsetof(SoftCpu, s) + offsetof(x86::CpuState, xsave)), OFF(xcr0, host_xcr0), OFF(self, self),                  \
  OFF(ret, ret_slot), OFF(pcbase, pc_base), [tmp] "i"(offsetof(SoftCpu, scratch) + 56), OFF(nheavy, need_heavy),       \
  OFF(dropped, code_dropped)

// Guest registers from the host's to memory, then the run loop's stack. Leaves RCX and R11 alone; RDI = cpu.
#define SAVE_ALL                                                                                                     \
  "mov %%rax, %%gs:%c[rax]\n mov %%rdx, %%gs:%c[rdx]\n mov %%rbx, %%gs:%c[rbx]\n mov %%rsp, %%gs:%c[rsp]\n"           \
  "mov %%rbp, %%gs:%c[rbp]\n mov %%rsi, %%gs:%c[rsi]\n mov %%rdi, %%gs:%c[rdi]\n mov %%r8, %%gs:%c[r8]\n"             \
  "mov %%r9, %%gs:%c[r9]\n mov %%r10, %%gs:%c[rcx]\n mov %%r12, %%gs:%c[r12]\n mov %%r13, %%gs:%c[r13]\n"             \
  "mov %%r14, %%gs:%c[r14]\n mov %%r15, %%gs:%c[r15]\n mov %%gs:%c[hostsp], %%rsp\n"                                  \
  "pushfq\n pop %%rax\n and $0x8d5, %%eax\n mov %%gs:%c[flags], %%rdx\n and $~0x8d5, %%rdx\n or %%rdx, %%rax\n"       \
  "mov %%rax, %%gs:%c[flags]\n mov %%gs:%c[self], %%rdi\n"

// The reverse. RCX is clobbered, R11 is the caller's to set.
#define LOAD_ALL                                                                                                     \
  "mov %%gs:%c[flags], %%eax\n mov %%eax, %%ecx\n shr $11, %%ecx\n and $1, %%ecx\n mov %%al, %%ah\n mov %%cl, %%al\n"  \
  "add $0x7f, %%al\n sahf\n"                                                                                          \
  "mov %%gs:%c[rax], %%rax\n mov %%gs:%c[rdx], %%rdx\n mov %%gs:%c[rbx], %%rbx\n mov %%gs:%c[rsp], %%rsp\n"           \
  "mov %%gs:%c[rbp], %%rbp\n mov %%gs:%c[rsi], %%rsi\n mov %%gs:%c[rdi], %%rdi\n mov %%gs:%c[r8], %%r8\n"             \
  "mov %%gs:%c[r9], %%r9\n mov %%gs:%c[rcx], %%r10\n mov %%gs:%c[r12], %%r12\n mov %%gs:%c[r13], %%r13\n"             \
  "mov %%gs:%c[r14], %%r14\n mov %%gs:%c[r15], %%r15\n"

// Vector and x87 state to s.xsave, then what C++ expects of MXCSR and the control word. Clobbers RAX, RDX.
#define SAVE_VECTORS                                                                                                 \
  "mov %%gs:%c[xcr0], %%eax\n xor %%edx, %%edx\n mov %%gs:%c[self], %%rdi\n xsave64 %c[xsave](%%rdi)\n"                \
  "fninit\n vzeroupper\n sub $8, %%rsp\n movl $0x1f80, (%%rsp)\n ldmxcsr (%%rsp)\n add $8, %%rsp\n"
#define LOAD_VECTORS                                                                                                 \
  "mov %%gs:%c[xcr0], %%eax\n xor %%edx, %%edx\n mov %%gs:%c[self], %%rdi\n xrstor64 %c[xsave](%%rdi)\n"

// A call of light code: RDI = cpu, RSI and RDX as set. It leaves vector state alone, but what sanitizers add to it does not.
#ifdef NAGAYA_SANITIZED
#define CALL_LIGHT(function)                                                                                         \
  "push %%rsi\n push %%rdx\n" SAVE_VECTORS "pop %%rdx\n pop %%rsi\n call " function "\n push %%rax\n sub $8, %%rsp\n"     \
  LOAD_VECTORS "add $8, %%rsp\n pop %%rax\n"
#else
#define CALL_LIGHT(function) "call " function "\n"
#endif

// RAX is the code to continue with, or 0 to leave.
#define CONTINUE                                                                                                     \
  "test %%rax, %%rax\n jz soft_leave\n mov %%rax, %%gs:%c[ret]\n" LOAD_ALL "mov %%gs:%c[rip], %%r11\n jmp *%%gs:%c[ret]\n"

extern "C" {

__attribute__((naked)) void soft_enter(SoftCpu*) {
  asm("push %%rbx\n push %%rbp\n push %%r12\n push %%r13\n push %%r14\n push %%r15\n sub $8, %%rsp\n"
      "mov %%rsp, %%gs:%c[hostsp]\n" LOAD_VECTORS CALL_LIGHT("soft_dispatch") CONTINUE
      :: STATE_OPERANDS);
}

__attribute__((naked, used)) void soft_leave() {
  asm(SAVE_VECTORS "add $8, %%rsp\n pop %%r15\n pop %%r14\n pop %%r13\n pop %%r12\n pop %%rbp\n pop %%rbx\n ret\n" :: STATE_OPERANDS);
}

__attribute__((naked, used)) void soft_thunk_lookup() {
  asm(SAVE_ALL "mov %%r11, %%gs:%c[rip]\n" CALL_LIGHT("soft_dispatch") CONTINUE :: STATE_OPERANDS);
}

__attribute__((naked, used)) void soft_thunk_kick() {
  asm(SAVE_ALL "movslq %%ecx, %%rcx\n add %%gs:%c[pcbase], %%rcx\n mov %%rcx, %%gs:%c[rip]\n" CALL_LIGHT("soft_dispatch") CONTINUE
      :: STATE_OPERANDS);
}

// The exits that name a record: the C++ function takes its number and finds RIP itself.
#define RECORD_THUNK(name, function)                                                                                 \
  __attribute__((naked, used)) void name() {                                                                         \
    asm(SAVE_ALL "mov %%ecx, %%esi\n" CALL_LIGHT(function) CONTINUE :: STATE_OPERANDS);                              \
  }
RECORD_THUNK(soft_thunk_link, "soft_link")
RECORD_THUNK(soft_thunk_execute, "soft_execute")
RECORD_THUNK(soft_thunk_execute_inline, "soft_execute_inline")
RECORD_THUNK(soft_thunk_raise, "soft_raise")
#undef RECORD_THUNK

__attribute__((naked, used)) void soft_thunk_miss() {
  asm(SAVE_ALL "mov %%r11, %%rsi\n mov %%ecx, %%edx\n" CALL_LIGHT("soft_miss") CONTINUE :: STATE_OPERANDS);
}

__attribute__((naked, used)) void soft_native_fault() {
  asm(SAVE_ALL CALL_LIGHT("soft_dispatch") CONTINUE :: STATE_OPERANDS);
}

__attribute__((naked, used)) void soft_thunk_mem_slow() {
  asm(SAVE_ALL
      "mov (%%rcx), %%edx\n movslq 4(%%rcx), %%rax\n add %%gs:%c[pcbase], %%rax\n mov %%rax, %%gs:%c[rip]\n"
      "add $8, %%rcx\n mov %%rcx, %%gs:%c[ret]\n mov %%r11, %%gs:%c[tmp]\n mov %%r11, %%rsi\n push %%rdx\n sub $8, %%rsp\n"
      CALL_LIGHT("soft_mem_slow") "add $8, %%rsp\n pop %%rdx\n test %%rax, %%rax\n jnz 1f\n"
      "cmpb $0, %%gs:%c[nheavy]\n je 2f\n"
      "push %%rdx\n sub $8, %%rsp\n" SAVE_VECTORS "add $8, %%rsp\n pop %%rdx\n"
      "mov %%gs:%c[self], %%rdi\n mov %%gs:%c[tmp], %%rsi\n call soft_mem_slow_heavy\n"
      "mov %%rax, %%gs:%c[tmp]\n" LOAD_VECTORS "mov %%gs:%c[tmp], %%rax\n test %%rax, %%rax\n jnz 1f\n"
      "2: mov %%gs:%c[self], %%rdi\n" CALL_LIGHT("soft_dispatch") CONTINUE
      "1: mov %%rax, %%gs:%c[tmp]\n" LOAD_ALL "mov %%gs:%c[tmp], %%r11\n jmp *%%gs:%c[ret]\n"
      :: STATE_OPERANDS);
}

__attribute__((naked, used)) void soft_thunk_commit() {
  asm(SAVE_ALL
      "movslq (%%rcx), %%rax\n add %%gs:%c[pcbase], %%rax\n mov %%rax, %%gs:%c[rip]\n mov 4(%%rcx), %%eax\n mov %%rax, %%gs:%c[tmp]\n"
      "add $8, %%rcx\n mov %%rcx, %%gs:%c[ret]\n"
      CALL_LIGHT("soft_commit") "test %%eax, %%eax\n jz 1f\n"
      SAVE_VECTORS "mov %%gs:%c[self], %%rdi\n call soft_commit_heavy\n" LOAD_VECTORS
      "1: cmpb $0, %%gs:%c[dropped]\n jne 2f\n 3: " LOAD_ALL "jmp *%%gs:%c[ret]\n"
      "2: cmpl $0, %%gs:%c[tmp]\n jne 3b\n mov %%gs:%c[self], %%rdi\n" CALL_LIGHT("soft_dispatch") CONTINUE
      :: STATE_OPERANDS);
}

__attribute__((naked, used)) void soft_thunk_segment() {
  asm(SAVE_ALL
      "mov (%%rcx), %%edx\n movslq 4(%%rcx), %%rax\n add %%gs:%c[pcbase], %%rax\n mov %%rax, %%gs:%c[rip]\n"
      "add $8, %%rcx\n mov %%rcx, %%gs:%c[ret]\n mov %%r11, %%rsi\n" CALL_LIGHT("soft_segment") "test %%eax, %%eax\n jz 2f\n"
      LOAD_ALL "mov %%gs:%c[tmp], %%r11\n jmp *%%gs:%c[ret]\n"
      "2: mov %%gs:%c[self], %%rdi\n" CALL_LIGHT("soft_dispatch") CONTINUE
      :: STATE_OPERANDS);
}

}  // extern "C"
// clang-format on

void init_thunks(SoftCpu& cpu) {
  cpu.self = &cpu;
  cpu.pext_page = ~0xfffull;
  cpu.pext_index = static_cast<u64>(tlb_entries - 1) << 12;
  cpu.pext_offset = 0xfff;
  void (*const table[thunk_count])() = {soft_thunk_lookup, soft_thunk_kick,  soft_thunk_link,     soft_thunk_execute, soft_thunk_execute_inline,
                                        soft_thunk_raise,  soft_thunk_miss,  soft_thunk_mem_slow, soft_thunk_commit,  soft_thunk_segment};
  cpu.bit_masks[0] = 15, cpu.bit_masks[1] = 31, cpu.bit_masks[2] = 63;
  cpu.flag_masks[0] = ~flag_if, cpu.flag_masks[1] = ~flag_df;
  cpu.flag_masks[2] = ~(0x8d5 | 2 | flag_rf | flag_vm);  // the arithmetic ones are in the host's RFLAGS
  for (unsigned i = 0; i < thunk_count; ++i) cpu.thunks[i] = reinterpret_cast<const void*>(table[i]);
}

}  // namespace nagaya::engine::soft
