// The dispatcher of what needs devices, the operating system or the vector state in memory; the rest goes to execute().
#include "engine/soft/execute_heavy.hpp"

#include <Zydis/Mnemonic.h>

#include "base/scope.hpp"
#include "engine/engine.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft {
namespace exec {
namespace {

bool step(SoftCpu& cpu, const Insn& insn, bool ok) { return ok && advance(cpu, insn); }

bool is_cr8_move(const Insn& insn) {
  return insn.mnemonic == ZYDIS_MNEMONIC_MOV && insn.opcode_map == 1 && (insn.opcode == 0x20 || insn.opcode == 0x22) &&
         insn.reg == 8;
}

/// MOV CR8 with the APIC's task priority behind it.
bool move_cr8(SoftCpu& cpu, const Insn& insn) {
  if (cpu.apic) cpu.s.cr8 = cpu.apic->cr8();
  if (!execute(cpu, insn)) return false;
  if (cpu.apic && insn.opcode == 0x22) cpu.apic->set_cr8(static_cast<u8>(cpu.s.cr8));
  return true;
}

bool dispatch_vector(SoftCpu& cpu, const Insn& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_VPGATHERDD: case ZYDIS_MNEMONIC_VPGATHERDQ: case ZYDIS_MNEMONIC_VPGATHERQD:
    case ZYDIS_MNEMONIC_VPGATHERQQ: case ZYDIS_MNEMONIC_VGATHERDPS: case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VGATHERQPS: case ZYDIS_MNEMONIC_VGATHERQPD:
      return gather(cpu, insn);
    case ZYDIS_MNEMONIC_VPSCATTERDD: case ZYDIS_MNEMONIC_VPSCATTERDQ: case ZYDIS_MNEMONIC_VPSCATTERQD:
    case ZYDIS_MNEMONIC_VPSCATTERQQ: case ZYDIS_MNEMONIC_VSCATTERDPS: case ZYDIS_MNEMONIC_VSCATTERDPD:
    case ZYDIS_MNEMONIC_VSCATTERQPS: case ZYDIS_MNEMONIC_VSCATTERQPD:
      return scatter(cpu, insn);
    case ZYDIS_MNEMONIC_MASKMOVQ: return maskmov_bytes(cpu, insn, true);
    case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVDQU: return maskmov_bytes(cpu, insn, false);
    case ZYDIS_MNEMONIC_VMASKMOVPS: return vmaskmov(cpu, insn, 4, insn.opcode == 0x2e);
    case ZYDIS_MNEMONIC_VMASKMOVPD: return vmaskmov(cpu, insn, 8, insn.opcode == 0x2f);
    case ZYDIS_MNEMONIC_VPMASKMOVD: return vmaskmov(cpu, insn, 4, insn.opcode == 0x8e);
    case ZYDIS_MNEMONIC_VPMASKMOVQ: return vmaskmov(cpu, insn, 8, insn.opcode == 0x8e);

    case ZYDIS_MNEMONIC_VMOVDQU8: return masked_move(cpu, insn, 1, false);
    case ZYDIS_MNEMONIC_VMOVDQU16: return masked_move(cpu, insn, 2, false);
    case ZYDIS_MNEMONIC_VMOVDQU32: case ZYDIS_MNEMONIC_VMOVUPS: return masked_move(cpu, insn, 4, false);
    case ZYDIS_MNEMONIC_VMOVDQU64: case ZYDIS_MNEMONIC_VMOVUPD: return masked_move(cpu, insn, 8, false);
    case ZYDIS_MNEMONIC_VMOVDQA32: case ZYDIS_MNEMONIC_VMOVAPS: return masked_move(cpu, insn, 4, true);
    case ZYDIS_MNEMONIC_VMOVDQA64: case ZYDIS_MNEMONIC_VMOVAPD: return masked_move(cpu, insn, 8, true);
    case ZYDIS_MNEMONIC_VMOVSS: return masked_scalar_move(cpu, insn, 4);
    case ZYDIS_MNEMONIC_VMOVSD: return masked_scalar_move(cpu, insn, 8);

    case ZYDIS_MNEMONIC_VPCOMPRESSB: return compress(cpu, insn, 1);
    case ZYDIS_MNEMONIC_VPCOMPRESSW: return compress(cpu, insn, 2);
    case ZYDIS_MNEMONIC_VPCOMPRESSD: case ZYDIS_MNEMONIC_VCOMPRESSPS: return compress(cpu, insn, 4);
    case ZYDIS_MNEMONIC_VPCOMPRESSQ: case ZYDIS_MNEMONIC_VCOMPRESSPD: return compress(cpu, insn, 8);
    case ZYDIS_MNEMONIC_VPEXPANDB: return expand(cpu, insn, 1);
    case ZYDIS_MNEMONIC_VPEXPANDW: return expand(cpu, insn, 2);
    case ZYDIS_MNEMONIC_VPEXPANDD: case ZYDIS_MNEMONIC_VEXPANDPS: return expand(cpu, insn, 4);
    case ZYDIS_MNEMONIC_VPEXPANDQ: case ZYDIS_MNEMONIC_VEXPANDPD: return expand(cpu, insn, 8);

    case ZYDIS_MNEMONIC_VPMOVQB: return narrow_store(cpu, insn, 8, 1, Narrow::truncate);
    case ZYDIS_MNEMONIC_VPMOVSQB: return narrow_store(cpu, insn, 8, 1, Narrow::signed_saturate);
    case ZYDIS_MNEMONIC_VPMOVUSQB: return narrow_store(cpu, insn, 8, 1, Narrow::unsigned_saturate);
    case ZYDIS_MNEMONIC_VPMOVQW: return narrow_store(cpu, insn, 8, 2, Narrow::truncate);
    case ZYDIS_MNEMONIC_VPMOVSQW: return narrow_store(cpu, insn, 8, 2, Narrow::signed_saturate);
    case ZYDIS_MNEMONIC_VPMOVUSQW: return narrow_store(cpu, insn, 8, 2, Narrow::unsigned_saturate);
    case ZYDIS_MNEMONIC_VPMOVQD: return narrow_store(cpu, insn, 8, 4, Narrow::truncate);
    case ZYDIS_MNEMONIC_VPMOVSQD: return narrow_store(cpu, insn, 8, 4, Narrow::signed_saturate);
    case ZYDIS_MNEMONIC_VPMOVUSQD: return narrow_store(cpu, insn, 8, 4, Narrow::unsigned_saturate);
    case ZYDIS_MNEMONIC_VPMOVDB: return narrow_store(cpu, insn, 4, 1, Narrow::truncate);
    case ZYDIS_MNEMONIC_VPMOVSDB: return narrow_store(cpu, insn, 4, 1, Narrow::signed_saturate);
    case ZYDIS_MNEMONIC_VPMOVUSDB: return narrow_store(cpu, insn, 4, 1, Narrow::unsigned_saturate);
    case ZYDIS_MNEMONIC_VPMOVDW: return narrow_store(cpu, insn, 4, 2, Narrow::truncate);
    case ZYDIS_MNEMONIC_VPMOVSDW: return narrow_store(cpu, insn, 4, 2, Narrow::signed_saturate);
    case ZYDIS_MNEMONIC_VPMOVUSDW: return narrow_store(cpu, insn, 4, 2, Narrow::unsigned_saturate);
    case ZYDIS_MNEMONIC_VPMOVWB: return narrow_store(cpu, insn, 2, 1, Narrow::truncate);
    case ZYDIS_MNEMONIC_VPMOVSWB: return narrow_store(cpu, insn, 2, 1, Narrow::signed_saturate);
    case ZYDIS_MNEMONIC_VPMOVUSWB: return narrow_store(cpu, insn, 2, 1, Narrow::unsigned_saturate);

    case ZYDIS_MNEMONIC_VEXTRACTF32X4: case ZYDIS_MNEMONIC_VEXTRACTI32X4: return extract_store(cpu, insn, 4, 16);
    case ZYDIS_MNEMONIC_VEXTRACTF64X2: case ZYDIS_MNEMONIC_VEXTRACTI64X2: return extract_store(cpu, insn, 8, 16);
    case ZYDIS_MNEMONIC_VEXTRACTF32X8: case ZYDIS_MNEMONIC_VEXTRACTI32X8: return extract_store(cpu, insn, 4, 32);
    case ZYDIS_MNEMONIC_VEXTRACTF64X4: case ZYDIS_MNEMONIC_VEXTRACTI64X4: return extract_store(cpu, insn, 8, 32);
    default: return evex_masked(cpu, insn);
  }
}

bool dispatch(SoftCpu& cpu, const Insn& insn) {
  if (insn.lock) return raise(cpu, vec_ud);
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_IN: return step(cpu, insn, port_in(cpu, insn));
    case ZYDIS_MNEMONIC_OUT: return step(cpu, insn, port_out(cpu, insn));
    case ZYDIS_MNEMONIC_INSB: case ZYDIS_MNEMONIC_INSW: case ZYDIS_MNEMONIC_INSD: return port_string(cpu, insn, false);
    case ZYDIS_MNEMONIC_OUTSB: case ZYDIS_MNEMONIC_OUTSW: case ZYDIS_MNEMONIC_OUTSD: return port_string(cpu, insn, true);
    case ZYDIS_MNEMONIC_HLT: return step(cpu, insn, halt(cpu));
    case ZYDIS_MNEMONIC_VMCALL: case ZYDIS_MNEMONIC_VMMCALL: return step(cpu, insn, hypercall(cpu));
    case ZYDIS_MNEMONIC_RDMSR: return step(cpu, insn, heavy_read_msr(cpu));
    case ZYDIS_MNEMONIC_WRMSR: return step(cpu, insn, heavy_write_msr(cpu));
    case ZYDIS_MNEMONIC_MOV: return is_cr8_move(insn) ? move_cr8(cpu, insn) : execute(cpu, insn);

    case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: return step(cpu, insn, fxsave(cpu, insn));
    case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64: return step(cpu, insn, fxrstor(cpu, insn));
    case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64: return step(cpu, insn, xsave(cpu, insn, XsaveForm::xsave));
    case ZYDIS_MNEMONIC_XSAVEOPT: case ZYDIS_MNEMONIC_XSAVEOPT64:
      return step(cpu, insn, xsave(cpu, insn, XsaveForm::xsaveopt));
    case ZYDIS_MNEMONIC_XSAVEC: case ZYDIS_MNEMONIC_XSAVEC64: return step(cpu, insn, xsave(cpu, insn, XsaveForm::xsavec));
    case ZYDIS_MNEMONIC_XSAVES: case ZYDIS_MNEMONIC_XSAVES64: return step(cpu, insn, xsave(cpu, insn, XsaveForm::xsaves));
    case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64: return step(cpu, insn, xrstor(cpu, insn, false));
    case ZYDIS_MNEMONIC_XRSTORS: case ZYDIS_MNEMONIC_XRSTORS64: return step(cpu, insn, xrstor(cpu, insn, true));
    case ZYDIS_MNEMONIC_FNSTENV: return step(cpu, insn, fnstenv(cpu, insn, false));
    case ZYDIS_MNEMONIC_FNSAVE: return step(cpu, insn, fnstenv(cpu, insn, true));
    case ZYDIS_MNEMONIC_FLDENV: return step(cpu, insn, fldenv(cpu, insn, false));
    case ZYDIS_MNEMONIC_FRSTOR: return step(cpu, insn, fldenv(cpu, insn, true));
    default: break;
  }
  if (insn.vex || insn.evex || insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ || insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU) {
    return step(cpu, insn, dispatch_vector(cpu, insn));
  }
  return execute(cpu, insn);
}

}  // namespace
}  // namespace exec

bool execute_heavy(SoftCpu& cpu, const Insn& insn) {
  const bool before = cpu.heavy;
  const ScopeExit restore([&] { cpu.heavy = before; });
  cpu.heavy = true;
  cpu.need_heavy = false;
  return exec::dispatch(cpu, insn);
}

}  // namespace nagaya::engine::soft
