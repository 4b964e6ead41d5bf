// Faults of re-encoded instructions: the host CPU raises them, the kernel makes signals of them, and here they become the guest's
// exceptions. Divide errors, x87 and SIMD exceptions, alignment (#GP of MOVAPS and friends), and instructions this host lacks.
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <mutex>

#include "engine/soft/engine_impl.hpp"
#include "engine/soft/thunks.hpp"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

namespace nagaya::engine::soft {
namespace {

thread_local SoftVcpu* current_vcpu = nullptr;
constexpr int fault_signals[] = {SIGSEGV, SIGFPE, SIGBUS, SIGILL};
struct sigaction previous[65];

/// True when the signal was the guest's and the context now leads to its delivery.
bool deliver(ucontext_t& context) {
  SoftVcpu* vcpu = current_vcpu;
  if (!vcpu) return false;
  auto& regs = context.uc_mcontext.gregs;
  const u64 pc = static_cast<u64>(regs[REG_RIP]);
  const CodeCache& cache = vcpu->engine().cache();
  if (!cache.contains(pc)) return false;
  const Block* block = cache.find_by_pc(pc);
  if (!block) return false;
  const u32 offset = static_cast<u32>(pc - reinterpret_cast<u64>(block->code));
  SoftCpu& cpu = vcpu->cpu();
  u64 vector = static_cast<u64>(regs[REG_TRAPNO]);
  constexpr u64 cr4_osxmmexcpt = 1 << 10;
  if (vector == 19 && !(cpu.s.cr4 & cr4_osxmmexcpt)) vector = 6;
  bool has_code = false;
  switch (vector) {
    case 0: case 6: case 16: case 19: break;  // #DE #UD #MF #XM
    case 13: case 17: has_code = true; break;  // #GP #AC
    default: return false;  // a page fault of translated code is a defect of the engine
  }
  cpu.s.rip = cpu.pc_base + guest_offset(*block, offset);
  cpu.fault = {};
  cpu.fault.pending = true;
  cpu.fault.vector = static_cast<u8>(vector);
  cpu.fault.has_code = has_code;
  cpu.count.cause = Cause::native_fault;
  regs[REG_RIP] = reinterpret_cast<greg_t>(&soft_native_fault);
  return true;
}

void handler(int number, siginfo_t* info, void* raw) {
  if (deliver(*static_cast<ucontext_t*>(raw))) return;
  const struct sigaction& old = previous[number];
  if (old.sa_flags & SA_SIGINFO) {
    if (old.sa_sigaction) return old.sa_sigaction(number, info, raw);
  } else if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN) {
    return old.sa_handler(number);
  }
  // Not ours and nobody else's: let the default action happen at the same instruction.
  struct sigaction fallback = {};
  fallback.sa_handler = SIG_DFL;
  sigaction(number, &fallback, nullptr);
}

/// This thread's signal stack: translated code runs with the guest's RSP.
struct SignalStack {
  static constexpr std::size_t size = 256 * KiB;
  void* memory = MAP_FAILED;
  ~SignalStack() {
    if (memory == MAP_FAILED) return;
    stack_t off = {};
    off.ss_flags = SS_DISABLE;
    sigaltstack(&off, nullptr);
    munmap(memory, size);
  }
  bool install() {
    if (memory == MAP_FAILED) memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    stack_t stack = {};
    stack.ss_sp = memory;
    stack.ss_size = size;
    // Disarmed while a handler runs: else a guest RSP inside this range would be taken for "already on it".
    stack.ss_flags = static_cast<int>(SS_AUTODISARM);
    return sigaltstack(&stack, nullptr) == 0;
  }
};
thread_local SignalStack signal_stack;

}  // namespace

Result<> enter_thread(SoftVcpu& vcpu) {
  static std::once_flag once;
  std::call_once(once, [] {
    for (int number : fault_signals) {
      struct sigaction action = {};
      action.sa_sigaction = handler;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK;
      sigfillset(&action.sa_mask);
      sigaction(number, &action, &previous[number]);
    }
  });
  if (current_vcpu == &vcpu) return {};
  if (!signal_stack.install()) return fail_errno("cannot set the vCPU thread's signal stack");
  // Handlers of other signals would run on the guest's stack pointer: none is taken on this thread.
  sigset_t all;
  sigfillset(&all);
  for (int number : fault_signals) sigdelset(&all, number);
  sigdelset(&all, SIGTRAP);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  current_vcpu = &vcpu;
  return {};
}

}  // namespace nagaya::engine::soft
