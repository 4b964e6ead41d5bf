// MTRRs and the PAT: kept and checked, without effect, since all guest RAM is write-back. Source: Intel SDM vol. 3, 12.11, 12.12.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

constexpr u32 msr_mtrr_cap = 0xfe, msr_mtrr_var = 0x200, msr_mtrr_def_type = 0x2ff, msr_pat = 0x277;

/// Index into Msrs::mtrr_fixed, or -1.
int fixed_index(u32 index) {
  switch (index) {
    case 0x250: return 0;
    case 0x258: return 1;
    case 0x259: return 2;
    default: return index >= 0x268 && index <= 0x26f ? static_cast<int>(index - 0x268 + 3) : -1;
  }
}

bool mtrr_type(u64 type) { return type == 0 || type == 1 || (type >= 4 && type <= 6); }
bool pat_type(u64 type) { return mtrr_type(type) || type == 7; }

bool each_byte(u64 value, bool (*valid)(u64)) {
  for (unsigned i = 0; i < 8; ++i) {
    if (!valid(value >> (8 * i) & 0xff)) return false;
  }
  return true;
}

}  // namespace

MsrAnswer read_memory_type_msr(SoftCpu& cpu, u32 index, u64& value) {
  const auto& m = cpu.s.msr;
  if (const int i = fixed_index(index); i >= 0) {
    value = m.mtrr_fixed[static_cast<unsigned>(i)];
  } else if (index >= msr_mtrr_var && index < msr_mtrr_var + 16) {
    value = m.mtrr_var[index - msr_mtrr_var];
  } else if (index == msr_mtrr_cap) {
    value = 0x508;  // 8 variable ranges, fixed ranges, write-combining
  } else if (index == msr_mtrr_def_type) {
    value = m.mtrr_def_type;
  } else if (index == msr_pat) {
    value = m.pat;
  } else {
    return MsrAnswer::unknown;
  }
  return MsrAnswer::done;
}

MsrAnswer write_memory_type_msr(SoftCpu& cpu, u32 index, u64 value) {
  auto& m = cpu.s.msr;
  const u64 beyond = ~((u64{1} << cpu.maxphyaddr) - 1);
  if (const int i = fixed_index(index); i >= 0) {
    if (!each_byte(value, mtrr_type)) return MsrAnswer::refused;
    m.mtrr_fixed[static_cast<unsigned>(i)] = value;
  } else if (index >= msr_mtrr_var && index < msr_mtrr_var + 16) {
    const u64 reserved = beyond | (index & 1 ? 0x7ffu : 0xf00u);
    if ((value & reserved) || (!(index & 1) && !mtrr_type(value & 0xff))) return MsrAnswer::refused;
    m.mtrr_var[index - msr_mtrr_var] = value;
  } else if (index == msr_mtrr_def_type) {
    if ((value & ~u64{0xcff}) || !mtrr_type(value & 0xff)) return MsrAnswer::refused;
    m.mtrr_def_type = value;
  } else if (index == msr_pat) {
    if (!each_byte(value, pat_type)) return MsrAnswer::refused;
    m.pat = value;
  } else {
    return index == msr_mtrr_cap ? MsrAnswer::refused : MsrAnswer::unknown;
  }
  return MsrAnswer::done;
}

}  // namespace nagaya::engine::soft::exec
