// Between blocks: deliver what is pending, find the next block, or say why translated code must be left.
#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/blocks.hpp"
#include "engine/soft/light/deliver.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/mode.hpp"
#include "engine/soft/light/paging.hpp"
#include "engine/soft/light/tlb.hpp"
#include "engine/soft/system.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr u64 rflags_tf = 1 << 8, rflags_if = 1 << 9, rflags_rf = 1 << 16;

const void* leave(SoftCpu& cpu, Leave why) {
  cpu.leave = why;
  return nullptr;
}

template <class T>
T& record(const SoftCpu& cpu, u32 id) {
  return *reinterpret_cast<T*>(cpu.shared->records + u64{id} * record_unit);
}

/// Mode index of the current state, or ~0 when this mode is new to the engine (translation registers it).
u32 mode_index(SoftCpu& cpu, u32 key) {
  if (cpu.mode_key == key && cpu.mode_index < max_modes) return cpu.mode_index;
  const CodeShared& shared = *cpu.shared;
  const u32 count = shared.mode_count.load(std::memory_order_acquire);
  for (u32 i = 0; i < count; ++i) {
    if (shared.mode_keys[i] != key) continue;
    cpu.mode_key = key;
    cpu.mode_index = i;
    return i;
  }
  return ~0u;
}

/// Instruction breakpoints (DR7.L/G with R/W = 00) on the current linear address. Bits for DR6.
u64 breakpoint_hits(const SoftCpu& cpu, u64 linear) {
  u64 hits = 0;
  for (unsigned i = 0; i < 4; ++i) {
    if ((cpu.s.dr7 >> (2 * i) & 3) && (cpu.s.dr7 >> (16 + 4 * i) & 3) == 0 && cpu.s.dr[i] == linear) hits |= 1u << i;
  }
  return hits;
}

/// `host`: the answer of mem_slow.
void count_slow(SoftCpu& cpu, u64 host) {
  if (host > 1) {
    const bool copy = host - reinterpret_cast<u64>(cpu.bounce) < sizeof cpu.bounce;
    cpu.count.count(copy ? cpu.heavy ? Slow::mmio : Slow::crossing : cpu.bounce_write == 2 ? Slow::special : Slow::fill);
  } else if (host) {
    cpu.count.count(Slow::masked);
  } else if (cpu.fault.pending) {  // else it comes again, heavy
    cpu.count.count(Slow::fault);
    cpu.count.cause = Cause::memory_fault;
  }
}

// The entry of a block that was dropped has become a jump to the lookup, which leads back to the dispatcher.
bool dropped(const void* code) {
  constexpr u8 jump_opcode = 0xe9;
  return *static_cast<const u8*>(code) == jump_opcode;
}

/// The next block when nothing is due and the jump cache knows it: the common case of what follows.
const void* quick_dispatch(SoftCpu& cpu) {
  const auto& s = cpu.s;
  if (cpu.link_site || cpu.fault.pending || cpu.stepping || cpu.careful_wanted || cpu.irq_wanted) return nullptr;
  if (s.run_state != x86::RunState::running || s.events.interrupt_shadow || s.events.mov_ss_shadow) return nullptr;
  if ((s.rflags & (rflags_tf | rflags_rf)) || (s.dr7 & 0xff) || !__atomic_load_n(&cpu.run_ok, __ATOMIC_ACQUIRE)) return nullptr;
  const unsigned ring = cpl(cpu);
  if (!(s.msr.efer & efer_lma) || !s.seg[x86::CS].l() || (ring != 0 && ring != 3)) return nullptr;
  const u32 index = cpu.sys.fast_mode[current_kind(cpu)];
  if (index >= max_modes) return nullptr;
  const JumpEntry& e = cpu.jump[index][s.rip & (jump_entries - 1)];
  if (e.neg_rip + s.rip != 0 || dropped(e.code)) return nullptr;
  cpu.mode_index = index;
  cpu.mode_key = cpu.shared->mode_keys[index];
  cpu.code_dropped = false;
  return e.code;
}

}  // namespace

bool finish_step(SoftCpu& cpu) {
  auto& events = cpu.s.events;
  cpu.stepping = false;
  // In a shadow already, MOV SS makes none: a row of them must not keep everything away for ever.
  if (cpu.shadow_served) events.mov_ss_shadow = false;
  cpu.shadow_served = false;
  const bool tf = cpu.step_trap;
  cpu.step_trap = false;
  if (events.mov_ss_shadow) return false;  // breakpoints met wait for the next instruction. SDM vol. 3, 6.8.3
  const u64 bits = cpu.data_hits | (tf ? 1u << 14 : 0);
  cpu.data_hits = 0;
  if (bits) raise_debug(cpu, bits);
  return bits != 0;
}

extern "C" const void* soft_dispatch(SoftCpu* c) {
  SoftCpu& cpu = *c;
  LinkSite* site = cpu.link_site;
  cpu.count.dispatch(site != nullptr);
  if (const void* code = quick_dispatch(cpu)) return code;
  cpu.link_site = nullptr;
  cpu.code_dropped = false;
  const bool careful_wanted = cpu.careful_wanted;
  cpu.careful_wanted = false;
  for (;;) {
    if (cpu.s.run_state != x86::RunState::running) return leave(cpu, Leave::heavy);
    if (cpu.fault.pending) {
      ++cpu.count.faults[cpu.fault.vector & 31];
      site = nullptr;
      cpu.stepping = cpu.step_trap = cpu.shadow_served = false;
      cpu.data_hits = 0;
      cpu.s.events.interrupt_shadow = cpu.s.events.mov_ss_shadow = false;
      if (!deliver_fault(cpu)) return leave(cpu, cpu.s.run_state == x86::RunState::shutdown ? Leave::shutdown : Leave::heavy);
      if (const void* code = quick_dispatch(cpu)) return code;
      continue;
    }
    if (cpu.stepping && finish_step(cpu)) continue;
    const bool shadow = cpu.s.events.interrupt_shadow || cpu.s.events.mov_ss_shadow;
    if (!shadow) {
      if (!__atomic_load_n(&cpu.run_ok, __ATOMIC_ACQUIRE)) return leave(cpu, Leave::kicked);
      if (cpu.irq_wanted && (cpu.s.rflags & rflags_if)) return leave(cpu, Leave::kicked);
    }
    const bool tf = (cpu.s.rflags & rflags_tf) != 0;
    const bool breakpoints = (cpu.s.dr7 & 0xff) != 0;
    const bool rf = (cpu.s.rflags & rflags_rf) != 0;
    bool step = shadow || tf || breakpoints || rf;
    u32 key = compute_mode_key(cpu);
    const Mode mode{key};
    if (!mode.is64()) cpu.s.rip = static_cast<u32>(cpu.s.rip);
    const u64 rip = cpu.s.rip;
    const u64 linear = mode.is64() ? rip : static_cast<u32>(cpu.s.seg[x86::CS].base + rip);
    if (!mode.is64()) {
      const x86::Segment& cs = cpu.s.seg[x86::CS];
      if (rip > cs.limit) {
        raise(cpu, 13, 0);
        continue;
      }
      // A block goes on to the end of its page: where the segment ends before, the limit is looked at each time.
      step = step || cs.limit - rip < (~linear & 0xfff);
      if (cpu.jump_cs_base != cs.base || cpu.jump_cs_limit != cs.limit) {
        jump_flush(cpu);
        cpu.jump_cs_base = cs.base;
        cpu.jump_cs_limit = cs.limit;
      }
    }
    if (step) {
      key |= mode_bits::step;
      site = nullptr;
      if (breakpoints && !rf && !cpu.s.events.mov_ss_shadow) {
        if (const u64 hits = breakpoint_hits(cpu, linear)) {
          raise_debug(cpu, hits);
          continue;
        }
      }
    }
    const bool careful = careful_wanted && !step && cpu.s.rip == cpu.careful_rip;
    if (careful) site = nullptr;
    cpu.want_key = careful ? key | mode_bits::careful : key;
    const u32 index = mode_index(cpu, key);
    if (index == ~0u) return leave(cpu, Leave::translate);
    const u32 block_mode = careful ? index | careful_mode : index;
    const void* code = nullptr;
    if (!site && !careful) {
      const JumpEntry& e = cpu.jump[index][rip & (jump_entries - 1)];
      if (e.neg_rip + rip == 0 && !dropped(e.code)) code = e.code;
      if (mode.is64() && !step) {
        const unsigned ring = cpl(cpu);
        if (ring == 0 || ring == 3) cpu.sys.fast_mode[mode.kind()] = index;
        bool global = false;
        if (!code && (code = jump_recall(cpu, index, rip, global)) != nullptr) {
          if (dropped(code)) {
            code = nullptr;
          } else {
            jump_insert(cpu, index, rip, linear, code, global);
          }
        }
      }
    }
    if (!code) {
      ++cpu.count.jump_misses;
      u64 gpa;
      bool global = false;
      if (!translate_fetch(cpu, linear, gpa, &global)) {
        if (cpu.need_heavy) return leave(cpu, Leave::heavy);
        continue;
      }
      Block* block = find_block(*cpu.shared, gpa, block_mode, ~0ull);
      if (block && block->gpa2 != ~0ull) {
        u64 gpa2;
        bool global2 = false;
        if (!translate_fetch(cpu, (linear | 0xfff) + 1, gpa2, &global2)) {
          if (cpu.need_heavy) return leave(cpu, Leave::heavy);
          continue;
        }
        block = find_block(*cpu.shared, gpa, block_mode, gpa2 & ~0xfffull);
        global = global && global2;
        site = nullptr;
      }
      if (!block) {
        cpu.link_site = site;
        cpu.careful_wanted = careful;
        return leave(cpu, Leave::translate);
      }
      if (site) link(*cpu.shared, *site, *block);
      code = block->code + block->indirect_entry;
      if (!step && !careful) jump_insert(cpu, index, rip, linear, code, global);
      if (!step && !careful && mode.is64()) jump_remember(cpu, index, rip, code, global);
    }
    if (step) {
      cpu.stepping = true;
      cpu.step_trap = tf;
      cpu.shadow_served = shadow;
      cpu.s.events.interrupt_shadow = cpu.s.events.mov_ss_shadow = false;
      if (rf) cpu.s.rflags &= ~rflags_rf;
    }
    return code;
  }
}

extern "C" const void* soft_link(SoftCpu* cpu, u32 id) {
  LinkSite& site = record<LinkSite>(*cpu, id);
  cpu->s.rip = cpu->pc_base + site.rip;
  cpu->link_site = &site;
  return soft_dispatch(cpu);
}

extern "C" const void* soft_execute(SoftCpu* cpu, u32 id) {
  const KeptInsn& kept = record<KeptInsn>(*cpu, id);
  cpu->s.rip = cpu->pc_base + kept.offset;
  cpu->need_heavy = false;
  ++cpu->count.execute[kept.insn.mnemonic];
  cpu->count.cause = Cause::execute;
  if (!execute(*cpu, kept.insn) && cpu->need_heavy) {
    cpu->insn = &kept.insn;
    return leave(*cpu, Leave::heavy);
  }
  return soft_dispatch(cpu);
}

extern "C" const void* soft_execute_inline(SoftCpu* c, u32 id) {
  SoftCpu& cpu = *c;
  const KeptInsn& kept = record<KeptInsn>(cpu, id);
  constexpr u64 rflags_vm = 1 << 17, rflags_ac = 1 << 18;
  cpu.s.rip = cpu.pc_base + kept.offset;
  const u64 next = cpu.s.rip + kept.insn.length, flags = cpu.s.rflags;
  cpu.need_heavy = false;
  cpu.code_dropped = false;
  ++cpu.count.execute_inline[kept.insn.mnemonic];
  cpu.count.cause = Cause::execute_inline;
  if (!execute(cpu, kept.insn)) {
    if (!cpu.need_heavy) return soft_dispatch(c);
    cpu.insn = &kept.insn;
    return leave(cpu, Leave::heavy);
  }
  auto& events = cpu.s.events;
  // An interrupt that waits already is taken where IF lets it, not only at the next block head. Else the shadow of STI needs nothing:
  // the next instruction of the block runs before anyone looks for interrupts.
  const bool waiting = cpu.irq_wanted || !__atomic_load_n(&cpu.run_ok, __ATOMIC_ACQUIRE);
  if (events.interrupt_shadow && !waiting) events.interrupt_shadow = false;
  const bool due = cpu.s.rip != next || cpu.code_dropped || events.interrupt_shadow || events.mov_ss_shadow || cpu.fault.pending ||
                   ((flags ^ cpu.s.rflags) & (rflags_tf | rflags_vm | rflags_ac)) || (waiting && (cpu.s.rflags & rflags_if));
  if (due) return soft_dispatch(c);
  cpu.count.cause = Cause::lookup;
  return kept.next;
}

extern "C" const void* soft_raise(SoftCpu* cpu, u32 what) {
  const u32 vector = what >> 16;
  cpu->s.rip = cpu->pc_base + (what & 0xffff);
  cpu->count.cause = Cause::raise;
  if (vector == 13) {
    raise(*cpu, 13, 0);
  } else {
    raise(*cpu, static_cast<u8>(vector));
  }
  return soft_dispatch(cpu);
}

extern "C" const void* soft_miss(SoftCpu* c, u64 linear, u32 id) {
  SoftCpu& cpu = *c;
  const MissSite& site = record<MissSite>(cpu, id);
  const unsigned base = site.desc >> 24, offset = site.guest & 0xfff;
  const Block& block = record<Block>(cpu, site.block);
  cpu.s.rip = cpu.pc_base + offset;
  cpu.need_heavy = false;
  if (base != no_reg) linear = cpu.s.gpr[base] + static_cast<u64>(static_cast<i64>(site.disp));
  switch (mem_fill(cpu, linear, site.desc & 0xffffff, site.guest & miss_of_group)) {
    case Fill::filled: cpu.count.count(Slow::fill); return block.code + site.retry;
    case Fill::fault:
      cpu.count.count(Slow::fault);
      cpu.count.cause = Cause::memory_fault;
      return soft_dispatch(c);
    case Fill::careful: break;
  }
  const Block* careful =
      find_block(*cpu.shared, (block.gpa & ~0xfffull) + offset, block.mode_index | careful_mode, block.gpa2);
  if (careful) return careful->code + careful->entry;
  cpu.careful_wanted = true;
  cpu.careful_rip = cpu.s.rip;
  return soft_dispatch(c);
}

extern "C" u64 soft_mem_slow(SoftCpu* cpu, u64 linear, u32 desc) {
  const u64 host = mem_slow(*cpu, linear, desc);
  count_slow(*cpu, host);
  return host;
}

extern "C" u32 soft_commit(SoftCpu* cpu) {
  if (!mem_commit(*cpu)) return 1;
  ++cpu->count.commits;
  return 0;
}

extern "C" u32 soft_segment(SoftCpu* cpu, u64 offset, u32 desc) {
  u64 linear = 0;
  ++cpu->count.segments;
  cpu->count.cause = Cause::memory_fault;
  if (!linear_address(*cpu, static_cast<u8>(desc >> 24), offset, desc & 0xffff, static_cast<Access>(desc >> 16 & 3), linear)) return 0;
  cpu->count.cause = Cause::lookup;
  cpu->scratch[7] = linear;
  return 1;
}

}  // namespace nagaya::engine::soft
