#include "engine/soft/translate.hpp"

#include <Zydis/Mnemonic.h>

#include <cstring>

namespace nagaya::engine::soft {
namespace {

constexpr unsigned max_jcc = 4;

/// Instructions that touch memory inline and may clobber dead flags there.
bool touches_memory(const Decoded& d) {
  switch (d.kind) {
    case Kind::native: return d.insn.has_mem;
    case Kind::nothing: case Kind::lea: case Kind::jcc_rel: case Kind::jcxz: case Kind::loop: case Kind::jmp_rel: return false;
    default: return true;
  }
}

bool uses_stack(Kind k) {
  switch (k) {
    case Kind::push_reg: case Kind::push_imm: case Kind::push_mem: case Kind::pop_reg: case Kind::pop_mem: case Kind::leave:
    case Kind::call_rel: case Kind::call_rm: case Kind::ret: return true;
    default: return false;
  }
}

/// Stack forms with 16-bit operands, and stacks that need limit checks, go through C++.
void route_stack(const Mode& mode, Decoded& d) {
  if (mode.is64() && d.insn.opsize != 2) return;
  if (!uses_stack(d.kind)) return;
  if (!mode.is64() && mode.seg(x86::SS) == SegClass::flat && mode.has(mode_bits::stack32) && d.insn.opsize == 4) return;
  const bool branch = d.kind == Kind::call_rel || d.kind == Kind::call_rm || d.kind == Kind::ret;
  d.kind = branch ? Kind::execute : Kind::execute_inline;
  d.ends_block = branch;
}

}  // namespace

TranslateStatus Translator::scan() {
  insns_.clear();
  ended_ = false;
  next_crosses_ = false;
  constexpr unsigned careful_insns = 12;
  const unsigned limit = source_.mode.has(mode_bits::step) ? 1 : careful() && careful_insns < options_.max_insns ? careful_insns : options_.max_insns;
  const auto size = static_cast<CodeSize>(source_.mode.code_size());
  const bool stack32 = source_.mode.has(mode_bits::stack32);
  u32 offset = source_.gpa & 0xfff;
  dep_lo_ = static_cast<u16>(offset);
  dep2_hi_ = 0;
  unsigned branches = 0;
  while (insns_.size() < limit && offset < 4096) {
    Decoded& d = insns_.emplace_back();
    d.offset = static_cast<u16>(offset);
    const u32 room = 4096 - offset;
    DecodeStatus status = decode_(size, stack32, {source_.page + offset, room < 15 ? room : 15}, d);
    if (status == DecodeStatus::need_more) {
      if (insns_.size() > 1) {
        insns_.pop_back();
        next_crosses_ = true;
        break;
      }
      if (!source_.page2) return TranslateStatus::need_page2;
      u8 joined[15];
      std::memcpy(joined, source_.page + offset, room);
      std::memcpy(joined + room, source_.page2, 15 - room);
      d = Decoded{};
      d.offset = static_cast<u16>(offset);
      status = decode(size, stack32, {joined, 15}, d);
      dep2_hi_ = static_cast<u16>(d.insn.length > room ? d.insn.length - room : 15 - room);
      route_stack(source_.mode, d);
      offset += d.insn.length;
      ended_ = d.ends_block;
      break;
    }
    route_stack(source_.mode, d);
    offset += d.insn.length;
    if (d.ends_block) {
      ended_ = true;
      break;
    }
    if ((d.kind == Kind::jcc_rel || d.kind == Kind::jcxz || d.kind == Kind::loop) && ++branches >= max_jcc) break;
  }
  end_offset_ = offset;
  dep_hi_ = static_cast<u16>(offset < 4096 ? offset : 4096);
  return TranslateStatus::ok;
}

u32 Translator::peek_flags(u32 offset) {
  u32 undecided = arithmetic_flags, read = 0, end = offset;
  for (unsigned n = 0; n < 8 && undecided && end < 4096 - 15; ++n) {
    Decoded d;
    if (decode_(static_cast<CodeSize>(source_.mode.code_size()), source_.mode.has(mode_bits::stack32), {source_.page + end, 15}, d) !=
        DecodeStatus::ok)
      break;
    const bool plain = d.kind == Kind::native || d.kind == Kind::nothing || d.kind == Kind::lea || d.kind == Kind::push_reg ||
                       d.kind == Kind::pop_reg || d.kind == Kind::push_imm;
    if (!plain) break;
    end += d.insn.length;
    read |= d.flags_read & undecided;
    undecided &= ~d.flags_kill;
  }
  // What was looked at becomes part of what this block depends on.
  if (offset < dep_lo_) dep_lo_ = static_cast<u16>(offset);
  if (end > dep_hi_) dep_hi_ = static_cast<u16>(end);
  return read | undecided;
}

void Translator::liveness() {
  if (options_.precise_flags) {
    for (Decoded& d : insns_) d.flags_live = arithmetic_flags;
    return;
  }
  u32 live = arithmetic_flags;
  // Worth a look at the successor only when some memory operand stands between the last flag setter and the end.
  const Decoded& last = insns_.back();
  const i64 target = last.kind == Kind::jmp_rel ? branch_target(last) : !ended_ ? end_offset_ : -1;
  if (linkable(target, last.kind == Kind::jmp_rel && last.insn.opsize == 2) && !next_crosses_) {
    bool useful = false;
    for (auto it = insns_.rbegin(); it != insns_.rend(); ++it) {
      useful = useful || touches_memory(*it);
      if (it->flags_kill == arithmetic_flags || it->kind == Kind::jcc_rel) break;
    }
    if (useful) live = peek_flags(static_cast<u32>(target));
  }
  for (auto it = insns_.rbegin(); it != insns_.rend(); ++it) {
    Decoded& d = *it;
    switch (d.kind) {
      case Kind::native:
      case Kind::bit_string: live = (live & ~d.flags_kill) | d.flags_read; break;
      case Kind::nothing: case Kind::lea: case Kind::push_reg: case Kind::push_imm: case Kind::push_mem: case Kind::pop_reg: case Kind::pop_mem:
      case Kind::leave: break;
      case Kind::jmp_rel: break;
      case Kind::execute_inline:
        if (!keeps_flags(d)) live = arithmetic_flags;
        break;
      default: live = arithmetic_flags; break;  // exits
    }
    d.flags_live = live;
  }
}

/// The exception that the state of CR0, CR4 and XCR0 has this instruction raise, or -1.
int Translator::unit_fault(const Decoded& d) const {
  const Mode m = source_.mode;
  const int no_device = m.has(mode_bits::cr0_ts) ? 7 : -1;
  switch (d.unit) {
    case Unit::integer: return -1;
    case Unit::x87:
      if (d.insn.mnemonic == ZYDIS_MNEMONIC_FWAIT) return m.has(mode_bits::cr0_mp) ? no_device : -1;
      return m.has(mode_bits::cr0_em) ? 7 : no_device;
    case Unit::mmx: return m.has(mode_bits::cr0_em) ? 6 : no_device;
    case Unit::sse: return m.has(mode_bits::cr0_em) || !m.has(mode_bits::sse) ? 6 : no_device;
    case Unit::avx: return m.has(mode_bits::avx) ? no_device : 6;
    case Unit::avx512: return m.has(mode_bits::avx512) ? no_device : 6;
  }
  return -1;
}

bool Translator::unit_allowed(const Decoded& d) {
  const int vector = unit_fault(d);
  if (vector >= 0) exit_raise(d, static_cast<u32>(vector));
  return vector < 0;
}

void Translator::begin(const Decoded& d) {
  const u32 here = e_.size();
  retry_ = here;
  u32 ahead = here - side_host_;
  for (; ahead > 255; ahead -= 255) side_.push_back(255), side_.push_back(0);
  side_.push_back(static_cast<u8>(ahead));
  side_.push_back(static_cast<u8>(d.offset - side_guest_));
  side_host_ = here;
  side_guest_ = d.offset;
}

void Translator::emit_insn(const Decoded& d) {
  begin(d);
  switch (d.kind) {
    case Kind::nothing: return;
    case Kind::undefined: exit_raise(d, d.insn.length > 15 ? 13 : 6); return;
    case Kind::execute: exit_execute(d); return;
    case Kind::execute_inline: execute_inline(d); return;
    case Kind::native:
      if (unit_allowed(d)) native(d);
      return;
    case Kind::bit_string: bit_string(d); return;
    case Kind::lea: lea(d); return;
    case Kind::push_reg: case Kind::push_imm: case Kind::push_mem: case Kind::pop_reg: case Kind::pop_mem: case Kind::leave:
      stack(d);
      return;
    default: flow(d); return;
  }
}

TranslateStatus Translator::translate(const CodeSource& source, Block*& out) {
  source_ = source;
  e_.start();
  side_.clear();
  stubs_.clear();
  if (const auto status = scan(); status != TranslateStatus::ok) return status;
  liveness();
  if (!cache_.reserve()) return TranslateStatus::cache_full;
  block_ = &cache_.make<Block>();
  const bool step = source_.mode.has(mode_bits::step);
  const u32 start = source_.gpa & 0xfff;
  side_host_ = 0;
  side_guest_ = start;

  // Before the entries: where a kick goes. JRCXZ reaches only 128 bytes back.
  const u32 kick = e_.size();
  if (!step) exit_with(start, thunk_kick);
  e_.align(8);
  indirect_entry_ = e_.size();
  e_.byte(0x4d), e_.byte(0x8d), e_.byte(0x9b), e_.imm32(0u - start);  // lea r11, [r11 - start], always 7 bytes
  e_.store(Emitter::gs(offsetof(SoftCpu, pc_base)), temp0);
  checked_entry_ = e_.size();
  if (!step) {
    e_.load32(temp1, Emitter::gs(offsetof(SoftCpu, run_ok)));
    e_.patch8(e_.jrcxz(), kick);
  }
  entry_ = e_.size();
  if (options_.count_blocks) emit_count();

  for (std::size_t i = 0; i < insns_.size();) {
    if (e_.full()) {  // far beyond what any real code needs
      end_offset_ = insns_[i].offset;
      insns_.resize(i);
      ended_ = false;
      break;
    }
    const std::size_t grouped = emit_group(i);
    if (grouped == i) emit_insn(insns_[i]);
    i = grouped == i ? i + 1 : grouped;
  }
  if (!ended_) {
    begin(insns_.back());
    if (step || next_crosses_ || end_offset_ >= 4096) {
      emit_rip(end_offset_);
      if (!source_.mode.is64()) e_.mov32(temp0, temp0);
      step ? exit_thunk(thunk_lookup) : exit_indirect();
    } else {
      exit_direct(end_offset_, insns_.back().offset, false);
    }
  }
  for (std::size_t i = 0; i < stubs_.size(); ++i) {
    const Stub stub = stubs_[i];  // a stub may add stubs
    emit_stub(stub);
  }

  Block& b = *block_;
  b.gpa = source_.gpa;
  b.gpa2 = dep2_hi_ ? source_.gpa2 : ~0ull;
  b.mode_index = source_.mode_index | (source_.mode.has(mode_bits::careful) ? careful_mode : 0);
  b.key = source_.mode.key;
  b.dep_lo = dep_lo_;
  b.dep_hi = dep_hi_;
  b.dep2_hi = dep2_hi_;
  b.indirect_entry = static_cast<u16>(indirect_entry_);
  b.checked_entry = static_cast<u16>(checked_entry_);
  b.entry = static_cast<u16>(entry_);
  u8* side = cache_.allocate(side_.size());
  std::memcpy(side, side_.data(), side_.size());
  b.side = side;
  b.side_bytes = static_cast<u16>(side_.size());
  cache_.commit(e_.data(), e_.size(), b);
  out = &b;
  return TranslateStatus::ok;
}

}  // namespace nagaya::engine::soft
