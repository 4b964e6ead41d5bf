// Memory operands of the form [base + displacement], by far the most common one: the host address is formed by the instruction itself,
// as [R11 + base + displacement] with R11 = host - linear of the page. Several such operands off one unchanged base share one
// lookup: prologues and epilogues, structure fields, spilled locals. Where the check of the whole range fails for good (it crosses a
// page), a careful block runs the instructions one by one.
#include <algorithm>

#include "engine/soft/light/memory.hpp"
#include "engine/soft/translate.hpp"

namespace nagaya::engine::soft {
namespace {

/// Widest range that one check covers.
constexpr i32 max_span = 1024;

unsigned temporaries(const Decoded& d) {
  unsigned n = d.rcx_in || d.rcx_out ? 1 : 0;
  bool seen[2] = {};
  for (unsigned i = 0; i < d.gpr_count; ++i) {
    if (d.gpr[i].high8) return 2;
    const unsigned r = d.gpr[i].reg;
    if ((r == 10 || r == 11) && !seen[r - 10]) seen[r - 10] = true, ++n;
  }
  return n;
}

bool writes(const Decoded& d, unsigned guest) {
  for (unsigned i = 0; i < d.gpr_count; ++i)
    if (d.gpr[i].write && d.gpr[i].reg == guest) return true;
  return (d.implicit_writes >> guest & 1) != 0;
}

}  // namespace

bool Translator::based(const Insn& n) const {
  return source_.mode.is64() && n.addrsize == 8 && n.seg < x86::FS && n.base != no_reg && n.base != rip_reg && !spilled(n.base) &&
         n.index == no_reg;
}

/// Leaves R11 = host - linear for [base + disp, + span), RCX free. Returns the position of the rel32 taken when the check fails.
u32 Translator::check_based(unsigned base, i32 disp, unsigned span, bool write, bool live) {
  const std::size_t table = offsetof(SoftCpu, tlb) + source_.mode.kind() * sizeof(TlbEntry) * tlb_entries;
  const std::size_t neg = table + (write ? offsetof(TlbEntry, negtag_write) : offsetof(TlbEntry, negtag_read));
  const std::size_t addend = table + offsetof(TlbEntry, addend);
  const auto b = static_cast<i8>(host(base));
  if (!live) {
    e_.lea32(temp1, {b, -1, 1, disp});
    e_.byte(0xc1), e_.byte(0xe9), e_.byte(7);                        // shr ecx, 7
    e_.byte(0x81), e_.byte(0xe1), e_.imm32((tlb_entries - 1) << 5);  // and ecx, mask
    e_.load(temp0, Emitter::gs(addend, temp1, 1));
    e_.load(temp1, Emitter::gs(neg, temp1, 1));
    b == h_rsp ? e_.lea(temp1, {h_rsp, temp1, 1, disp}) : e_.lea(temp1, {temp1, b, 1, disp});
    e_.op_reg(0, true, {0x81}, 7, temp1), e_.imm32(4096 - span);  // cmp rcx, 4096 - span
    return e_.jcc32(7);                                           // ja
  }
  e_.lea(temp1, {b, -1, 1, disp});
  e_.pext(temp1, temp1, Emitter::gs(offsetof(SoftCpu, pext_index)));
  e_.lea32(temp1, {-1, temp1, 4, 0});
  e_.load(temp0, Emitter::gs(addend, temp1, 8));
  e_.load(temp1, Emitter::gs(neg, temp1, 8));
  const i64 last = static_cast<i64>(disp) + span - 1;
  if (last == static_cast<i32>(last)) {
    b == h_rsp ? e_.lea(temp1, {h_rsp, temp1, 1, static_cast<i32>(last)}) : e_.lea(temp1, {temp1, b, 1, static_cast<i32>(last)});
  } else {
    b == h_rsp ? e_.lea(temp1, {h_rsp, temp1, 1, disp}) : e_.lea(temp1, {temp1, b, 1, disp});
    e_.lea(temp1, {temp1, -1, 1, static_cast<i32>(span) - 1});
  }
  e_.pext(temp1, temp1, Emitter::gs(offsetof(SoftCpu, pext_page)));
  const u32 hit = e_.jrcxz();
  const u32 slow = e_.jmp32();
  e_.bind8(hit);
  return slow;
}

namespace {

HostMem based_operand(HostReg base, i32 disp) {
  // RSP cannot be an index.
  if (base == h_rsp) return {h_rsp, temp0, 1, disp};
  return {temp0, static_cast<i8>(base), 1, disp};
}

}  // namespace

void Translator::access_based(const Decoded& d, unsigned base, i32 disp, unsigned size, bool read, bool write, const Body& body) {
  access_seg_ = d.insn.has_mem && base == d.insn.base ? d.insn.seg : static_cast<u8>(x86::SS);
  retry_ = e_.size();
  const u32 slow = check_based(base, disp, size, write, d.flags_live != 0);
  body(based_operand(host(base), disp));
  const u32 desc = slow_desc(size, read, write, source_.mode.kind(), d.masked, d.aligned, access_seg_ == x86::SS);
  if (!careful()) return miss(d, slow, desc, base, disp, -1, false);
  const u32 over = e_.jmp32();
  e_.bind32(slow);
  e_.lea(temp0, {static_cast<i8>(host(base)), -1, 1, disp});
  slow_path(d, over, desc, body);
}

/// Whether `d` may stand in a group. `base` is -1 when it has no memory operand.
bool Translator::groupable(const Decoded& d, int& base, i32& disp, unsigned& size, bool& write) const {
  base = -1;
  switch (d.kind) {
    case Kind::nothing: return true;
    case Kind::lea: return simple_lea(d.insn);
    case Kind::native: {
      if (temporaries(d) > 1 || d.masked) return false;
      if (!d.insn.has_mem) return true;
      if (!based(d.insn) || d.insn.mem_size == 0 || d.insn.mem_size > 64) return false;
      if (d.insn.disp < -0x10000000 || d.insn.disp > 0x10000000) return false;
      base = d.insn.base;
      disp = static_cast<i32>(d.insn.disp);
      size = d.insn.mem_size;
      write = d.mem_write;
      return true;
    }
    case Kind::push_reg:
    case Kind::push_imm:
      if (d.kind == Kind::push_imm && static_cast<i64>(d.insn.imm) != static_cast<i32>(d.insn.imm)) return false;
      base = x86::RSP, disp = -8, size = 8, write = true;
      return true;
    case Kind::pop_reg:
      if (d.insn.rm == x86::RSP) return false;
      base = x86::RSP, disp = 0, size = 8, write = false;
      return true;
    case Kind::ret: base = x86::RSP, disp = 0, size = 8, write = false; return true;
    case Kind::call_rel: base = x86::RSP, disp = -8, size = 8, write = true; return true;
    default: return false;
  }
}

/// End of the longest group from `first`, or `first` when fewer than two operands would share the check.
std::size_t Translator::group_end(std::size_t first, int& group_base, i32& lo, i32& hi, bool& any_write) const {
  group_base = -1;
  any_write = false;
  i32 moved = 0;  // RSP since the start of the group
  std::size_t end = first;
  unsigned operands = 0;
  for (std::size_t i = first; i < insns_.size(); ++i) {
    const Decoded& d = insns_[i];
    int base;
    i32 disp = 0;
    unsigned size = 0;
    bool write = false;
    if (!groupable(d, base, disp, size, write)) break;
    if (i == first && base < 0) return first;
    if (base >= 0) {
      if (group_base < 0) group_base = base;
      if (base != group_base) break;
      const i32 at = disp + moved;
      const i32 new_lo = operands ? std::min(lo, at) : at, new_hi = operands ? std::max(hi, at + static_cast<i32>(size)) : at + static_cast<i32>(size);
      if (new_hi - new_lo > max_span) break;
      lo = new_lo, hi = new_hi;
      any_write = any_write || write;
      ++operands;
      end = i + 1;
    }
    switch (d.kind) {
      case Kind::push_reg: case Kind::push_imm: moved -= 8; break;
      case Kind::pop_reg:
        moved += 8;
        if (d.insn.rm == group_base) return operands >= 2 ? end : first;
        break;
      case Kind::call_rel:
      case Kind::ret: return operands >= 2 ? end : first;
      case Kind::lea:
        if (d.insn.reg == group_base) return operands >= 2 ? end : first;
        break;
      case Kind::native:
        if (writes(d, static_cast<unsigned>(group_base))) return operands >= 2 ? end : first;
        break;
      default: break;
    }
  }
  return operands >= 2 ? end : first;
}

/// One instruction behind a passed check: R11 = host - linear.
void Translator::emit_grouped(const Decoded& d) {
  begin(d);
  const HostMem below = based_operand(h_rsp, -8), top = based_operand(h_rsp, 0);
  switch (d.kind) {
    case Kind::native: {
      if (!d.insn.has_mem) return native_body(d, nullptr);
      const HostMem m = based_operand(host(d.insn.base), static_cast<i32>(d.insn.disp));
      return native_body(d, &m);
    }
    case Kind::push_reg:
      if (spilled(d.insn.rm)) {
        e_.load(temp1, gpr(d.insn.rm));
        e_.store(below, temp1);
      } else {
        e_.store(below, host(d.insn.rm));
      }
      return adjust_rsp(-8);
    case Kind::push_imm:
      e_.op_mem(0, true, {0xc7}, 0, below), e_.imm32(static_cast<u32>(d.insn.imm));
      return adjust_rsp(-8);
    case Kind::pop_reg:
      if (spilled(d.insn.rm)) {
        e_.load(temp1, top);
        e_.store(gpr(d.insn.rm), temp1);
      } else {
        e_.load(host(d.insn.rm), top);
      }
      return adjust_rsp(8);
    case Kind::ret:
      e_.load(temp0, top);
      adjust_rsp(static_cast<int>(8 + (d.imm_size ? d.insn.imm & 0xffff : 0)));
      return exit_indirect();
    case Kind::call_rel:
      e_.load(temp1, Emitter::gs(offsetof(SoftCpu, pc_base)));
      e_.lea(temp1, {temp1, -1, 1, static_cast<i32>(d.offset + d.insn.length)});
      e_.store(below, temp1);
      adjust_rsp(-8);
      return exit_direct(branch_target(d), d.offset, false);
    case Kind::lea: return lea(d);
    default: return;
  }
}

/// Emits the group that begins at `first`; returns its end, or `first` when there is none.
std::size_t Translator::emit_group(std::size_t first) {
  if (!source_.mode.is64() || careful()) return first;
  int base;
  i32 lo = 0, hi = 0;
  bool write;
  const std::size_t end = group_end(first, base, lo, hi, write);
  if (end == first) return first;
  // Units that raise instead of executing end the block: left to the ordinary way.
  for (std::size_t i = first; i < end; ++i) {
    if (insns_[i].kind == Kind::native && unit_fault(insns_[i]) >= 0) return first;
  }
  begin(insns_[first]);
  const u32 slow = check_based(static_cast<unsigned>(base), lo, static_cast<unsigned>(hi - lo), write, insns_[first].flags_live != 0);
  const u32 desc = slow_desc(static_cast<unsigned>(hi - lo), !write, write, source_.mode.kind());
  miss(insns_[first], slow, desc, static_cast<unsigned>(base), lo, -1, true);
  for (std::size_t i = first; i < end; ++i) emit_grouped(insns_[i]);
  return end;
}

}  // namespace nagaya::engine::soft
