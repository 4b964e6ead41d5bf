#include "engine/soft/light/watch.hpp"

#include "engine/soft/light/arch.hpp"

namespace nagaya::engine::soft {
namespace {

enum Condition : unsigned { on_fetch = 0, on_write = 1, on_port = 2, on_access = 3 };

bool enabled(const SoftCpu& cpu, unsigned i) { return cpu.s.dr7 >> (2 * i) & 3; }
unsigned condition(const SoftCpu& cpu, unsigned i) { return cpu.s.dr7 >> (16 + 4 * i) & 3; }
u64 length(const SoftCpu& cpu, unsigned i) {
  constexpr u8 bytes[4] = {1, 2, 8, 4};
  return bytes[cpu.s.dr7 >> (18 + 4 * i) & 3];
}
bool on_data(unsigned c) { return c == on_write || c == on_access; }

/// [start, start + length) of the breakpoint meets [at, at + size).
bool meets(const SoftCpu& cpu, unsigned i, u64 at, u64 size) {
  const u64 bytes = length(cpu, i), start = cpu.s.dr[i] & ~(bytes - 1);
  return at - start < bytes || start - at < size;
}

}  // namespace

bool page_watched(const SoftCpu& cpu, u64 page) {
  for (unsigned i = 0; i < 4; i++)
    if (enabled(cpu, i) && on_data(condition(cpu, i)) && (cpu.s.dr[i] & ~0xfffull) == page) return true;
  return false;
}

bool any_watched(const SoftCpu& cpu) {
  for (unsigned i = 0; i < 4; i++)
    if (enabled(cpu, i) && on_data(condition(cpu, i))) return true;
  return false;
}

unsigned watch_hits(const SoftCpu& cpu, u64 linear, unsigned size, bool write) {
  unsigned hits = 0;
  for (unsigned i = 0; i < 4; i++) {
    const unsigned c = condition(cpu, i);
    if (enabled(cpu, i) && (c == on_access || (c == on_write && write)) && meets(cpu, i, linear, size)) hits |= 1u << i;
  }
  return hits;
}

void note_port(SoftCpu& cpu, u16 port, unsigned size) {
  if (!(cpu.s.dr7 & 0xff) || !cpu.stepping || !(cpu.s.cr4 & cr4_de)) return;
  for (unsigned i = 0; i < 4; i++)
    if (enabled(cpu, i) && condition(cpu, i) == on_port && meets(cpu, i, port, size)) cpu.data_hits |= static_cast<u8>(1u << i);
}

}  // namespace nagaya::engine::soft
