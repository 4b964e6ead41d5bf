// One vCPU's run loop in C++: requests from outside, interrupts, what translated code could not do, and back in.
#include <asm/prctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "base/log.hpp"
#include "engine/soft/direct.hpp"
#include "engine/soft/engine_impl.hpp"
#include "engine/soft/light/blocks.hpp"
#include "engine/soft/light/kvm_clock.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/thunks.hpp"
#include "engine/soft/xstate.hpp"
#include "host/tsc.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr u64 rflags_if = 1 << 9;
constexpr u32 apic_base_msr = 0x1b;

u32 bit(VcpuSignal s) { return 1u << static_cast<unsigned>(s); }

/// XRSTOR faults on reserved bits; a saved state may hold anything.
void sanitize_xsave(x86::CpuState& s, u64 carried) {
  u32 mxcsr;
  std::memcpy(&mxcsr, &s.xsave[24], 4);
  mxcsr &= 0xffff;
  std::memcpy(&s.xsave[24], &mxcsr, 4);
  u64 header[8];
  std::memcpy(header, &s.xsave[512], 64);
  header[0] &= carried;
  for (int i = 1; i < 8; ++i) header[i] = 0;
  std::memcpy(&s.xsave[512], header, 64);
}

/// The x87 unit remembers where its last instruction and operand were: in this process, for re-encoded ones. No guest is told.
void hide_host_pointers(x86::CpuState& s, const CodeCache& cache) {
  u64 instruction;
  std::memcpy(&instruction, &s.xsave[8], 8);
  if (!cache.contains(instruction)) return;
  std::memset(&s.xsave[6], 0, 2);   // FOP
  std::memset(&s.xsave[8], 0, 16);  // FIP, FDP
}

bool set_gs_base(const SoftCpu* cpu) { return syscall(SYS_arch_prctl, ARCH_SET_GS, cpu) == 0; }

}  // namespace

Result<std::unique_ptr<Vcpu>> SoftVcpu::create(SoftEngine& engine, CodeShared& shared, unsigned id, IoHandler& io, LocalApic* apic,
                                               std::span<const CpuidEntry> cpuid) {
  std::unique_ptr<SoftVcpu> vcpu(new SoftVcpu(engine));
  void* memory = mmap(nullptr, sizeof(SoftCpu), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail_errno("cannot allocate a vCPU");
  SoftCpu& cpu = *static_cast<SoftCpu*>(memory);
  vcpu->cpu_ = &cpu;
  vcpu->cpuid_.assign(cpuid.begin(), cpuid.end());
  new (&cpu.s) x86::CpuState(x86::reset_state(id == 0));
  new (&cpu.fault) Fault();
  cpu.run_ok = 1;
  cpu.mode_index = ~0u;
  cpu.host_xcr0 = engine.host_xcr0();
  cpu.xsave_sizes = xsave_sizes();
  cpu.tsc_khz = engine.tsc_khz();
  cpu.cpuid = vcpu->cpuid_.data();
  cpu.cpuid_count = static_cast<u32>(vcpu->cpuid_.size());
  cpu.id = id;
  cpu.maxphyaddr = x86::cpuid_lookup(vcpu->cpuid_, 0x80000008, 0)[0] & 0xff;
  if (cpu.maxphyaddr < 36 || cpu.maxphyaddr > 52) cpu.maxphyaddr = 40;
  cpu.cpuid_signature = x86::cpuid_lookup(vcpu->cpuid_, 1, 0)[0];
  cpu.features = features_of(vcpu->cpuid_);
  cpu.vcpu = vcpu.get();
  cpu.engine = &engine;
  cpu.shared = &shared;
  cpu.apic = apic;
  cpu.io = &io;
  init_thunks(cpu);
  system_init(cpu);
  mode_changed(cpu);
  if (engine.direct() != DirectExecution::off) {
    if (auto direct = Direct::create(shared, engine.direct(), cpu.tsc_khz)) {
      vcpu->direct_ = std::move(*direct);
    } else {
      log::info("vCPU {} goes without direct execution: {}", id, direct.error().message());
    }
  }
  engine.attach(*vcpu);
  return vcpu;
}

SoftVcpu::SoftVcpu(SoftEngine& engine) : engine_(engine) {}

SoftVcpu::~SoftVcpu() {
  if (!cpu_) return;
  engine_.detach(*this);
  munmap(cpu_, sizeof(SoftCpu));
}

void SoftVcpu::poke() {
  std::atomic_ref<u32> ok(cpu_->run_ok);
  ok.store(0, std::memory_order_seq_cst);
  ok.notify_all();
  if (direct_) direct_->interrupt();
}

void SoftVcpu::kick() {
  kicked_.store(true);
  poke();
}

void SoftVcpu::signal(VcpuSignal what, u8 vector) {
  if (what == VcpuSignal::sipi) sipi_vector_.store(vector);
  if (what != VcpuSignal::interrupt) requests_.fetch_or(bit(what));
  poke();
}

void SoftVcpu::sleep() {
  engine_.rest(host::rdtsc() - woke_);
  std::atomic_ref<u32>(cpu_->run_ok).wait(1, std::memory_order_seq_cst);
  woke_ = host::rdtsc();
}

void SoftVcpu::end_instruction() {
  if (cpu_->stepping && !cpu_->fault.pending) finish_step(*cpu_);
  cpu_->stepping = cpu_->step_trap = cpu_->shadow_served = false;
}

void SoftVcpu::take_requests() {
  SoftCpu& cpu = *cpu_;
  auto& s = cpu.s;
  const u32 requests = requests_.exchange(0);
  if (requests & bit(VcpuSignal::init)) {
    cpu.link_site = nullptr;
    x86::apply_init(s);
    cpu.fault = {};
    cpu.stepping = cpu.step_trap = cpu.shadow_served = false;
    cpu.data_hits = 0;
    tlb_flush_all(cpu);
    mode_changed(cpu);
  }
  if ((requests & bit(VcpuSignal::sipi)) && s.run_state == x86::RunState::wait_for_sipi) {
    x86::apply_sipi(s, static_cast<u8>(sipi_vector_.load()));
    tlb_flush_all(cpu);
    mode_changed(cpu);
  }
  if (requests & bit(VcpuSignal::nmi)) s.events.nmi_pending = true;
}

bool SoftVcpu::prepare() {
  SoftCpu& cpu = *cpu_;
  auto& s = cpu.s;
  take_requests();
  if (s.events.exception_pending) {
    cpu.fault = {};
    cpu.fault.pending = true;
    cpu.fault.vector = s.events.vector;
    cpu.fault.has_code = s.events.has_error_code;
    cpu.fault.code = s.events.error_code;
    if (cpu.fault.vector == 1) cpu.fault.dr6_bits = s.dr6 & 0xf;
    cpu.link_site = nullptr;
    s.events.exception_pending = false;
  }
  if (s.run_state == x86::RunState::wait_for_sipi || s.run_state == x86::RunState::shutdown) return false;
  cpu.irq_wanted = 0;
  end_instruction();
  if (cpu.fault.pending) {  // finish what the instruction before began
    s.run_state = x86::RunState::running;  // a single-step trap ends the HLT it follows
    if (cpu.apic && cpu.apic->interrupt_pending()) cpu.irq_wanted = 1;
    return true;
  }
  const bool shadow = s.events.interrupt_shadow || s.events.mov_ss_shadow;
  if (s.events.nmi_pending && !s.events.nmi_blocked && !shadow) {
    s.run_state = x86::RunState::running;
    s.events.nmi_pending = false;
    cpu.link_site = nullptr;  // the exit that waits for a block does not lead to the handler
    cpu.heavy = true;
    cpu.need_heavy = false;
    deliver_interrupt(cpu, 2, true);
    cpu.heavy = false;
    return true;
  }
  if (cpu.apic && cpu.apic->interrupt_pending()) {
    if ((s.rflags & rflags_if) && !shadow) {
      s.run_state = x86::RunState::running;
      const int vector = cpu.apic->acknowledge_interrupt();
      if (vector >= 0) {
        cpu.link_site = nullptr;
        cpu.heavy = true;
        cpu.need_heavy = false;
        deliver_interrupt(cpu, static_cast<u8>(vector), false);
        cpu.heavy = false;
        if (!cpu.fault.pending && cpu.apic->interrupt_pending()) cpu.irq_wanted = 1;
      }
      return true;
    }
    cpu.irq_wanted = 1;
  }
  if (s.run_state == x86::RunState::halted && pv_kick_.exchange(false)) s.run_state = x86::RunState::running;
  return s.run_state == x86::RunState::running;
}

Exit SoftVcpu::run() {
  SoftCpu& cpu = *cpu_;
  if (auto r = enter_thread(*this); !r) return {ExitReason::internal_error, r.error().message()};
  if (!set_gs_base(&cpu)) return {ExitReason::internal_error, "the host does not let this thread set its GS base"};
  for (;;) {
    // First open the gate, then look: whoever pokes after this closes it again, and nothing is missed.
    std::atomic_ref<u32>(cpu.run_ok).store(1, std::memory_order_seq_cst);
    if (kicked_.exchange(false)) {
      end_instruction();
      if (cpu.fault.pending && !cpu.fault.software) {  // becomes part of the state
        auto& e = cpu.s.events;
        if (cpu.fault.vector == 1) cpu.s.dr6 = (cpu.s.dr6 & ~0xfull) | cpu.fault.dr6_bits;
        e.exception_pending = true;
        e.vector = cpu.fault.vector;
        e.has_error_code = cpu.fault.has_code;
        e.error_code = cpu.fault.code;
        cpu.fault = {};
      }
      return {ExitReason::kicked, {}};
    }
    if (direct_) direct_->notice(cpu);
    if (!prepare()) {
      if (cpu.s.run_state == x86::RunState::shutdown) return {ExitReason::shutdown, "triple fault"};
      sleep();
      continue;
    }
    cpu.leave = Leave::none;
    cpu.need_heavy = false;
    const bool direct = direct_ && direct_->wanted(cpu);
    engine_.begin_guest();
    if (std::atomic_ref<u32>(cpu.flush_wanted).exchange(0, std::memory_order_seq_cst)) {
      tlb_flush_all(cpu);
      cpu.mode_index = ~0u;
      cpu.link_site = nullptr;
    }
    if (direct) {
      const auto ended = direct_->run(cpu);
      if (ended == Direct::Ended::lost) {
        engine_.end_guest();
        return {ExitReason::internal_error, "the host has ended a process that ran code of the guest"};
      }
      if (ended == Direct::Ended::gone_on && (std::atomic_ref<u32>(cpu.run_ok).load() == 0 || cpu.fault.pending)) {
        engine_.end_guest();
        continue;
      }
    }
    cpu.count.cause = Cause::enter;
    soft_enter(&cpu);
    // What is needed of the code cache is copied before others may empty it.
    const bool has_insn = cpu.leave == Leave::heavy && cpu.insn;
    const Insn insn = has_insn ? *cpu.insn : Insn{};
    cpu.insn = nullptr;
    hide_host_pointers(cpu.s, engine_.cache());
    engine_.end_guest();
    ++cpu.count.leave[static_cast<unsigned>(cpu.leave)];
    switch (cpu.leave) {
      case Leave::translate: engine_.translate_for(cpu); break;
      case Leave::heavy:
        if (cpu.s.run_state != x86::RunState::running) break;
        cpu.need_heavy = false;
        cpu.heavy = true;
        if (cpu.fault.pending) {
          if (!deliver_fault(cpu)) cpu.leave = Leave::shutdown;
        } else if (has_insn) {
          ++cpu.count.execute_heavy[insn.mnemonic];
          execute_heavy(cpu, insn);
        }
        cpu.heavy = false;
        cpu.need_heavy = false;
        break;
      case Leave::internal: return {ExitReason::internal_error, cpu.leave_detail ? cpu.leave_detail : "software engine"};
      default: break;
    }
    if (cpu.s.run_state == x86::RunState::shutdown) return {ExitReason::shutdown, "triple fault"};
  }
}

Result<x86::CpuState> SoftVcpu::state() {
  SoftCpu& cpu = *cpu_;
  take_requests();  // an INIT or SIPI that came while the thread was being stopped is part of the state
  x86::CpuState out = cpu.s;
  out.msr.tsc = host::rdtsc() + cpu.tsc_offset;
  if (cpu.apic) {
    u64 base = 0;
    if (cpu.apic->read_msr(apic_base_msr, base)) out.apic_base = base;
    out.cr8 = cpu.apic->cr8();
  }
  return out;
}

Result<> SoftVcpu::set_state(const x86::CpuState& state) {
  SoftCpu& cpu = *cpu_;
  requests_.store(0);
  cpu.s = state;
  cpu.s.xcr0 = (state.xcr0 & engine_.host_xcr0()) | 1;
  sanitize_xsave(cpu.s, engine_.host_xcr0());
  cpu.fault = {};
  cpu.insn = nullptr;
  cpu.link_site = nullptr;
  cpu.stepping = cpu.step_trap = cpu.shadow_served = false;
  cpu.data_hits = 0;
  cpu.tsc_offset = state.msr.tsc - host::rdtsc();
  if (cpu.apic) {
    u64 base = 0;
    if (cpu.apic->read_msr(apic_base_msr, base) && base != state.apic_base) (void)cpu.apic->write_msr(apic_base_msr, state.apic_base);
    cpu.apic->set_tsc_offset(cpu.tsc_offset);
    cpu.apic->set_cr8(static_cast<u8>(state.cr8 & 15));
  }
  tlb_flush_all(cpu);
  mode_changed(cpu);
  kvm_clock_update(cpu);
  return {};
}

Result<x86::LapicState> SoftVcpu::lapic_state() { return fail("local APIC state", "it is the machine's with this engine"); }
Result<> SoftVcpu::set_lapic_state(const x86::LapicState&) { return fail("local APIC state", "it is the machine's with this engine"); }

Result<u64> SoftVcpu::tsc_offset() { return cpu_->tsc_offset; }

Result<> SoftVcpu::set_tsc_offset(u64 offset) {
  cpu_->tsc_offset = offset;
  if (cpu_->apic) cpu_->apic->set_tsc_offset(offset);
  kvm_clock_update(*cpu_);
  return {};
}

void hypercall_kick(SoftCpu& cpu, u64 apic_id) { cpu.vcpu->engine().kick_apic_id(apic_id); }

}  // namespace nagaya::engine::soft
