// Registers that systems read or write without asking CPUID first, and that mean nothing on this machine: machine-check
// banks (none), platform and frequency information, AMD configuration registers. A table says what a read gives and which
// bits a write may set; what it writes is not kept, except where a field of the state exists.
// Source: Intel SDM vol. 4; AMD processor programming references, "MSRs".
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

enum class Write : u8 { refuse, ignore, zero_only };

struct Benign {
  u32 first, last;
  u64 value;
  Write write;
};

constexpr Benign table[] = {
    {0x0, 0x1, 0, Write::ignore},                  // P5 machine check address and type
    {0x17, 0x17, 0, Write::refuse},                // platform id
    {0x2a, 0x2a, 0, Write::ignore},                // power-on configuration
    {0x34, 0x34, 0, Write::refuse},                // SMI count
    {0x3a, 0x3a, 1, Write::refuse},                // feature control: locked, nothing enabled
    {0x79, 0x79, 0, Write::ignore},                // microcode update trigger
    {0x8b, 0x8b, u64{1} << 32 | 1, Write::ignore},  // microcode revision; AMD's field is the low half, Intel's the high
    {0xcd, 0xcd, 3, Write::refuse},                // bus frequency
    {0xce, 0xce, 0, Write::refuse},                // platform information
    {0x11e, 0x11e, 0xbe702111, Write::ignore},      // L2 cache control
    {0x140, 0x140, 0, Write::zero_only},           // MISC_FEATURES_ENABLES: no CPUID faulting
    {0x179, 0x179, 0, Write::refuse},              // machine check: no banks
    {0x17a, 0x17a, 0, Write::zero_only},
    {0x186, 0x187, 0, Write::zero_only},           // event selects: no counters
    {0x198, 0x198, 0, Write::refuse},              // performance status and control
    {0x199, 0x199, 0, Write::ignore},
    {0x19a, 0x19c, 0, Write::ignore},              // clock modulation, thermal interrupt and status
    {0x1db, 0x1de, 0, Write::refuse},              // last branch records
    {0x1c9, 0x1c9, 0, Write::ignore},
    {0x400, 0x47f, 0, Write::zero_only},           // machine-check banks that are not there
    {0x606, 0x606, 0, Write::refuse},              // power units, energy status
    {0x611, 0x611, 0, Write::refuse},
    {0x619, 0x619, 0, Write::refuse},
    {0x639, 0x639, 0, Write::refuse},
    {0x641, 0x641, 0, Write::refuse},
    {0xc0010010, 0xc0010010, 0, Write::ignore},    // SYSCFG
    {0xc0010015, 0xc0010015, u64{1} << 24, Write::ignore},  // HWCR: the TSC counts at the P0 frequency
    {0xc0010016, 0xc0010019, 0, Write::ignore},    // IORR
    {0xc001001a, 0xc001001a, 0, Write::ignore},    // TOP_MEM
    {0xc001001d, 0xc001001d, 0, Write::ignore},    // TOP_MEM2
    {0xc001001f, 0xc001001f, 0, Write::ignore},    // NB_CFG
    {0xc0010020, 0xc0010020, 0, Write::ignore},    // patch loader
    {0xc0010048, 0xc0010048, 0, Write::ignore},
    {0xc0010055, 0xc0010055, 0, Write::ignore},    // interrupt pending message
    {0xc0010058, 0xc0010058, 0, Write::ignore},    // MMIO configuration base
    {0xc0010061, 0xc001006b, 0, Write::ignore},    // P-states
    {0xc0010111, 0xc0010113, 0, Write::ignore},    // SMM base, TSeg
    {0xc0010114, 0xc0010114, u64{1} << 4, Write::ignore},  // VM_CR: SVM disabled
    {0xc0010117, 0xc0010117, 0, Write::ignore},
    {0xc0010131, 0xc0010131, 0, Write::refuse},    // SEV status
    {0xc0010140, 0xc0010141, 0, Write::ignore},    // OSVW: no erratum listed
    {0xc0010299, 0xc001029b, 0, Write::refuse},    // RAPL
    {0xc0011020, 0xc0011023, 0, Write::ignore},    // LS_CFG, IC_CFG, DC_CFG, BU_CFG
    {0xc0011028, 0xc0011028, 0, Write::ignore},    // FP_CFG
    {0xc0011029, 0xc0011029, 2, Write::ignore},    // DE_CFG: LFENCE serialises
    {0xc001102a, 0xc001102d, 0, Write::ignore},    // BU_CFG2 and neighbours
};

const Benign* find(u32 index) {
  for (const auto& row : table) {
    if (index >= row.first && index <= row.last) return &row;
  }
  return nullptr;
}

constexpr u32 msr_spec_ctrl = 0x48, msr_pred_cmd = 0x49, msr_arch_capabilities = 0x10a, msr_flush_cmd = 0x10b,
              msr_misc_enable = 0x1a0, msr_debugctl = 0x1d9;

// Not affected, as soft_cpuid.cpp says: RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY SSB_NO MDS_NO PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO
// PSDP_NO BHI_NO PBRSB_NO GDS_NO RFDS_NO ITS_NO. Intel SDM vol. 4, table 2-2.
constexpr u64 arch_capabilities = 1ull << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 13 | 1 << 14 | 1 << 15 | 1 << 20 |
                                  1 << 24 | 1 << 26 | 1 << 27 | 1ull << 62;

bool spec_ctrl_offered(const SoftCpu& cpu) {
  return cpuid_feature(cpu, 7, 0, 3, 26) || cpuid_feature(cpu, 7, 0, 3, 31) || cpuid_feature(cpu, 0x80000008, 0, 1, 14) ||
         cpuid_feature(cpu, 0x80000008, 0, 1, 15) || cpuid_feature(cpu, 0x80000008, 0, 1, 24);
}
bool ibpb_offered(const SoftCpu& cpu) { return cpuid_feature(cpu, 7, 0, 3, 26) || cpuid_feature(cpu, 0x80000008, 0, 1, 12); }

}  // namespace

MsrAnswer read_benign_msr(SoftCpu& cpu, u32 index, u64& value) {
  switch (index) {
    case msr_spec_ctrl:
      if (!spec_ctrl_offered(cpu)) return MsrAnswer::refused;
      value = cpu.s.msr.spec_ctrl;
      return MsrAnswer::done;
    case msr_arch_capabilities:
      if (!cpuid_feature(cpu, 7, 0, 3, 29)) return MsrAnswer::refused;
      value = arch_capabilities;
      return MsrAnswer::done;
    case msr_misc_enable: value = cpu.s.msr.misc_enable; return MsrAnswer::done;
    case msr_debugctl: value = cpu.s.msr.debugctl; return MsrAnswer::done;
    default: break;
  }
  const auto* row = find(index);
  if (!row) return MsrAnswer::unknown;
  value = row->value;
  return MsrAnswer::done;
}

MsrAnswer write_benign_msr(SoftCpu& cpu, u32 index, u64 value) {
  switch (index) {
    case msr_spec_ctrl:
      if (!spec_ctrl_offered(cpu) || value & ~u64{0x87}) return MsrAnswer::refused;
      cpu.s.msr.spec_ctrl = value;
      return MsrAnswer::done;
    case msr_pred_cmd: return ibpb_offered(cpu) && !(value & ~u64{1}) ? MsrAnswer::done : MsrAnswer::refused;
    case msr_flush_cmd: return cpuid_feature(cpu, 7, 0, 3, 28) && !(value & ~u64{1}) ? MsrAnswer::done : MsrAnswer::refused;
    case msr_misc_enable: cpu.s.msr.misc_enable = value; return MsrAnswer::done;
    case msr_debugctl:
      if (value & ~u64{0x3f}) return MsrAnswer::refused;
      cpu.s.msr.debugctl = value;
      mode_changed(cpu);  // BTF
      return MsrAnswer::done;
    default: break;
  }
  const auto* row = find(index);
  if (!row) return MsrAnswer::unknown;
  const bool accepted = row->write == Write::ignore || (row->write == Write::zero_only && value == 0);
  return accepted ? MsrAnswer::done : MsrAnswer::refused;
}

}  // namespace nagaya::engine::soft::exec
