// Breakpoints on data and I/O (DR7.R/W = 01, 11; 10 with CR4.DE). While any breakpoint is enabled, translated code runs one
// instruction at a time, and pages with breakpoints on data never enter the inline TLBs: each access to one comes by here.
// Intel SDM vol. 3, 18.2.4, 18.3.1.2.
#pragma once
#include "engine/soft/cpu.hpp"

namespace nagaya::engine::soft {

/// True when a breakpoint on data is enabled within the page.
bool page_watched(const SoftCpu& cpu, u64 page);
/// True when a breakpoint on data is enabled at all.
bool any_watched(const SoftCpu& cpu);
/// Breakpoints that an access to [linear, linear + size) meets, as bits of DR6.
unsigned watch_hits(const SoftCpu& cpu, u64 linear, unsigned size, bool write);
/// Records those for the instruction that is being executed.
inline void note_access(SoftCpu& cpu, u64 linear, unsigned size, bool write) {
  if ((cpu.s.dr7 & 0xff) && cpu.stepping) cpu.data_hits |= static_cast<u8>(watch_hits(cpu, linear, size, write));
}
/// The same for ports.
void note_port(SoftCpu& cpu, u16 port, unsigned size);

}  // namespace nagaya::engine::soft
