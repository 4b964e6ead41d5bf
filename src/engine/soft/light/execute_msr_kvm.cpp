// MSRs of KVM's paravirtual interface, each only when leaf 4000_0001h offers it. Source: Linux
// Documentation/virt/kvm/x86/msr.rst. Asynchronous page faults are not offered, hence refused.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/kvm_clock.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

enum KvmMsr : u32 {
  wall_clock_old = 0x11, system_time_old = 0x12, wall_clock = 0x4b564d00, system_time = 0x4b564d01, steal_time = 0x4b564d03,
  pv_eoi = 0x4b564d04, poll_control = 0x4b564d05,
};

/// Bit of the feature leaf that an MSR needs, or -1 when it is none of ours.
int feature_bit(u32 index) {
  switch (index) {
    case wall_clock_old: case system_time_old: return 0;
    case wall_clock: case system_time: return 3;
    case steal_time: return 5;
    case pv_eoi: return 6;
    case poll_control: return 12;
    default: return -1;
  }
}

bool offered(const SoftCpu& cpu, u32 index) {
  const int bit = feature_bit(index);
  return bit >= 0 && cpuid_feature(cpu, 0x40000001, 0, 0, static_cast<unsigned>(bit));
}

}  // namespace

MsrAnswer read_kvm_msr(SoftCpu& cpu, u32 index, u64& value) {
  if (!offered(cpu, index)) return MsrAnswer::unknown;
  const auto& m = cpu.s.msr;
  switch (index) {
    case wall_clock_old: case wall_clock: value = m.kvm_wall_clock; break;
    case system_time_old: case system_time: value = m.kvm_system_time; break;
    case steal_time: value = m.kvm_steal_time; break;
    case pv_eoi: value = m.kvm_pv_eoi; break;
    default: value = m.kvm_poll_control; break;
  }
  return MsrAnswer::done;
}

MsrAnswer write_kvm_msr(SoftCpu& cpu, u32 index, u64 value) {
  if (!offered(cpu, index)) return MsrAnswer::unknown;
  auto& m = cpu.s.msr;
  switch (index) {
    case wall_clock_old: case wall_clock:
      // execute_heavy() writes the time of day behind this.
      if (!cpu.heavy) return MsrAnswer::heavy;
      m.kvm_wall_clock = value;
      break;
    case system_time_old: case system_time:
      m.kvm_system_time = value;
      kvm_clock_update(cpu);
      break;
    case steal_time:
      if (value & 0x3e) return MsrAnswer::refused;
      m.kvm_steal_time = value;
      break;
    case pv_eoi:
      if (value & 2) return MsrAnswer::refused;
      m.kvm_pv_eoi = value;
      break;
    default:
      if (value & ~u64{1}) return MsrAnswer::refused;
      m.kvm_poll_control = value;
      break;
  }
  return MsrAnswer::done;
}

}  // namespace nagaya::engine::soft::exec
