// Re-encoding: the guest's own instruction with its registers renamed and its memory operand replaced by a host address.
#include <Zydis/Mnemonic.h>

#include "engine/soft/translate.hpp"

namespace nagaya::engine::soft {
namespace {

bool has_high8(const Decoded& d) {
  for (unsigned i = 0; i < d.gpr_count; ++i)
    if (d.gpr[i].high8) return true;
  return false;
}

bool has_spilled(const Decoded& d) {
  for (unsigned i = 0; i < d.gpr_count; ++i)
    if (!d.gpr[i].high8 && (d.gpr[i].reg == 10 || d.gpr[i].reg == 11)) return true;
  return false;
}

bool uses(const Decoded& d, unsigned guest) {
  for (unsigned i = 0; i < d.gpr_count; ++i)
    if (d.gpr[i].reg == guest) return true;
  return false;
}

}  // namespace

void Translator::native(const Decoded& d) {
  if (!d.insn.has_mem) return native_body(d, nullptr);
  const bool need_rcx = d.rcx_in || d.rcx_out || has_spilled(d) || has_high8(d);
  operand(d, need_rcx, [this, &d](HostMem m) { native_body(d, &m); });
}

/// Emits `d` with its operands placed. `mem`: the host address, in R11 (and RCX when that is free of other uses).
void Translator::native_body(const Decoded& d, const HostMem* mem) {
  const bool high8 = has_high8(d);
  bool rcx_in = d.rcx_in, rcx_out = d.rcx_out;
  int place[4] = {-1, -1, -1, -1};
  // An instruction with AH, CH, DH or BH can have no REX: all its registers, the address included, must be legacy ones.
  if (high8) {
    for (unsigned i = 0; i < d.gpr_count; ++i) {
      const GprOperand& g = d.gpr[i];
      place[i] = g.high8 ? g.reg + 4 : g.reg;
      if (g.reg == 1) rcx_in = true, rcx_out = rcx_out || g.write;
    }
  }
  const bool rcx_busy = rcx_in || rcx_out;
  HostMem address;
  int borrowed = -1;  // host register saved in scratch[1] around the instruction
  const HostMem borrow_slot = Emitter::gs(offsetof(SoftCpu, scratch) + 8);
  if (mem) address = *mem;
  if (high8 && mem) {
    if (!rcx_busy) {
      mem->index >= 0 ? e_.lea(temp1, *mem) : e_.mov(temp1, static_cast<HostReg>(mem->base));
      address = {temp1, -1, 1, 0};
    } else {
      borrowed = h_rsi;
      e_.store(borrow_slot, h_rsi);
      e_.lea(h_rsi, *mem);
      address = {h_rsi, -1, 1, 0};
    }
  }
  int temp_of[2] = {-1, -1};  // of guest R10, R11
  if (!high8) {
    bool r11_free = mem == nullptr, rcx_free = !rcx_busy && !(mem && mem->index == temp1);
    for (unsigned i = 0; i < d.gpr_count; ++i) {
      const GprOperand& g = d.gpr[i];
      if (!spilled(g.reg)) {
        place[i] = host(g.reg);
        continue;
      }
      int& t = temp_of[g.reg - 10];
      if (t < 0) {
        if (rcx_free) {
          t = temp1, rcx_free = false;
        } else if (r11_free) {
          t = temp0, r11_free = false;
        } else {
          for (unsigned r = 15; r >= 12; --r) {
            if (!uses(d, r) && !(mem && mem->index == static_cast<int>(r))) {
              t = static_cast<int>(r);
              break;
            }
          }
          borrowed = t;
          e_.store(borrow_slot, static_cast<HostReg>(t));
        }
      }
      place[i] = t;
    }
    for (unsigned i = 0; i < d.gpr_count; ++i) {
      if (spilled(d.gpr[i].reg) && d.gpr[i].read) e_.load(static_cast<HostReg>(place[i]), gpr(d.gpr[i].reg));
    }
  }
  if (rcx_in) e_.mov(temp1, h_r10);
  encode(d, mem ? &address : nullptr, place, -1);
  if (rcx_out) e_.mov(h_r10, temp1);
  if (!high8) {
    for (unsigned i = 0; i < d.gpr_count; ++i) {
      if (spilled(d.gpr[i].reg) && d.gpr[i].write) e_.store(gpr(d.gpr[i].reg), static_cast<HostReg>(place[i]));
    }
  }
  if (borrowed >= 0) e_.load(static_cast<HostReg>(borrowed), borrow_slot);
}

/// `forced`: a host register to encode for ModRM.reg (bit_string), or -1.
void Translator::encode(const Decoded& d, const HostMem* mem, const int* place, int forced) {
  const Insn& n = d.insn;
  int reg = -1, rm = -1, op_reg = -1, vvvv = -1;
  bool byte_register = false, high8 = false;
  for (unsigned i = 0; i < d.gpr_count; ++i) {
    switch (d.gpr[i].place) {
      case RegPlace::modrm_reg: reg = place[i]; break;
      case RegPlace::modrm_rm: rm = place[i]; break;
      case RegPlace::opcode: op_reg = place[i]; break;
      case RegPlace::vvvv: vvvv = place[i]; break;
    }
    if (d.gpr[i].size == 1) byte_register = true;
    if (d.gpr[i].high8) high8 = true;
  }
  if (forced >= 0) reg = forced;
  const u8* imm = d.bytes + d.imm_offset;

  if (d.encoding == Encoding::legacy) {
    if (d.lock) e_.byte(0xf0);
    if (d.prefix66) e_.byte(0x66);
    if (d.mandatory) e_.byte(d.mandatory);
    u8 opcode = n.opcode;
    unsigned modrm_reg = reg >= 0 ? static_cast<unsigned>(reg) : n.reg;
    const bool moffs = mem && !n.has_modrm;  // A0..A3: becomes MOV with ModRM and the accumulator
    if (moffs) {
      opcode = static_cast<u8>(opcode == 0xa0 ? 0x8a : opcode == 0xa1 ? 0x8b : opcode == 0xa2 ? 0x88 : 0x89);
      modrm_reg = 0;
    }
    // 40..4F outside 64-bit mode are REX prefixes in it.
    const bool short_inc = n.opcode_map == 0 && (opcode & 0xf0) == 0x40;
    if (short_inc) {
      modrm_reg = opcode & 8 ? 1 : 0;
      rm = op_reg;
      op_reg = -1;
      opcode = 0xff;
    }
    const unsigned modrm_rm = rm >= 0 ? static_cast<unsigned>(rm) : n.rm;
    const bool modrm = n.has_modrm || moffs || short_inc;
    unsigned rex = d.rex_w ? 8 : 0;
    if (modrm) {
      rex |= (modrm_reg >> 3 & 1) << 2;
      if (mem) {
        if (mem->index >= 0) rex |= (mem->index >> 3 & 1) << 1;
        rex |= mem->base >> 3 & 1;
      } else {
        rex |= modrm_rm >> 3 & 1;
      }
    } else if (op_reg >= 0) {
      rex |= static_cast<unsigned>(op_reg) >> 3 & 1;
    }
    if (rex || (byte_register && !high8 && d.rex)) e_.byte(0x40 | rex);
    if (n.opcode_map >= 1) e_.byte(0x0f);
    if (n.opcode_map == 2) e_.byte(0x38);
    if (n.opcode_map == 3) e_.byte(0x3a);
    e_.byte(op_reg >= 0 ? (opcode & 0xf8) | (op_reg & 7) : opcode);
    if (modrm) {
      if (mem) {
        e_.modrm_mem(modrm_reg & 7, *mem);
      } else {
        e_.byte(0xc0 | (modrm_reg & 7) << 3 | (modrm_rm & 7));
      }
    }
    if (d.imm_size && !moffs) e_.bytes(imm, d.imm_size);
    return;
  }

  const u8* raw = d.bytes + d.payload;
  const unsigned modrm_reg = reg >= 0 ? static_cast<unsigned>(reg) : n.reg;
  const unsigned modrm_rm = rm >= 0 ? static_cast<unsigned>(rm) : n.rm;
  if (d.encoding == Encoding::vex) {
    const bool three = raw[0] == 0xc4;
    const u8 map = three ? raw[1] & 31 : 1;
    u8 last = three ? raw[2] : raw[1] & 0x7f;
    if (vvvv >= 0) last = static_cast<u8>((last & ~0x78) | (~vvvv & 15) << 3);
    unsigned x = 0, b;
    if (mem) {
      x = mem->index >= 0 ? mem->index >> 3 & 1 : 0;
      b = mem->base >> 3 & 1;
    } else {
      b = modrm_rm >> 3 & 1;
    }
    e_.byte(0xc4);
    e_.byte((~modrm_reg >> 3 & 1) << 7 | (~x & 1) << 6 | (~b & 1) << 5 | map);
    e_.byte(last);
  } else {
    u8 p0 = raw[1];
    if (reg >= 0) p0 = static_cast<u8>((p0 & ~0x90) | 0x10 | (~modrm_reg >> 3 & 1) << 7);
    if (mem) {
      const unsigned x = mem->index >= 0 ? mem->index >> 3 & 1 : 0;
      p0 = static_cast<u8>((p0 & ~0x60) | (~x & 1) << 6 | (~(mem->base >> 3) & 1) << 5);
    } else if (rm >= 0) {
      p0 = static_cast<u8>((p0 & ~0x60) | 0x40 | (~modrm_rm >> 3 & 1) << 5);
    }
    e_.byte(0x62);
    e_.byte(p0);
    e_.byte(raw[2]);
    e_.byte(raw[3]);
  }
  e_.byte(n.opcode);
  if (n.has_modrm) {
    if (mem) {
      e_.modrm_mem(modrm_reg & 7, *mem, d.encoding == Encoding::evex);
    } else {
      e_.byte(0xc0 | (modrm_reg & 7) << 3 | (modrm_rm & 7));
    }
  }
  if (d.imm_size) e_.bytes(imm, d.imm_size);
}

/// LEA that is one LEA with other registers.
bool Translator::simple_lea(const Insn& n) const {
  const bool plain = n.addrsize != 2 && n.base != rip_reg && n.base != no_reg && !spilled(n.reg) && !spilled(n.base) &&
                     (n.index == no_reg || !spilled(n.index));
  return plain && (n.opsize == 4 || (n.opsize == 8 && n.addrsize == 8));
}

void Translator::lea(const Decoded& d) {
  const Insn& n = d.insn;
  const unsigned guest = n.reg;
  if (simple_lea(n)) {
    HostMem m;
    m.base = static_cast<i8>(host(n.base));
    m.disp = static_cast<i32>(n.disp);
    if (n.index != no_reg) m.index = static_cast<i8>(host(n.index)), m.scale = n.scale;
    n.opsize == 8 ? e_.lea(host(guest), m) : e_.lea32(host(guest), m);
    return;
  }
  effective_address(n, d.offset + n.length, 0);
  if (n.opsize == 2) {
    if (spilled(guest)) {
      e_.store16(gpr(guest), temp0);
    } else {
      e_.op_reg(0x66, false, {0x89}, temp0, host(guest));
    }
    return;
  }
  if (n.opsize == 4) e_.mov32(temp0, temp0);
  store_guest(guest, temp0);
}

/// OF and the low byte of the flags to memory, RAX kept.
void Translator::save_flags() {
  e_.mov(temp1, h_rax);
  e_.byte(0x9f);                                // lahf
  e_.byte(0x0f), e_.byte(0x90), e_.byte(0xc0);  // seto al
  e_.store16(Emitter::gs(offsetof(SoftCpu, saved_flags)), h_rax);
  e_.mov(h_rax, temp1);
}

void Translator::restore_flags() {
  e_.mov(temp1, h_rax);
  e_.op_mem(0, false, {0x0f, 0xb7}, h_rax, Emitter::gs(offsetof(SoftCpu, saved_flags)));
  e_.byte(0x04), e_.byte(0x7f);  // add al, 7Fh: OF again
  e_.byte(0x9e);                 // sahf
  e_.mov(h_rax, temp1);
}

/// BT, BTS, BTR, BTC with a register offset reach beyond the operand: the offset's high part moves the address, the rest selects the
/// bit. Intel SDM vol. 2A, BT.
void Translator::bit_string(const Decoded& d) {
  const Insn& n = d.insn;
  const unsigned size = n.opsize;
  effective_address(n, d.offset + n.length, 0);
  if (d.flags_live) save_flags();
  load_guest(temp1, n.reg);
  if (size == 4) e_.op_reg(0, true, {0x63}, temp1, temp1);        // movsxd
  if (size == 2) e_.op_reg(0, true, {0x0f, 0xbf}, temp1, temp1);  // movsx
  e_.op_reg(0, true, {0xc1}, 7, temp1), e_.byte(3);               // sar rcx, 3
  e_.op_reg(0, true, {0x83}, 4, temp1), e_.byte(static_cast<u8>(-static_cast<int>(size)));  // and rcx, -size
  e_.op_reg(0, true, {0x01}, temp1, temp0);                       // add r11, rcx
  if (n.addrsize == 4) e_.mov32(temp0, temp0);
  if (n.addrsize == 2) e_.movzx16(temp0, temp0);
  if (d.flags_live) restore_flags();
  segment_base(n.seg, size, d.mem_write, d.offset);
  access(d, size, true, d.mem_write, true, [this, &d, size](HostMem m) {
    const HostMem mask = Emitter::gs(offsetof(SoftCpu, bit_masks) + (size == 8 ? 16 : size == 4 ? 8 : 0));
    if (spilled(d.insn.reg)) {
      e_.load(temp1, gpr(d.insn.reg));
      e_.pext(temp1, temp1, mask);
    } else {
      e_.pext(temp1, host(d.insn.reg), mask);
    }
    const int place[4] = {-1, -1, -1, -1};
    encode(d, &m, place, temp1);
  });
}

}  // namespace nagaya::engine::soft
