// The functions behind execute_heavy(): devices, waiting, vector and x87 state in s.xsave. Conventions as in light/execute.hpp.
#pragma once
#include "engine/soft/system.hpp"

namespace nagaya::engine::soft::exec {

// ---- execute_heavy_port.cpp
bool port_in(SoftCpu& cpu, const Insn& insn);
bool port_out(SoftCpu& cpu, const Insn& insn);
/// INS and OUTS; advance s.rip themselves when the last iteration is done.
bool port_string(SoftCpu& cpu, const Insn& insn, bool out);

// ---- execute_heavy_system.cpp
bool halt(SoftCpu& cpu);
bool hypercall(SoftCpu& cpu);
/// RDMSR/WRMSR with the APIC and the time of day behind them.
bool heavy_read_msr(SoftCpu& cpu);
bool heavy_write_msr(SoftCpu& cpu);

// ---- execute_heavy_xsave.cpp
enum class XsaveForm : u8 { xsave, xsaveopt, xsavec, xsaves };
bool fxsave(SoftCpu& cpu, const Insn& insn);
bool fxrstor(SoftCpu& cpu, const Insn& insn);
bool xsave(SoftCpu& cpu, const Insn& insn, XsaveForm form);
bool xrstor(SoftCpu& cpu, const Insn& insn, bool supervisor);

// ---- execute_heavy_x87.cpp
bool fnstenv(SoftCpu& cpu, const Insn& insn, bool with_registers);
bool fldenv(SoftCpu& cpu, const Insn& insn, bool with_registers);

// ---- execute_heavy_gather.cpp
bool gather(SoftCpu& cpu, const Insn& insn);
bool scatter(SoftCpu& cpu, const Insn& insn);

// ---- execute_heavy_masked.cpp
/// `mmx`: MASKMOVQ, else the 16-byte forms.
bool maskmov_bytes(SoftCpu& cpu, const Insn& insn, bool mmx);
bool vmaskmov(SoftCpu& cpu, const Insn& insn, unsigned element, bool store);
bool masked_move(SoftCpu& cpu, const Insn& insn, unsigned element, bool aligned);
bool masked_scalar_move(SoftCpu& cpu, const Insn& insn, unsigned element);
bool compress(SoftCpu& cpu, const Insn& insn, unsigned element);
bool expand(SoftCpu& cpu, const Insn& insn, unsigned element);
enum class Narrow : u8 { truncate, signed_saturate, unsigned_saturate };
bool narrow_store(SoftCpu& cpu, const Insn& insn, unsigned from, unsigned to, Narrow how);
bool extract_store(SoftCpu& cpu, const Insn& insn, unsigned element, unsigned bytes);

// ---- execute_heavy_evex.cpp
/// Any other EVEX instruction with a mask and a memory operand of which parts must not be touched.
bool evex_masked(SoftCpu& cpu, const Insn& insn);

}  // namespace nagaya::engine::soft::exec
