#include "boot/mptable.hpp"

#include "x86/pc_layout.hpp"

namespace nagaya::boot {
namespace {

namespace pc = x86::pc;
constexpr u32 pointer_size = 16;
constexpr u8 spec_1_4 = 4;
constexpr u8 pci_bus = 0, isa_bus = 1, all_apics = 0xff;
constexpr u8 type_int = 0, type_nmi = 1, type_ext_int = 3;
constexpr u16 by_bus = 0, level_active_high = 0xd;
constexpr u8 lapic_version = 0x14, ioapic_version = 0x20;

struct Entries {
  Bytes bytes;
  u16 count = 0;

  void begin(u8 type) {
    append(bytes, type);
    ++count;
  }
  void bus(u8 id, const char* name) {
    begin(1);
    append(bytes, id);
    append_text(bytes, name, 6);
  }
  // `kind`: 3 for an I/O interrupt, 4 for a local one.
  void interrupt(u8 kind, u8 type, u16 flags, u8 source_bus, u8 source, u8 apic, u8 pin) {
    begin(kind);
    append(bytes, type);
    append(bytes, flags);
    append(bytes, source_bus);
    append(bytes, source);
    append(bytes, apic);
    append(bytes, pin);
  }
};

}  // namespace

Bytes build_mp_table(const Platform& platform, u32 base) {
  Entries entries;
  for (u32 i = 0; i < platform.cpus; ++i) {
    entries.begin(0);
    append(entries.bytes, static_cast<u8>(i));
    append<u8>(entries.bytes, lapic_version);
    append<u8>(entries.bytes, i == 0 ? 3 : 1);  // enabled, boot processor
    append<u32>(entries.bytes, 0x600);          // family 6; systems ask CPUID
    append<u32>(entries.bytes, 0x201);          // FPU, APIC
    append_zeros(entries.bytes, 8);
  }
  entries.bus(pci_bus, "PCI");
  entries.bus(isa_bus, "ISA");
  entries.begin(2);
  append<u8>(entries.bytes, pc::ioapic_id);
  append<u8>(entries.bytes, ioapic_version);
  append<u8>(entries.bytes, 1);  // enabled
  append<u32>(entries.bytes, pc::ioapic_base);
  for (u8 irq = 0; irq < 16; ++irq) {
    if (irq == 2) continue;  // the cascade
    entries.interrupt(3, type_int, irq == pc::sci_irq ? level_active_high : by_bus, isa_bus, irq, pc::ioapic_id, irq);
  }
  for (u32 slot = 0; slot < 32; ++slot) {
    for (u32 pin = 0; pin < 4; ++pin) {
      entries.interrupt(3, type_int, level_active_high, pci_bus, static_cast<u8>(slot << 2 | pin), pc::ioapic_id,
                        static_cast<u8>(pc::pci_irq_first + (slot + pin) % pc::pci_irq_count));
    }
  }
  entries.interrupt(4, type_ext_int, by_bus, isa_bus, 0, all_apics, 0);
  entries.interrupt(4, type_nmi, by_bus, isa_bus, 0, all_apics, 1);

  Bytes table;
  append_text(table, "PCMP", 4);
  append(table, static_cast<u16>(44 + entries.bytes.size()));
  append<u8>(table, spec_1_4);
  append<u8>(table, 0);  // checksum
  append_text(table, "NAGAYA", 8);
  append_text(table, "PC", 12);
  append<u32>(table, 0);  // no OEM table
  append<u16>(table, 0);
  append(table, entries.count);
  append<u32>(table, pc::lapic_base);
  append<u32>(table, 0);  // no extended entries
  append(table, entries.bytes);
  table[7] = checksum(table);

  Bytes out;
  append_text(out, "_MP_", 4);
  append(out, base + pointer_size);
  append<u8>(out, 1);  // in paragraphs
  append<u8>(out, spec_1_4);
  append<u8>(out, 0);  // checksum
  append_zeros(out, 5);  // a table is present; virtual wire mode
  out[10] = checksum(out);
  append(out, table);
  return out;
}

}  // namespace nagaya::boot
