#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstring>

#include "engine/soft/native_oracle_test_util.hpp"

namespace nagaya::engine::soft::testing {

struct OracleContext {
  u64 gpr[16];
  u64 flags;
  u64 host_rsp, code, xcr0;
  u8* xsave;
};

extern "C" {
__attribute__((used, visibility("hidden"))) OracleContext oracle_context;

// clang-format off
__attribute__((naked, noinline)) void oracle_enter() {
  asm("push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
      "mov %rsp, oracle_context+136(%rip)\n"
      "mov oracle_context+152(%rip), %eax\n xor %edx, %edx\n mov oracle_context+160(%rip), %rcx\n xrstor64 (%rcx)\n"
      "pushq oracle_context+128(%rip)\n popfq\n"
      "mov oracle_context+0(%rip), %rax\n mov oracle_context+8(%rip), %rcx\n mov oracle_context+16(%rip), %rdx\n"
      "mov oracle_context+24(%rip), %rbx\n mov oracle_context+32(%rip), %rsp\n mov oracle_context+40(%rip), %rbp\n"
      "mov oracle_context+48(%rip), %rsi\n mov oracle_context+56(%rip), %rdi\n mov oracle_context+64(%rip), %r8\n"
      "mov oracle_context+72(%rip), %r9\n mov oracle_context+80(%rip), %r10\n mov oracle_context+88(%rip), %r11\n"
      "mov oracle_context+96(%rip), %r12\n mov oracle_context+104(%rip), %r13\n mov oracle_context+112(%rip), %r14\n"
      "mov oracle_context+120(%rip), %r15\n jmp *oracle_context+144(%rip)\n");
}
__attribute__((naked, noinline)) void oracle_return() {
  asm("mov %rax, oracle_context+0(%rip)\n mov %rcx, oracle_context+8(%rip)\n mov %rdx, oracle_context+16(%rip)\n"
      "mov %rbx, oracle_context+24(%rip)\n mov %rsp, oracle_context+32(%rip)\n mov %rbp, oracle_context+40(%rip)\n"
      "mov %rsi, oracle_context+48(%rip)\n mov %rdi, oracle_context+56(%rip)\n mov %r8, oracle_context+64(%rip)\n"
      "mov %r9, oracle_context+72(%rip)\n mov %r10, oracle_context+80(%rip)\n mov %r11, oracle_context+88(%rip)\n"
      "mov %r12, oracle_context+96(%rip)\n mov %r13, oracle_context+104(%rip)\n mov %r14, oracle_context+112(%rip)\n"
      "mov %r15, oracle_context+120(%rip)\n mov oracle_context+136(%rip), %rsp\n pushfq\n popq oracle_context+128(%rip)\n cld\n"
      "mov oracle_context+152(%rip), %eax\n xor %edx, %edx\n mov oracle_context+160(%rip), %rcx\n xsave64 (%rcx)\n"
      "fninit\n vzeroupper\n sub $8, %rsp\n movl $0x1f80, (%rsp)\n ldmxcsr (%rsp)\n add $8, %rsp\n"
      "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");
}
// clang-format on
}

namespace {

sigjmp_buf escape;
volatile sig_atomic_t armed = 0;
int fault_vector = -1;
u64 fault_rip = 0;
struct sigaction old_actions[65];

void on_fault(int number, siginfo_t* info, void* raw) {
  auto* context = static_cast<ucontext_t*>(raw);
  const u64 pc = static_cast<u64>(context->uc_mcontext.gregs[REG_RIP]);
  if (armed && pc - oracle_code < oracle_code_size) {
    fault_vector = static_cast<int>(context->uc_mcontext.gregs[REG_TRAPNO]);
    fault_rip = pc;
    armed = 0;
    siglongjmp(escape, 1);
  }
  if (old_actions[number].sa_flags & SA_SIGINFO) return old_actions[number].sa_sigaction(number, info, raw);
  signal(number, SIG_DFL);
}

}  // namespace

u8* oracle_area() {
  static u8* area = [] {
    void* p = mmap(reinterpret_cast<void*>(oracle_code), oracle_data + oracle_data_size - oracle_code, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<u8*>(p);
  }();
  return area;
}

OracleResult run_native(const std::vector<u8>& code, OracleState& state, u64 xcr0) {
  OracleContext& c = oracle_context;
  static_assert(offsetof(OracleContext, flags) == 128 && offsetof(OracleContext, host_rsp) == 136 && offsetof(OracleContext, code) == 144 &&
                offsetof(OracleContext, xcr0) == 152 && offsetof(OracleContext, xsave) == 160);
  auto* at = reinterpret_cast<u8*>(oracle_code);
  std::memcpy(at, code.data(), code.size());
  u8 jump[14] = {0xff, 0x25, 0, 0, 0, 0};
  const u64 back = reinterpret_cast<u64>(&oracle_return);
  std::memcpy(jump + 6, &back, 8);
  std::memcpy(at + code.size(), jump, sizeof jump);
  std::memcpy(c.gpr, state.gpr.data(), sizeof c.gpr);
  c.flags = state.flags;
  c.code = oracle_code;
  c.xcr0 = xcr0;
  c.xsave = state.xsave.data();

  static std::vector<u8> stack(256 * 1024);
  stack_t alternate = {}, old_stack = {};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  sigaltstack(&alternate, &old_stack);
  const int signals[] = {SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP};
  for (int s : signals) {
    struct sigaction a = {};
    a.sa_sigaction = on_fault;
    a.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(s, &a, &old_actions[s]);
  }
  OracleResult result;
  fault_vector = -1;
  if (sigsetjmp(escape, 1) == 0) {
    armed = 1;
    oracle_enter();
    armed = 0;
    std::memcpy(state.gpr.data(), c.gpr, sizeof c.gpr);
    state.flags = c.flags;
  } else {
    asm volatile("fninit\n vzeroupper");
    const unsigned mxcsr = 0x1f80;
    asm volatile("ldmxcsr %0" ::"m"(mxcsr));
    result = {fault_vector, fault_rip};
  }
  for (int s : signals) sigaction(s, &old_actions[s], nullptr);
  old_stack.ss_flags &= ~SS_ONSTACK;
  sigaltstack(&old_stack, nullptr);
  return result;
}

}  // namespace nagaya::engine::soft::testing
