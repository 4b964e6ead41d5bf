// Memory operands: the guest's effective address, the inline TLB lookup, and the out-of-line path behind it.
#include "engine/soft/light/memory.hpp"
#include "engine/soft/translate.hpp"

namespace nagaya::engine::soft {

/// R11 = linear address. Clobbers RCX; keeps flags.
void Translator::effective_address(const Insn& n, u32 next_offset, i64 extra) {
  const bool a32 = n.addrsize == 4;
  const i64 disp = n.disp + extra;
  if (n.base == rip_reg) {
    e_.load(temp0, Emitter::gs(offsetof(SoftCpu, pc_base)));
    const i64 total = disp + next_offset;
    if (total == static_cast<i32>(total)) {
      e_.lea(temp0, {temp0, -1, 1, static_cast<i32>(total)});
    } else {
      e_.lea(temp0, {temp0, -1, 1, static_cast<i32>(disp)});
      e_.lea(temp0, {temp0, -1, 1, static_cast<i32>(next_offset)});
    }
    if (a32) e_.mov32(temp0, temp0);
  } else if (n.addrsize == 2) {
    if (n.base == no_reg && n.index == no_reg) {
      e_.mov_imm(temp0, static_cast<u16>(disp));
    } else {
      const u8 first = n.base != no_reg ? n.base : n.index;
      e_.movzx16(temp0, host(first));
      if (n.base != no_reg && n.index != no_reg) {
        e_.movzx16(temp1, host(n.index));
        e_.lea32(temp0, {temp0, temp1, 1, static_cast<i32>(disp)});
      } else if (disp) {
        e_.lea32(temp0, {temp0, -1, 1, static_cast<i32>(disp)});
      }
      e_.movzx16(temp0, temp0);
    }
  } else if (n.base == no_reg && n.index == no_reg) {
    e_.mov_imm(temp0, a32 ? static_cast<u32>(disp) : static_cast<u64>(disp));
  } else {
    HostMem m;
    m.disp = static_cast<i32>(disp);
    if (n.base != no_reg) {
      if (spilled(n.base)) e_.load(temp0, gpr(n.base));
      m.base = static_cast<i8>(spilled(n.base) ? temp0 : host(n.base));
    }
    if (n.index != no_reg) {
      if (spilled(n.index)) e_.load(temp1, gpr(n.index));
      m.index = static_cast<i8>(spilled(n.index) ? temp1 : host(n.index));
      m.scale = n.scale;
    }
    if (m.index < 0 && m.disp == 0) {
      a32 ? e_.mov32(temp0, static_cast<HostReg>(m.base)) : m.base == temp0 ? void() : e_.mov(temp0, static_cast<HostReg>(m.base));
    } else {
      a32 ? e_.lea32(temp0, m) : e_.lea(temp0, m);
    }
  }
}

/// Offset in R11 → linear address in R11.
void Translator::segment_base(u8 seg, unsigned size, bool write, u32 offset) {
  const Mode mode = source_.mode;
  access_seg_ = seg;
  if (mode.is64()) {
    if (seg < x86::FS) return;
    e_.load(temp1, Emitter::gs(offsetof(SoftCpu, lin_seg_base) + 8 * seg));
    e_.lea(temp0, {temp0, temp1, 1, 0});
    return;
  }
  SegClass c = mode.seg(seg);
  if (seg == x86::CS && write) c = SegClass::checked;
  if (c == SegClass::flat) return;
  if (c == SegClass::based) {
    e_.load(temp1, Emitter::gs(offsetof(SoftCpu, lin_seg_base) + 8 * seg));
    e_.lea32(temp0, {temp0, temp1, 1, 0});
    return;
  }
  const u32 data = e_.lea_rip(temp1);
  exit_thunk(thunk_segment);
  e_.bind32(data);
  e_.imm32(size | static_cast<u32>(write ? Access::write : Access::read) << 16 | static_cast<u32>(seg) << 24);
  e_.imm32(offset);
}

/// The access to `size` bytes at linear address R11: `body` is emitted for the hit and again for the slow path, with the host
/// address it shall use. With `need_rcx` that address leaves RCX free. Flags that are live survive.
void Translator::access(const Decoded& d, unsigned size, bool read, bool write, bool need_rcx, const Body& body) {
  const TlbKind kind = source_.mode.kind();
  const std::size_t table = offsetof(SoftCpu, tlb) + kind * sizeof(TlbEntry) * tlb_entries;
  const std::size_t neg = table + (write ? offsetof(TlbEntry, negtag_write) : offsetof(TlbEntry, negtag_read));
  const std::size_t host_at = table + offsetof(TlbEntry, host);
  const bool live = d.flags_live != 0;
  u32 slow;
  if (!live) {
    e_.mov32(temp1, temp0);
    e_.byte(0xc1), e_.byte(0xe9), e_.byte(7);                                  // shr ecx, 7
    e_.byte(0x81), e_.byte(0xe1), e_.imm32((tlb_entries - 1) << 5);            // and ecx, mask
    e_.op_mem(0, true, {0x03}, temp0, Emitter::gs(neg, temp1, 1));             // add r11, [negtag]
    e_.op_reg(0, true, {0x81}, 7, temp0), e_.imm32(4096 - size);               // cmp r11, 4096 - size
    slow = e_.jcc32(7);                                                        // ja
    if (need_rcx) {
      e_.op_mem(0, true, {0x03}, temp0, Emitter::gs(host_at, temp1, 1));
      body({temp0, -1, 1, 0});
    } else {
      e_.load(temp1, Emitter::gs(host_at, temp1, 1));
      body({temp0, temp1, 1, 0});
    }
  } else {
    e_.pext(temp1, temp0, Emitter::gs(offsetof(SoftCpu, pext_index)));
    e_.lea32(temp1, {-1, temp1, 4, 0});
    e_.load(temp1, Emitter::gs(neg, temp1, 8));
    e_.lea(temp1, {temp1, temp0, 1, static_cast<i32>(size) - 1});
    e_.pext(temp1, temp1, Emitter::gs(offsetof(SoftCpu, pext_page)));
    const u32 hit = e_.jrcxz();
    slow = e_.jmp32();
    e_.bind8(hit);
    e_.pext(temp1, temp0, Emitter::gs(offsetof(SoftCpu, pext_index)));
    e_.lea32(temp1, {-1, temp1, 4, 0});
    e_.load(temp1, Emitter::gs(host_at, temp1, 8));
    e_.pext(temp0, temp0, Emitter::gs(offsetof(SoftCpu, pext_offset)));
    if (need_rcx) {
      e_.lea(temp0, {temp0, temp1, 1, 0});
      body({temp0, -1, 1, 0});
    } else {
      body({temp0, temp1, 1, 0});
    }
  }
  const u32 desc = slow_desc(size, read, write, kind, d.masked, d.aligned, access_seg_ == x86::SS);
  if (!careful()) return miss(d, slow, desc, no_reg, 0, live ? -1 : static_cast<i32>(neg), false);
  const u32 over = e_.jmp32();
  e_.bind32(slow);
  if (!live) e_.op_mem(0, true, {0x2b}, temp0, Emitter::gs(neg, temp1, 1));  // sub r11, [negtag]: the address again
  slow_path(d, over, desc, body);
}

/// Out of line, when the code at `slow` jumps there: C++ brings the page into the TLB and the lookup starts again (this one only: an
/// instruction with two operands in one set of the TLB would never end), or the instruction goes on in a careful block. `base` and
/// `disp` tell the address, or with `base` == no_reg R11 does (plus gs:[negtag + RCX]).
void Translator::miss(const Decoded& d, u32 slow, u32 desc, unsigned base, i32 disp, i32 negtag, bool group) {
  MissSite& site = cache_.make<MissSite>();
  site.block = cache_.record_id(block_);
  site.disp = disp;
  site.desc = desc | base << 24;
  site.retry = static_cast<u16>(retry_);
  site.guest = static_cast<u16>(d.offset | (group ? miss_of_group : 0));
  stubs_.push_back({.what = Stub::What::miss, .rel = slow, .miss = &site, .negtag = negtag});
}

/// In a careful block, with the linear address in R11: asks C++ for a host address, repeats `body` on it, and writes back what
/// went to the bounce buffer. `over` is the jump of those that hit.
void Translator::slow_path(const Decoded& d, u32 over, u32 desc, const Body& body) {
  const u32 data = e_.lea_rip(temp1);
  exit_thunk(thunk_mem_slow);
  e_.bind32(data);
  e_.imm32(desc);
  e_.imm32(d.offset);
  if (d.masked) {  // 1 instead of an address: interpret it
    e_.lea(temp1, {temp0, -1, 1, -1});
    const u32 interpret = e_.jrcxz();
    const u32 go = e_.jmp32();
    e_.bind8(interpret);
    exit_execute(d);
    e_.bind32(go);
  }
  body({temp0, -1, 1, 0});
  if (desc & slow_write) {
    e_.load32(temp1, Emitter::gs(offsetof(SoftCpu, bounce_write)));
    const u32 done = e_.jrcxz();
    const u32 at = e_.lea_rip(temp1);
    exit_thunk(thunk_commit);
    e_.bind32(at);
    e_.imm32(d.offset + d.insn.length);
    // A call still has to reach its target: it goes on, and leaves this block anyway.
    e_.imm32(d.kind == Kind::call_rel || d.kind == Kind::call_rm ? 1 : 0);
    e_.bind8(done);
  }
  e_.bind32(over);
}

/// The ModRM memory operand of `d`.
void Translator::operand(const Decoded& d, bool need_rcx, const Body& body) {
  if (based(d.insn)) {
    access_based(d, d.insn.base, static_cast<i32>(d.insn.disp), d.insn.mem_size ? d.insn.mem_size : 1, d.mem_read || !d.mem_write, d.mem_write,
                 body);
    return;
  }
  retry_ = e_.size();
  effective_address(d.insn, d.offset + d.insn.length, 0);
  const unsigned size = d.insn.mem_size ? d.insn.mem_size : 1;
  segment_base(d.insn.seg, size, d.mem_write, d.offset);
  access(d, size, d.mem_read || !d.mem_write, d.mem_write, need_rcx, body);
}

void Translator::stack_address(int displacement, const Decoded& d, unsigned size, bool write) {
  retry_ = e_.size();
  if (source_.mode.is64()) {
    displacement ? e_.lea(temp0, {h_rsp, -1, 1, displacement}) : e_.mov(temp0, h_rsp);
  } else {
    displacement ? e_.lea32(temp0, {h_rsp, -1, 1, displacement}) : e_.mov32(temp0, h_rsp);
  }
  segment_base(x86::SS, size, write, d.offset);
}

/// `body` reads one stack slot at the top.
void Translator::stack_load(const Decoded& d, const Body& body) {
  const unsigned width = stack_width();
  if (source_.mode.is64()) return access_based(d, x86::RSP, 0, width, true, false, body);
  stack_address(0, d, width, false);
  access(d, width, true, false, false, body);
}

void Translator::adjust_rsp(int by) {
  source_.mode.is64() ? e_.lea(h_rsp, {h_rsp, -1, 1, by}) : e_.lea32(h_rsp, {h_rsp, -1, 1, by});
}

void Translator::push_value(const Decoded& d, const Body& value_to_rcx) {
  const unsigned width = stack_width();
  // RSP moves inside the body: when the store drops this very block, translated code is left right after it.
  const auto body = [this, &value_to_rcx, width](HostMem m) {
    value_to_rcx(m);
    width == 8 ? e_.store(m, temp1) : e_.store32(m, temp1);
    adjust_rsp(-static_cast<int>(width));
  };
  if (source_.mode.is64()) return access_based(d, x86::RSP, -8, 8, false, true, body);
  stack_address(-static_cast<int>(width), d, width, true);
  access(d, width, false, true, true, body);
}

void Translator::stack(const Decoded& d) {
  const Mode mode = source_.mode;
  const unsigned width = stack_width();
  const HostMem saved = Emitter::gs(offsetof(SoftCpu, scratch));
  switch (d.kind) {
    case Kind::push_reg: push_value(d, [this, r = d.insn.rm](HostMem) { load_guest(temp1, r); }); return;
    case Kind::push_imm: push_value(d, [this, v = d.insn.imm, width](HostMem) { e_.mov_imm(temp1, width == 8 ? v : static_cast<u32>(v)); }); return;
    case Kind::push_mem:
      operand(d, true, [this, width, saved](HostMem m) {
        width == 8 ? e_.load(temp1, m) : e_.load32(temp1, m);
        e_.store(saved, temp1);
      });
      push_value(d, [this, saved](HostMem) { e_.load(temp1, saved); });
      return;
    case Kind::pop_reg:
      stack_load(d, [this, width](HostMem m) { width == 8 ? e_.load(temp0, m) : e_.load32(temp0, m); });
      if (d.insn.rm != x86::RSP) adjust_rsp(static_cast<int>(width));
      store_guest(d.insn.rm, temp0);
      return;
    case Kind::pop_mem:
      stack_address(0, d, width, false);
      access(d, width, true, false, false, [this, width, saved](HostMem m) {
        width == 8 ? e_.load(temp0, m) : e_.load32(temp0, m);
        e_.store(saved, temp0);
      });
      retry_ = e_.size();
      // An address formed with RSP uses its value after the pop.
      effective_address(d.insn, d.offset + d.insn.length, d.insn.base == x86::RSP ? static_cast<i64>(width) : 0);
      segment_base(d.insn.seg, width, true, d.offset);
      access(d, width, false, true, true, [this, width, saved](HostMem m) {
        e_.load(temp1, saved);
        width == 8 ? e_.store(m, temp1) : e_.store32(m, temp1);
        adjust_rsp(static_cast<int>(width));
      });
      return;
    case Kind::leave:
      mode.is64() ? e_.mov(temp0, h_rbp) : e_.mov32(temp0, h_rbp);
      segment_base(x86::SS, width, false, d.offset);
      access(d, width, true, false, false, [this, width](HostMem m) { width == 8 ? e_.load(temp0, m) : e_.load32(temp0, m); });
      mode.is64() ? e_.lea(h_rsp, {h_rbp, -1, 1, 8}) : e_.lea32(h_rsp, {h_rbp, -1, 1, 4});
      e_.mov(h_rbp, temp0);
      return;
    default: return;
  }
}

}  // namespace nagaya::engine::soft
