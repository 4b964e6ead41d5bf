// Memory operands of re-encoded instructions when the inline lookup misses.
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/watch.hpp"

namespace nagaya::engine::soft {
namespace {

u64 direct(SoftCpu& cpu, const Place& place) {
  if (place.kind == PlaceKind::special) {
    cpu.bounce_write = 2;
    cpu.bounce_ea = place.gpa;
  }
  return reinterpret_cast<u64>(place.host);
}

// Where the bounce buffer keeps the bytes as they were, for masked stores.
constexpr unsigned original_offset = 4096;

// Writes the bytes that the instruction changed: those its mask leaves alone are not ours to write, another processor
// may be storing there.
bool commit_masked(SoftCpu& cpu) {
  const u8* copy = cpu.bounce + (cpu.bounce_ea & 63);
  for (unsigned i = 0; i < cpu.bounce_size; i++) {
    if (copy[i] == copy[i + original_offset]) continue;
    if (!mem_write(cpu, linear_add(cpu, cpu.bounce_ea, i), copy + i, 1, static_cast<TlbKind>(cpu.bounce_ea2)))
      return false;
  }
  return true;
}

}  // namespace

Fill mem_fill(SoftCpu& cpu, u64 linear, u32 desc, bool group) {
  const unsigned size = desc & 0xffff;
  const bool write = desc & slow_write;
  const auto kind = static_cast<TlbKind>(desc >> 18 & 3);
  if ((desc & slow_masked) || (cpu.s.dr7 & 0xff) || (linear & 0xfff) + size > 4096) return Fill::careful;
  if ((desc & slow_aligned) && (linear & (size - 1))) return Fill::careful;
  const u64 cr2 = cpu.s.cr2;
  const Place place = locate(cpu, linear, write ? Access::write : Access::read, kind);
  if (place.kind == PlaceKind::ram) return known_host(cpu, linear, size, write, kind) ? Fill::filled : Fill::careful;
  if (place.kind != PlaceKind::fault) return Fill::careful;
  if (cpu.need_heavy || group) {  // which instruction of a group faults, and with what, is seen by running them one by one
    cpu.need_heavy = false;
    cpu.fault = {};
    cpu.s.cr2 = cr2;
    return Fill::careful;
  }
  if ((desc & slow_stack) && cpu.fault.vector == 13) cpu.fault.vector = 12;
  return Fill::fault;
}

u64 mem_slow(SoftCpu& cpu, u64 linear, u32 desc) {
  const unsigned size = desc & 0xffff;
  const bool reads = desc & slow_read, writes = desc & slow_write, masked = desc & slow_masked;
  const auto kind = static_cast<TlbKind>(desc >> 18 & 3);
  const Access access = writes ? Access::write : Access::read;
  cpu.bounce_write = 0;
  cpu.bounce_size = size;
  cpu.bounce_ea2 = kind;
  // Alignment is checked before the tables are walked.
  if ((desc & slow_aligned) && (linear & (size - 1))) {
    raise(cpu, 13, 0);
    return 0;
  }
  const u64 cr2 = cpu.s.cr2;
  // Which elements of a masked operand are let through is not known here: a fault leads to the interpreter.
  const auto faulted = [&]() -> u64 {
    if ((desc & slow_stack) && cpu.fault.pending && cpu.fault.vector == 13) cpu.fault.vector = 12;
    if (!masked || cpu.need_heavy) return 0;
    cpu.fault = {};
    cpu.s.cr2 = cr2;
    return 1;
  };
  if (cpu.s.dr7 & 0xff) {
    if (masked && watch_hits(cpu, linear, size, writes)) return 1;
    note_access(cpu, linear, size, writes);
  }
  if ((linear & 0xfff) + size <= 4096) {
    const Place place = locate(cpu, linear, access, kind);
    if (place.kind == PlaceKind::fault) return faulted();
    if (place.host) return direct(cpu, place);
  }
  // The copy has the alignment of the original, for instructions that care.
  u8* copy = cpu.bounce + (linear & 63);
  if (writes && !mem_probe_write(cpu, linear, size, kind)) return faulted();
  if ((reads || masked) && !mem_read(cpu, linear, copy, size, kind)) return faulted();
  if (!reads && !masked) {
    // A store that leaves bytes of its operand alone would write back what was in the buffer: clear it.
    for (unsigned i = 0; i < size; i++) asm volatile("movb $0, %0" : "=m"(copy[i]));
  }
  if (writes) {
    cpu.bounce_write = masked ? 3 : 1;
    cpu.bounce_ea = linear;
    if (masked) copy_bytes(copy + original_offset, copy, size);
  }
  return reinterpret_cast<u64>(copy);
}

bool mem_commit(SoftCpu& cpu) {
  const u32 how = cpu.bounce_write;
  cpu.bounce_write = 0;
  if (how == 1) {
    if (mem_write(cpu, cpu.bounce_ea, cpu.bounce + (cpu.bounce_ea & 63), cpu.bounce_size,
                  static_cast<TlbKind>(cpu.bounce_ea2)))
      return true;
    cpu.bounce_write = how;  // MMIO: again by heavy code
    return false;
  }
  if (how == 3 && !commit_masked(cpu)) {
    cpu.bounce_write = how;
    return false;
  }
  if (how == 2) store_special(cpu, cpu.bounce_ea, cpu.bounce_size);
  return true;
}

}  // namespace nagaya::engine::soft
