// Branches and the ways out of a block.
#include <Zydis/Mnemonic.h>

#include "engine/soft/translate.hpp"

namespace nagaya::engine::soft {

void Translator::emit_rip(u32 offset) {
  e_.load(temp0, Emitter::gs(offsetof(SoftCpu, pc_base)));
  if (offset) e_.lea(temp0, {temp0, -1, 1, static_cast<i32>(offset)});
}

void Translator::exit_thunk(Thunk thunk) {
  e_.byte(0xe9);
  e_.imm32(static_cast<u32>(cache_.trampoline(thunk) - (cache_.next() + e_.size() + 4)));
}

void Translator::exit_with(u32 value, Thunk thunk) {
  e_.byte(0xb9), e_.imm32(value);  // mov ecx, value
  exit_thunk(thunk);
}

/// R11 = RIP: through the jump cache. Flags stay: RIP + (-RIP of the entry) is tested by JRCXZ.
void Translator::exit_indirect() {
  if (source_.mode.has(mode_bits::step)) return exit_thunk(thunk_lookup);
  const std::size_t row = offsetof(SoftCpu, jump) + source_.mode_index * sizeof(JumpEntry) * jump_entries;
  e_.movzx16(temp1, temp0);
  e_.lea32(temp1, {temp1, temp1, 1, 0});
  e_.load(temp1, Emitter::gs(row + offsetof(JumpEntry, neg_rip), temp1, 8));
  e_.lea(temp1, {temp1, temp0, 1, 0});
  const u32 hit = e_.jrcxz();
  exit_thunk(thunk_lookup);
  e_.bind8(hit);
  e_.movzx16(temp1, temp0);
  e_.lea32(temp1, {temp1, temp1, 1, 0});
  e_.jmp_mem(Emitter::gs(row + offsetof(JumpEntry, code), temp1, 8));
}

bool Translator::linkable(i64 target, bool truncate16) const {
  return target >= 0 && target < 4096 && !truncate16 && source_.mode.has(mode_bits::cs_flat) && !source_.mode.has(mode_bits::step);
}

LinkSite& Translator::new_site(i64 target, u32 from) {
  LinkSite& site = cache_.make<LinkSite>();
  site.owner = block_;
  site.next_own = block_->own;
  block_->own = &site;
  site.rip = static_cast<u16>(target);
  site.checked = target <= from;
  return site;
}

void Translator::emit_stub(const Stub& stub) {
  e_.bind32(stub.rel);
  switch (stub.what) {
    case Stub::What::link:
      stub.site->stub = static_cast<u16>(e_.size());
      return exit_with(cache_.record_id(stub.site), thunk_link);
    case Stub::What::far: return exit_direct(stub.target, 0, stub.truncate16);
    case Stub::What::miss:
      if (stub.negtag >= 0) e_.op_mem(0, true, {0x2b}, temp0, Emitter::gs(static_cast<u32>(stub.negtag), temp1, 1));  // sub r11, [negtag]
      return exit_with(cache_.record_id(stub.miss), thunk_miss);
  }
}

/// Leaves for a fixed offset relative to this page. `from`: offset of the branching instruction.
void Translator::exit_direct(i64 target, u32 from, bool truncate16) {
  if (linkable(target, truncate16)) {
    LinkSite& site = new_site(target, from);
    e_.align(4, 1);
    const u32 rel = e_.jmp32();
    site.rel32 = static_cast<u16>(rel);
    stubs_.push_back({.what = Stub::What::link, .rel = rel, .site = &site});
    return;
  }
  e_.load(temp0, Emitter::gs(offsetof(SoftCpu, pc_base)));
  const i64 near_part = target == static_cast<i32>(target) ? target : target / 2;
  e_.lea(temp0, {temp0, -1, 1, static_cast<i32>(near_part)});
  if (near_part != target) e_.lea(temp0, {temp0, -1, 1, static_cast<i32>(target - near_part)});
  if (truncate16) {
    e_.movzx16(temp0, temp0);
  } else if (!source_.mode.is64()) {
    e_.mov32(temp0, temp0);
  }
  exit_indirect();
}

KeptInsn& Translator::keep(const Decoded& d) {
  KeptInsn& kept = cache_.make<KeptInsn>();
  kept.insn = d.insn;
  kept.offset = d.offset;
  return kept;
}

void Translator::exit_execute(const Decoded& d) { exit_with(cache_.record_id(&keep(d)), thunk_execute); }

/// C++ executes it; translated code goes on behind unless something else is due. The last instruction of a block leaves it: STI
/// needs one behind it for its shadow.
void Translator::execute_inline(const Decoded& d) {
  if (source_.mode.has(mode_bits::step) || &d == &insns_.back()) {
    exit_execute(d);
    ended_ = true;
    return;
  }
  if (!system_inline(d)) call_execute(d);
}

void Translator::call_execute(const Decoded& d) {
  KeptInsn& kept = keep(d);
  exit_with(cache_.record_id(&kept), thunk_execute_inline);
  kept.next = cache_.next() + e_.size();
}

void Translator::exit_raise(const Decoded& d, u32 vector) { exit_with(vector << 16 | d.offset, thunk_raise); }

i64 Translator::branch_target(const Decoded& d) const {
  return static_cast<i64>(d.offset) + d.insn.length + static_cast<i64>(d.insn.imm);
}

void Translator::conditional(const Decoded& d) {
  const i64 target = branch_target(d);
  const bool truncate = d.insn.opsize == 2 && !source_.mode.is64();
  const unsigned cond = d.insn.opcode & 15;
  if (linkable(target, truncate)) {
    LinkSite& site = new_site(target, d.offset);
    e_.align(4, 2);
    const u32 rel = e_.jcc32(cond);
    site.rel32 = static_cast<u16>(rel);
    stubs_.push_back({.what = Stub::What::link, .rel = rel, .site = &site});
    return;
  }
  const u32 rel = e_.jcc32(cond);
  stubs_.push_back({.what = Stub::What::far, .rel = rel, .target = target, .truncate16 = truncate});
}

void Translator::jcxz_or_loop(const Decoded& d) {
  const bool truncate = d.insn.opsize == 2 && !source_.mode.is64();
  const i64 target = branch_target(d);
  const bool wide = d.insn.addrsize == 8;
  u32 skip[2] = {};
  unsigned skips = 0;
  if (d.kind == Kind::jcxz) {
    wide ? e_.mov(temp1, h_r10) : e_.mov32(temp1, h_r10);
    const u32 taken = e_.jrcxz();
    skip[skips++] = e_.jmp32();
    e_.bind8(taken);
  } else {
    if (wide) {
      e_.lea(temp1, {h_r10, -1, 1, -1});
    } else {
      e_.lea32(temp1, {h_r10, -1, 1, -1});
    }
    e_.mov(h_r10, temp1);
    const u32 zero = e_.jrcxz();
    const u32 go = e_.jmp32();
    e_.bind8(zero);
    skip[skips++] = e_.jmp32();
    e_.bind32(go);
    if (d.insn.mnemonic == ZYDIS_MNEMONIC_LOOPE) skip[skips++] = e_.jcc32(5);
    if (d.insn.mnemonic == ZYDIS_MNEMONIC_LOOPNE) skip[skips++] = e_.jcc32(4);
  }
  exit_direct(target, d.offset, truncate);
  for (unsigned i = 0; i < skips; ++i) e_.bind32(skip[i]);
}

void Translator::call(const Decoded& d) {
  const u32 next = d.offset + d.insn.length;
  const bool is64 = source_.mode.is64();
  if (d.kind == Kind::call_rm) {  // the target is read before the push changes anything
    if (d.insn.has_mem) {
      operand(d, true, [this, is64](HostMem m) {
        is64 ? e_.load(temp1, m) : e_.load32(temp1, m);
        e_.store(Emitter::gs(offsetof(SoftCpu, scratch)), temp1);
      });
    } else {
      load_guest(temp1, d.insn.rm);
      if (!is64) e_.mov32(temp1, temp1);
      e_.store(Emitter::gs(offsetof(SoftCpu, scratch)), temp1);
    }
  }
  push_value(d, [this, next, is64](HostMem) {
    e_.load(temp1, Emitter::gs(offsetof(SoftCpu, pc_base)));
    is64 ? e_.lea(temp1, {temp1, -1, 1, static_cast<i32>(next)}) : e_.lea32(temp1, {temp1, -1, 1, static_cast<i32>(next)});
  });
  if (d.kind == Kind::call_rm) {
    e_.load(temp0, Emitter::gs(offsetof(SoftCpu, scratch)));
    exit_indirect();
  } else {
    exit_direct(branch_target(d), d.offset, false);
  }
}

void Translator::ret(const Decoded& d) {
  const unsigned width = stack_width();
  stack_load(d, [this, width](HostMem m) { width == 8 ? e_.load(temp0, m) : e_.load32(temp0, m); });
  adjust_rsp(static_cast<int>(width + (d.imm_size ? d.insn.imm & 0xffff : 0)));
  exit_indirect();
}

void Translator::flow(const Decoded& d) {
  const bool is64 = source_.mode.is64();
  switch (d.kind) {
    case Kind::jcc_rel: return conditional(d);
    case Kind::jcxz:
    case Kind::loop: return jcxz_or_loop(d);
    case Kind::jmp_rel: return exit_direct(branch_target(d), d.offset, d.insn.opsize == 2 && !is64);
    case Kind::jmp_rm:
      if (d.insn.opsize == 2) return exit_execute(d);
      if (d.insn.has_mem) {
        operand(d, false, [this, is64](HostMem m) { is64 ? e_.load(temp0, m) : e_.load32(temp0, m); });
      } else {
        load_guest(temp0, d.insn.rm);
        if (!is64) e_.mov32(temp0, temp0);
      }
      return exit_indirect();
    case Kind::call_rel:
    case Kind::call_rm:
      return call(d);
    case Kind::ret:
      return ret(d);
    default: return exit_execute(d);
  }
}

}  // namespace nagaya::engine::soft
