// What C++ may do only while it may call devices: accesses to guest-physical addresses without RAM.
#include <span>

#include "engine/engine.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/tlb.hpp"

namespace nagaya::engine::soft {

void mmio_access(SoftCpu& cpu, u64 gpa, void* data, unsigned size, bool write) {
  const u64 apic = cpu.apic ? cpu.apic->mmio_base().value : ~0ull;
  u8* bytes = static_cast<u8*>(data);
  while (size) {
    const unsigned piece = size < 8 ? size : 8;
    if (apic == (gpa & ~0xfffull)) {
      const u32 offset = gpa & 0xfff;
      if (write)
        cpu.apic->mmio_write(offset, std::span<const u8>(bytes, piece));
      else
        cpu.apic->mmio_read(offset, std::span<u8>(bytes, piece));
    } else if (write) {
      cpu.io->mmio_write(Gpa(gpa), std::span<const u8>(bytes, piece));
    } else {
      cpu.io->mmio_read(Gpa(gpa), std::span<u8>(bytes, piece));
    }
    gpa += piece;
    bytes += piece;
    size -= piece;
  }
}

void system_init(SoftCpu& cpu) { tlb_init(cpu); }

}  // namespace nagaya::engine::soft
