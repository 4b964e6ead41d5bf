// Who may use which port. Source: Intel SDM vol. 1, 19.5.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/operand.hpp"

namespace nagaya::engine::soft::exec {

bool port_allowed(SoftCpu& cpu, u16 port, unsigned size) {
  if (!protected_mode(cpu)) return true;
  if (!v86_mode(cpu) && cpl(cpu) <= iopl(cpu)) return true;
  const auto& tr = cpu.s.tr;
  const bool tss32 = tr.present() && !tr.unusable && (tr.type() == 9 || tr.type() == 11);
  if (!tss32 || tr.limit < 103) return raise(cpu, vec_gp, 0);
  u16 base, bits;
  if (!mem_read(cpu, tr.base + 102, &base, 2, tlb_supervisor)) return false;
  // Two bytes are always read, so that the map ends with a byte of ones.
  const u32 at = u32{base} + port / 8;
  if (at + 1 > tr.limit) return raise(cpu, vec_gp, 0);
  if (!mem_read(cpu, tr.base + at, &bits, 2, tlb_supervisor)) return false;
  const unsigned mask = ((1u << size) - 1) << (port & 7);
  return !(bits & mask) || raise(cpu, vec_gp, 0);
}

}  // namespace nagaya::engine::soft::exec
