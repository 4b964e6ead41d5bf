// Descriptor-table registers, LDTR, TR and the machine status word. Source: Intel SDM vol. 2; UMIP: vol. 3, 2.5.
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {
namespace {

bool umip_allows(SoftCpu& cpu) {
  return !(cpu.s.cr4 & cr4_umip) || cpl(cpu) == 0 || raise(cpu, vec_gp, 0);
}

}  // namespace

bool store_table(SoftCpu& cpu, const Insn& insn, const x86::TableRegister& table) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  if (!umip_allows(cpu)) return false;
  const unsigned base_size = code64(cpu) ? 8 : 4;
  u64 linear;
  if (!linear_address(cpu, insn.seg, effective_address(cpu, insn), 2 + base_size, Access::write, linear)) return false;
  u8 image[10];
  __builtin_memcpy(image, &table.limit, 2);
  __builtin_memcpy(image + 2, &table.base, 8);
  return mem_write(cpu, linear, image, 2 + base_size, current_kind(cpu));
}

bool load_table(SoftCpu& cpu, const Insn& insn, x86::TableRegister& table) {
  if (!insn.has_mem) return raise(cpu, vec_ud);
  if (!require_cpl0(cpu)) return false;
  const unsigned base_size = code64(cpu) ? 8 : 4;
  u64 linear;
  u8 image[10] = {};
  if (!linear_address(cpu, insn.seg, effective_address(cpu, insn), 2 + base_size, Access::read, linear)) return false;
  if (!mem_read(cpu, linear, image, 2 + base_size, current_kind(cpu))) return false;
  u16 limit;
  u64 base;
  __builtin_memcpy(&limit, image, 2);
  __builtin_memcpy(&base, image + 2, 8);
  if (!code64(cpu) && insn.opsize == 2) base &= 0xffffff;
  if (!canonical(base)) return raise(cpu, vec_gp, 0);
  table.limit = limit;
  table.base = base;
  return true;
}

bool store_selector(SoftCpu& cpu, const Insn& insn, u16 selector) {
  if (paragraph_mode(cpu)) return raise(cpu, vec_ud);
  if (!umip_allows(cpu)) return false;
  return write_rm(cpu, insn, insn.has_mem ? 2 : insn.opsize, selector);
}

bool load_task_or_ldt(SoftCpu& cpu, const Insn& insn) {
  if (paragraph_mode(cpu)) return raise(cpu, vec_ud);
  if (!require_cpl0(cpu)) return false;
  u64 selector;
  if (!read_rm(cpu, insn, 2, selector)) return false;
  const auto value = static_cast<u16>(selector);
  if ((insn.modrm >> 3 & 7) == 2 ? !load_ldtr(cpu, value) : !load_tr(cpu, value)) return false;
  mode_changed(cpu);
  return true;
}

bool store_machine_status(SoftCpu& cpu, const Insn& insn) {
  if (!umip_allows(cpu)) return false;
  return write_rm(cpu, insn, insn.has_mem ? 2 : insn.opsize, cpu.s.cr0);
}

bool load_machine_status(SoftCpu& cpu, const Insn& insn) {
  if (!require_cpl0(cpu)) return false;
  u64 value;
  if (!read_rm(cpu, insn, 2, value)) return false;
  // PE can be set but not cleared; bits 3:1 are MP, EM, TS.
  const u64 cr0 = (cpu.s.cr0 & ~u64{0xe}) | (value & 0xf);
  return write_cr0(cpu, cr0);
}

}  // namespace nagaya::engine::soft::exec
