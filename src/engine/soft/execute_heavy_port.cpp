// IN, OUT, INS, OUTS. Source: Intel SDM vol. 2; vol. 1, chapter 19.
#include "engine/engine.hpp"
#include "engine/soft/execute_heavy.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/light/watch.hpp"

namespace nagaya::engine::soft::exec {
namespace {

/// A repeated transfer comes back after this many bytes, so that interrupts are taken.
constexpr unsigned bytes_per_call = 4096;

unsigned port_size(const Insn& insn) { return insn.opcode & 1 ? (insn.opsize == 2 ? 2 : 4) : 1; }

/// The port of IN and OUT: an immediate (E4..E7) or DX (EC..EF).
u16 port_number(const SoftCpu& cpu, const Insn& insn) {
  return static_cast<u16>(insn.opcode & 8 ? cpu.s.gpr[RDX] : insn.imm & 0xff);
}

u32 read_port(SoftCpu& cpu, u16 port, unsigned size) {
  note_port(cpu, port, size);
  u8 data[4] = {0xff, 0xff, 0xff, 0xff};
  if (cpu.io) cpu.io->port_read(port, std::span(data, size));
  return static_cast<u32>((data[0] | data[1] << 8 | data[2] << 16 | u64{data[3]} << 24) & size_mask(size));
}

void write_port(SoftCpu& cpu, u16 port, unsigned size, u64 value) {
  note_port(cpu, port, size);
  const u8 data[4] = {static_cast<u8>(value), static_cast<u8>(value >> 8), static_cast<u8>(value >> 16),
                      static_cast<u8>(value >> 24)};
  if (cpu.io) cpu.io->port_write(port, std::span(data, size));
}

bool one_transfer(SoftCpu& cpu, const Insn& insn, bool out, unsigned size) {
  const auto port = static_cast<u16>(cpu.s.gpr[RDX]);
  const u8 pointer = out ? RSI : RDI;
  const u64 offset = cpu.s.gpr[pointer] & size_mask(insn.addrsize);
  u64 linear, value = 0;
  if (!linear_address(cpu, out ? insn.seg : u8{ES}, offset, size, out ? Access::read : Access::write, linear)) return false;
  if (out) {
    if (!mem_read(cpu, linear, &value, size, current_kind(cpu))) return false;
    write_port(cpu, port, size, value);
  } else {
    // A port read cannot be taken back: the write must be sure to succeed.
    if (!mem_probe_write(cpu, linear, size, current_kind(cpu))) return false;
    value = read_port(cpu, port, size);
    if (!mem_write(cpu, linear, &value, size, current_kind(cpu))) return false;
  }
  write_gpr(cpu, pointer, insn.addrsize, true, flag(cpu, flag_df) ? cpu.s.gpr[pointer] - size : cpu.s.gpr[pointer] + size);
  return true;
}

}  // namespace

bool port_in(SoftCpu& cpu, const Insn& insn) {
  const unsigned size = port_size(insn);
  const u16 port = port_number(cpu, insn);
  if (!port_allowed(cpu, port, size)) return false;
  write_gpr(cpu, RAX, size, true, read_port(cpu, port, size));
  return true;
}

bool port_out(SoftCpu& cpu, const Insn& insn) {
  const unsigned size = port_size(insn);
  const u16 port = port_number(cpu, insn);
  if (!port_allowed(cpu, port, size)) return false;
  write_port(cpu, port, size, cpu.s.gpr[RAX]);
  return true;
}

bool port_string(SoftCpu& cpu, const Insn& insn, bool out) {
  const unsigned size = port_size(insn);
  if (!port_allowed(cpu, static_cast<u16>(cpu.s.gpr[RDX]), size)) return false;
  if (!insn.rep && !insn.repne) return one_transfer(cpu, insn, out, size) && advance(cpu, insn);
  for (unsigned budget = flag(cpu, flag_tf) || (cpu.s.dr7 & 0xff) ? 1 : bytes_per_call / size; ; --budget) {
    const u64 left = read_gpr(cpu, RCX, insn.addrsize, true);
    if (left == 0) return advance(cpu, insn);
    if (budget == 0) {
      if (flag(cpu, flag_tf) || (cpu.s.dr7 & 0xff)) set_flag(cpu, flag_rf, true);
      return true;
    }
    if (!one_transfer(cpu, insn, out, size)) return false;
    write_gpr(cpu, RCX, insn.addrsize, true, left - 1);
  }
}

}  // namespace nagaya::engine::soft::exec
