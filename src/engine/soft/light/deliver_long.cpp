// Delivery through the 64-bit IDT of IA-32e mode. Intel SDM vol. 3, 6.14; vol. 2 INT n.
#include "engine/soft/light/deliver_detail.hpp"
#include "engine/soft/light/descriptor.hpp"

namespace nagaya::engine::soft {

bool tss_stack64(SoftCpu& cpu, unsigned ring, unsigned ist, unsigned ext, u64& rsp) {
  const unsigned offset = ist ? 28 + ist * 8 : 4 + ring * 8;
  const bool usable = !cpu.s.tr.unusable && (cpu.s.tr.selector & 0xfffc);
  if (!usable || offset + 7 > cpu.s.tr.limit) return raise(cpu, vec_ts, (cpu.s.tr.selector & ~3u) | ext);
  return mem_get(cpu, cpu.s.tr.base + offset, rsp, implicit_kind);
}

TlbKind stack_kind(const SoftCpu& cpu, unsigned ring) {
  if (ring == 3) return tlb_user;
  return cpl(cpu) == 3 ? tlb_supervisor : current_kind(cpu);
}

bool deliver_long(SoftCpu& cpu, const Event& event) {
  const u32 idt_code = event.vector * 8u + 2 + event.ext;
  if (event.vector * 16u + 15 > cpu.s.idtr.limit) return raise(cpu, vec_gp, idt_code);
  u64 gate[2];
  if (!mem_read(cpu, cpu.s.idtr.base + event.vector * 16u, gate, 16, implicit_kind)) return false;
  const unsigned type = gate[0] >> 40 & 0x1f, gate_dpl = gate[0] >> 45 & 3;
  if (type != 14 && type != 15) return raise(cpu, vec_gp, idt_code);
  const unsigned old_cpl = cpl(cpu);
  if (event.software && gate_dpl < old_cpl) return raise(cpu, vec_gp, idt_code);
  if (!(gate[0] >> 47 & 1)) return raise(cpu, vec_np, idt_code);

  const u16 selector = gate[0] >> 16 & 0xffff;
  if (null_selector(selector)) return raise(cpu, vec_gp, event.ext);
  const u32 code = (selector & ~3u) | event.ext;
  Descriptor d;
  if (!fetch_descriptor(cpu, selector, d, vec_gp, event.ext)) return false;
  if (!d.code() || d.dpl() > old_cpl) return raise(cpu, vec_gp, code);
  if (!d.present()) return raise(cpu, vec_np, code);
  if (!d.l() || d.db()) return raise(cpu, vec_gp, code);

  const unsigned new_cpl = d.conforming() ? old_cpl : d.dpl();
  const unsigned ist = gate[0] >> 32 & 7;
  u64 rsp = cpu.s.gpr[x86::RSP];
  if ((ist || new_cpl < old_cpl) && !tss_stack64(cpu, new_cpl, ist, event.ext, rsp)) return false;
  rsp &= ~15ull;
  const unsigned count = event.has_code ? 6 : 5;
  const u64 bottom = rsp - count * 8;
  if (!canonical(bottom) || !canonical(rsp - 1)) return raise(cpu, vec_ss, event.ext);
  const u64 target = (gate[0] & 0xffff) | (gate[0] >> 48 << 16) | gate[1] << 32;
  if (!canonical(target)) return raise(cpu, vec_gp, event.ext);

  if (!mark_accessed(cpu, d)) return false;
  const u64 frame[6] = {event.code,  event.rip,           cpu.s.seg[x86::CS].selector,
                        event.flags, cpu.s.gpr[x86::RSP], cpu.s.seg[x86::SS].selector};
  if (!mem_write(cpu, bottom, frame + 6 - count, count * 8, stack_kind(cpu, new_cpl))) return false;

  const bool was64 = code64(cpu);
  if (new_cpl < old_cpl) set_null(cpu.s.seg[x86::SS], static_cast<u16>(new_cpl), new_cpl);
  set_segment(cpu.s.seg[x86::CS], static_cast<u16>((selector & ~3u) | new_cpl), d);
  cpu.s.gpr[x86::RSP] = bottom;
  cpu.s.rip = target;
  cpu.s.rflags &= ~(flag_tf | flag_nt | flag_rf | flag_vm);
  if (type == 14) cpu.s.rflags &= ~flag_if;
  if (!was64) mode_changed(cpu);
  return true;
}

}  // namespace nagaya::engine::soft
