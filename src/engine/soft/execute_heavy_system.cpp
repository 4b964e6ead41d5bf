// HLT, KVM hypercalls, and the MSRs behind which the APIC or the time of day stands.
// Source: Linux Documentation/virt/kvm/x86/hypercalls.rst, msr.rst; Intel SDM vol. 3, 11.4, 11.12.
#include <time.h>

#include "engine/engine.hpp"
#include "engine/soft/execute_heavy.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/kvm_clock.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

constexpr u32 msr_tsc = 0x10, msr_apic_base = 0x1b, msr_tsc_adjust = 0x3b, msr_tsc_deadline = 0x6e0;
constexpr u32 msr_wall_clock_old = 0x11, msr_wall_clock = 0x4b564d00;

bool is_apic_msr(u32 index) {
  return index == msr_apic_base || index == msr_tsc_deadline || (index >= 0x800 && index <= 0x8ff);
}

/// The time of day at which the paravirtual clock was 0: {version, seconds, nanoseconds}.
void write_wall_clock(SoftCpu& cpu, u64 gpa) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const u64 ns = static_cast<u64>(now.tv_sec) * 1'000'000'000 + static_cast<u64>(now.tv_nsec) - kvm_clock_ns(cpu);
  u32 page[3] = {};
  physical_read(cpu, gpa, page, 4);
  page[0] |= 1;
  physical_write(cpu, gpa, page, 4);
  page[0] += 1;
  page[1] = static_cast<u32>(ns / 1'000'000'000);
  page[2] = static_cast<u32>(ns % 1'000'000'000);
  physical_write(cpu, gpa + 4, page + 1, 8);
  physical_write(cpu, gpa, page, 4);
}

enum Hypercall : u64 { hc_vapic_poll_irq = 1, hc_kick_cpu = 5, hc_send_ipi = 10, hc_sched_yield = 11 };
constexpr u64 kvm_enosys = static_cast<u64>(-1000), kvm_eperm = static_cast<u64>(-1), kvm_einval = static_cast<u64>(-22);
constexpr u32 feature_leaf = 0x40000001;

/// One IPI through the APIC's command register.
void send_ipi(SoftCpu& cpu, u32 destination, u32 command) {
  if (cpu.apic->mmio_base() == Gpa(~u64{0})) {
    static_cast<void>(cpu.apic->write_msr(0x830, u64{destination} << 32 | command));
    return;
  }
  const auto put = [&](u32 offset, u32 value) {
    const u8 data[4] = {static_cast<u8>(value), static_cast<u8>(value >> 8), static_cast<u8>(value >> 16),
                        static_cast<u8>(value >> 24)};
    cpu.apic->mmio_write(offset, data);
  };
  put(0x310, destination << 24);
  put(0x300, command);
}

/// KVM_HC_SEND_IPI: a map of APIC ids from `first` on; returns how many were sent.
u64 send_ipis(SoftCpu& cpu, u64 low, u64 high, u64 first, u64 command) {
  constexpr u64 vector_and_mode = 0x7ff;  // fixed or NMI, physical, no shorthand
  if (!cpu.apic || (command & ~vector_and_mode)) return kvm_einval;
  // Sending one IPI to each of 64 (128) processors at most: what the guest names beyond the APIC's reach goes nowhere.
  u64 sent = 0;
  const unsigned width = code64(cpu) ? 64 : 32;
  for (unsigned word = 0; word < 2; ++word) {
    for (unsigned i = 0; i < width; ++i) {
      if (!((word ? high : low) >> i & 1)) continue;
      send_ipi(cpu, static_cast<u32>(first + word * width + i), static_cast<u32>(command));
      ++sent;
    }
  }
  return sent;
}

u64 do_hypercall(SoftCpu& cpu, u64 number, const u64 (&a)[4]) {
  const auto offered = [&](unsigned bit) { return cpuid_feature(cpu, feature_leaf, 0, 0, bit); };
  switch (number) {
    case hc_vapic_poll_irq: return 0;
    case hc_kick_cpu:
      if (!offered(7)) return kvm_enosys;
      hypercall_kick(cpu, a[1]);
      return 0;
    case hc_send_ipi: return offered(11) ? send_ipis(cpu, a[0], a[1], a[2], a[3]) : kvm_enosys;
    case hc_sched_yield: return offered(13) ? 0 : kvm_enosys;
    default: return kvm_enosys;
  }
}

}  // namespace

bool halt(SoftCpu& cpu) {
  if (!require_cpl0(cpu)) return false;
  cpu.s.run_state = x86::RunState::halted;
  return true;
}

bool hypercall(SoftCpu& cpu) {
  // Without the hypervisor leaves there is nobody to call.
  if (!find_cpuid(cpu, feature_leaf, 0)) return raise(cpu, vec_ud);
  const u64 mask = size_mask(code64(cpu) ? 8 : 4);
  const u64 arguments[4] = {cpu.s.gpr[RBX] & mask, cpu.s.gpr[RCX] & mask, cpu.s.gpr[RDX] & mask, cpu.s.gpr[RSI] & mask};
  const u64 result = cpl(cpu) != 0 ? kvm_eperm : do_hypercall(cpu, cpu.s.gpr[RAX] & mask, arguments);
  cpu.s.gpr[RAX] = result & mask;
  return true;
}

bool heavy_read_msr(SoftCpu& cpu) {
  const auto index = static_cast<u32>(cpu.s.gpr[RCX]);
  if (!is_apic_msr(index)) return read_msr_instruction(cpu);
  if (!require_cpl0(cpu)) return false;
  u64 value = 0;
  if (!cpu.apic || !cpu.apic->read_msr(index, value)) return raise(cpu, vec_gp, 0);
  cpu.s.gpr[RAX] = value & 0xffffffff;
  cpu.s.gpr[RDX] = value >> 32;
  return true;
}

bool heavy_write_msr(SoftCpu& cpu) {
  const auto index = static_cast<u32>(cpu.s.gpr[RCX]);
  const u64 value = cpu.s.gpr[RDX] << 32 | (cpu.s.gpr[RAX] & 0xffffffff);
  if (is_apic_msr(index)) {
    if (!require_cpl0(cpu)) return false;
    if (!cpu.apic || !cpu.apic->write_msr(index, value)) return raise(cpu, vec_gp, 0);
    if (index == msr_apic_base) cpu.s.apic_base = value;  // CPUID shows its enable bit
    return true;
  }
  if (!write_msr_instruction(cpu)) return false;
  switch (index) {
    case msr_tsc: case msr_tsc_adjust:
      if (cpu.apic) cpu.apic->set_tsc_offset(cpu.tsc_offset);
      kvm_clock_update(cpu);
      break;
    case msr_wall_clock_old: case msr_wall_clock: write_wall_clock(cpu, value); break;
    default: break;
  }
  return true;
}

}  // namespace nagaya::engine::soft::exec
