#include "engine/kvm/scratch_guest.hpp"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <thread>

#include "engine/kvm/cpuid.hpp"
#include "engine/kvm/ioctl.hpp"
#include "engine/kvm/msr_list.hpp"
#include "engine/kvm/system.hpp"
#include "host/thread.hpp"
#include "host/timer_queue.hpp"

namespace nagaya::engine::kvm {
namespace {

constexpr u64 memory_bytes = 0x10000;
constexpr u64 pml4_at = 0x1000, pdpt_at = 0x2000, pd_at = 0x3000, gdt_at = 0x4000, idt_at = 0x5000, tss_at = 0x6000,
              handlers_at = 0x7000, stack_top = 0xf000;
constexpr u64 exception_handler = handlers_at, breakpoint_handler = handlers_at + 0x40,
              syscall_handler = handlers_at + 0x80;
constexpr u16 kernel_cs = 0x08, kernel_ss = 0x10, tss_selector = 0x30;

// null, kernel code, kernel data, (32-bit user code), user data, user code: the order that SYSRET wants.
constexpr u64 gdt[] = {
    0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff};
constexpr u8 on_exception[] = {0xb8, 0xad, 0x0b, 0, 0, 0xf4};  // mov eax, 0xbad; hlt
constexpr u8 on_breakpoint[] = {0x48, 0xcf};                   // iretq
constexpr u8 on_syscall[] = {0x8c, 0xc8, 0x83, 0xf8, 0x08,     // mov eax, cs; cmp eax, 8
                             0x0f, 0x94, 0xc3, 0x0f, 0xb6,
                             0xdb, 0x01, 0xdb, 0xf4};  // sete bl; movzx ebx, bl; add ebx, ebx; hlt

kvm_segment flat(u16 selector, u8 type, bool code) {
  kvm_segment s{};
  s.limit = 0xffffffff;
  s.selector = selector;
  s.type = type;
  s.present = 1;
  s.s = 1;
  s.l = code;
  s.db = !code;
  s.g = 1;
  return s;
}

// Kicks the run when the time is over.
class Watchdog {
 public:
  Watchdog(Kicker& kicker, std::chrono::microseconds limit)
      : thread_(host::start_thread("kvm-probe", [this, &kicker, limit] {
          std::unique_lock lock(mutex_);
          if (!ended_.wait_for(lock, limit, [this] { return done_; })) kicker.kick();
        })) {}
  ~Watchdog() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    ended_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;
  std::jthread thread_;
};

}  // namespace

ScratchGuest::~ScratchGuest() = default;

void ScratchGuest::lay_out() {
  u8* m = reinterpret_cast<u8*>(memory_.data());
  std::memset(m, 0, memory_bytes);
  auto put = [&](u64 at, u64 value) { std::memcpy(m + at, &value, sizeof value); };
  put(pml4_at, pdpt_at | 7);
  put(pdpt_at, pd_at | 7);
  put(pd_at, 0x87);  // 2 MiB, present, writable, user
  std::memcpy(m + gdt_at, gdt, sizeof gdt);
  put(gdt_at + tss_selector, 0x0000890060000067);  // TSS at 6000h
  put(tss_at + 4, stack_top);                      // RSP0
  for (u64 vector = 0; vector < 32; ++vector) {
    const u64 handler = vector == 3 ? breakpoint_handler : exception_handler;
    put(idt_at + vector * 16, (handler & 0xffff) | u64{kernel_cs} << 16 | u64{0xee00} << 32 | (handler >> 16) << 48);
  }
  std::memcpy(m + exception_handler, on_exception, sizeof on_exception);
  std::memcpy(m + breakpoint_handler, on_breakpoint, sizeof on_breakpoint);
  std::memcpy(m + syscall_handler, on_syscall, sizeof on_syscall);
}

Result<std::unique_ptr<ScratchGuest>> ScratchGuest::create(const System& system) {
  auto guest = std::unique_ptr<ScratchGuest>(new ScratchGuest);
  TRY(prepare_kicks());
  TRY_ASSIGN(guest->vm_, system.create_vm());
  (void)request(guest->vm_.get(), KVM_SET_TSS_ADDR, u64{0xfeffd000}, "KVM_SET_TSS_ADDR");
  TRY_ASSIGN(guest->memory_, host::Mapping::anonymous(memory_bytes, PROT_READ | PROT_WRITE));
  kvm_userspace_memory_region region{};
  region.memory_size = memory_bytes;
  region.userspace_addr = reinterpret_cast<u64>(guest->memory_.data());
  TRY_KVM(guest->vm_.get(), KVM_SET_USER_MEMORY_REGION, &region);
  TRY_ASSIGN(const int vcpu, request(guest->vm_.get(), KVM_CREATE_VCPU, u64{0}, "KVM_CREATE_VCPU"));
  guest->vcpu_ = host::Fd(vcpu);
  TRY_ASSIGN(guest->mapping_, host::Mapping::shared(vcpu, 0, system.run_size(), PROT_READ | PROT_WRITE));
  TRY_ASSIGN(const auto cpuid, supported_cpuid(system, {}));
  TRY(set_cpuid(vcpu, cpuid));
  guest->kicker_ = std::make_unique<Kicker>(reinterpret_cast<kvm_run*>(guest->mapping_.data())->immediate_exit);
  return guest;
}

Result<> ScratchGuest::reset(std::span<const u8> code, u64 extra_cr4) {
  lay_out();
  std::memcpy(memory_.data() + code_at, code.data(), code.size());
  kvm_vcpu_events events{};
  TRY_KVM(vcpu_.get(), KVM_SET_VCPU_EVENTS, &events);
  kvm_sregs s{};
  TRY_KVM(vcpu_.get(), KVM_GET_SREGS, &s);
  s.cs = flat(kernel_cs, 0xb, true);
  s.ds = s.es = s.fs = s.gs = s.ss = flat(kernel_ss, 3, false);
  s.tr = {};
  s.tr.base = tss_at;
  s.tr.limit = 0x67;
  s.tr.selector = tss_selector;
  s.tr.type = 0xb;
  s.tr.present = 1;
  s.ldt = {};
  s.ldt.unusable = 1;
  s.gdt = {.base = gdt_at, .limit = tss_selector + 15, .padding = {}};
  s.idt = {.base = idt_at, .limit = 32 * 16 - 1, .padding = {}};
  s.cr0 = 0x80010033;  // PG WP NE ET MP PE
  s.cr3 = pml4_at;
  s.cr4 = 0x620 | extra_cr4;  // PAE OSFXSR OSXMMEXCPT
  s.efer = 0xd01;             // NXE LMA LME SCE
  std::memset(s.interrupt_bitmap, 0, sizeof s.interrupt_bitmap);
  TRY_KVM(vcpu_.get(), KVM_SET_SREGS, &s);
  kvm_regs r{};
  r.rip = code_at;
  r.rsp = stack_top;
  r.rflags = 2;
  TRY_KVM(vcpu_.get(), KVM_SET_REGS, &r);
  // STAR: SYSCALL to 08h/10h, SYSRET to 28h/20h.
  if (!can_set_msr(0xc0000081, u64{0x18} << 48 | u64{kernel_cs} << 32) || !can_set_msr(0xc0000082, syscall_handler))
    return fail("KVM refuses the system-call registers");
  return {};
}

bool ScratchGuest::can_set_msr(u32 index, u64 value) const {
  const kvm_msr_entry entry{.index = index, .reserved = 0, .data = value};
  return set_msrs(vcpu_.get(), std::span(&entry, 1)).value_or(0) == 1;
}

Result<ScratchGuest::Outcome> ScratchGuest::run(std::span<const u8> code, std::chrono::microseconds limit,
                                                u64 extra_cr4) {
  TRY(reset(code, extra_cr4));
  auto* run = reinterpret_cast<kvm_run*>(mapping_.data());
  Outcome outcome;
  kicker_->acknowledge();
  kicker_->enter();
  {
    Watchdog watchdog(*kicker_, limit);
    const u64 start = host::monotonic_ns();
    const int result = ::ioctl(vcpu_.get(), KVM_RUN, 0);
    const int code_of_failure = result == 0 ? 0 : errno;
    outcome.elapsed_ns = host::monotonic_ns() - start;
    if (result != 0) {
      outcome.end = code_of_failure == EINTR ? End::timeout : End::refused;
    } else if (run->exit_reason == KVM_EXIT_HLT) {
      outcome.end = End::halted;
    } else if (run->exit_reason == KVM_EXIT_SHUTDOWN) {
      outcome.end = End::shutdown;
    } else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
      outcome.suberror = run->internal.suberror;
    }
  }
  kicker_->leave();
  kicker_->acknowledge();
  kvm_regs r{};
  TRY_KVM(vcpu_.get(), KVM_GET_REGS, &r);
  outcome.rax = r.rax;
  outcome.rbx = r.rbx;
  outcome.rcx = r.rcx;
  return outcome;
}

}  // namespace nagaya::engine::kvm
