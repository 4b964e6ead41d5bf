#include "boot/acpi/tables.hpp"

#include <fmt/format.h>

#include <string_view>

#include "boot/acpi/dsdt.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::boot::acpi {
namespace {

namespace pc = x86::pc;
constexpr std::string_view oem_id = "NAGAYA", oem_table_id = "NAGAYAPC", creator_id = "NGYA";
constexpr u32 header_size = 36;
constexpr u16 level_active_high = 0xd;  // MADT INTI flags

class Builder {
 public:
  // Appends a table; its header is written here, its checksum noted. Returns its offset.
  u32 add(std::string_view signature, u8 revision, const Bytes& body, u32 align = 8) {
    append_zeros(image.tables, align_up(image.tables.size(), align) - image.tables.size());
    const u32 at = static_cast<u32>(image.tables.size());
    const u32 length = static_cast<u32>(header_size + body.size());
    append_text(image.tables, signature, 4);
    append(image.tables, length);
    append(image.tables, revision);
    append<u8>(image.tables, 0);  // checksum
    append_text(image.tables, oem_id, 6);
    append_text(image.tables, oem_table_id, 8);
    append<u32>(image.tables, 1);
    append_text(image.tables, creator_id, 4);
    append<u32>(image.tables, 1);
    append(image.tables, body);
    image.sums.push_back({false, at + 9, at, length});
    return at;
  }
  void pointer(u32 offset, u8 width) { image.pointers.push_back({false, offset, width}); }

  Image image;
};

void append_io_register(Bytes& out, u16 port, u8 bytes, u8 access) {
  append<u8>(out, port == 0 ? 0 : 1);  // system I/O
  append<u8>(out, static_cast<u8>(bytes * 8));
  append<u8>(out, 0);
  append<u8>(out, access);  // 1 byte, 2 word, 3 dword
  append<u64>(out, port);
}

Bytes facs() {
  Bytes out;
  append_text(out, "FACS", 4);
  append<u32>(out, 64);
  append_zeros(out, 24);  // hardware signature, waking vector, global lock, flags, 64-bit waking vector
  append<u8>(out, 2);     // version
  append_zeros(out, 64 - out.size());
  return out;
}

// Fixed description table, revision 6. The offsets are counted from the start of the table.
Bytes fadt_body(const Platform& platform, u32 facs_at, u32 dsdt_at) {
  constexpr u32 wbinvd = 1 << 0, c1_supported = 1 << 2, no_sleep_button = 1 << 5, timer_32bit = 1 << 8,
                reset_reg = 1 << 10;
  constexpr u16 legacy_devices = 1 << 0, has_8042 = 1 << 1, no_vga = 1 << 2;
  constexpr u8 desktop = 1, cmos_century = 0x32;
  Bytes out;
  append(out, facs_at);  // 36
  append(out, dsdt_at);  // 40
  append<u8>(out, 0);
  append<u8>(out, desktop);
  append<u16>(out, pc::sci_irq);
  append<u32>(out, pc::smi_command_port);
  append<u8>(out, pc::acpi_enable_value);
  append<u8>(out, pc::acpi_disable_value);
  append<u16>(out, 0);
  append<u32>(out, pc::pm1_event_port);  // 56
  append<u32>(out, 0);
  append<u32>(out, pc::pm1_control_port);
  append<u32>(out, 0);
  append<u32>(out, 0);
  append<u32>(out, pc::pm_timer_port);
  append<u32>(out, pc::gpe0_port);
  append<u32>(out, 0);
  append<u8>(out, pc::pm1_event_size);  // 88
  append<u8>(out, pc::pm1_control_size);
  append<u8>(out, 0);
  append<u8>(out, pc::pm_timer_size);
  append<u8>(out, pc::gpe0_size);
  append_zeros(out, 3);
  append<u16>(out, 0xfff);  // 96: no C2
  append<u16>(out, 0xfff);  // no C3
  append_zeros(out, 8);     // cache flush, duty cycle, alarms
  append<u8>(out, cmos_century);
  append<u16>(out, static_cast<u16>(legacy_devices | (platform.i8042 ? has_8042 : 0) | (platform.vga ? 0 : no_vga)));
  append<u8>(out, 0);
  append<u32>(out, wbinvd | c1_supported | no_sleep_button | timer_32bit | reset_reg);  // 112
  append_io_register(out, pc::reset_port, 1, 1);
  append<u8>(out, pc::reset_value);
  append<u16>(out, 0);
  append<u8>(out, 5);        // 131: minor version of ACPI 6.5
  append<u64>(out, 0);       // 132: the 32-bit FACS pointer counts
  append<u64>(out, dsdt_at);  // 140
  append_io_register(out, pc::pm1_event_port, pc::pm1_event_size, 2);  // 148
  append_io_register(out, 0, 0, 0);
  append_io_register(out, pc::pm1_control_port, pc::pm1_control_size, 2);
  append_io_register(out, 0, 0, 0);
  append_io_register(out, 0, 0, 0);
  append_io_register(out, pc::pm_timer_port, pc::pm_timer_size, 3);
  append_io_register(out, pc::gpe0_port, pc::gpe0_size, 1);
  append_io_register(out, 0, 0, 0);
  append_zeros(out, 24 + 8);  // sleep registers of hardware-reduced machines, hypervisor vendor
  return out;
}

Bytes madt_body(const Platform& platform) {
  constexpr u32 pcat_compatible = 1, enabled = 1;
  constexpr u8 all_processors = 0xff, lint1 = 1;
  Bytes out;
  append<u32>(out, pc::lapic_base);
  append<u32>(out, pcat_compatible);
  for (u32 i = 0; i < platform.cpus; ++i) {
    if (i < 255) {
      append<u8>(out, 0);  // local APIC
      append<u8>(out, 8);
      append(out, static_cast<u8>(i));  // processor UID
      append(out, static_cast<u8>(i));  // APIC id
      append<u32>(out, enabled);
    } else {
      append<u8>(out, 9);  // local x2APIC
      append<u8>(out, 16);
      append<u16>(out, 0);
      append(out, i);
      append<u32>(out, enabled);
      append(out, i);
    }
  }
  append<u8>(out, 1);  // I/O APIC
  append<u8>(out, 12);
  append<u8>(out, pc::ioapic_id);
  append<u8>(out, 0);
  append<u32>(out, pc::ioapic_base);
  append<u32>(out, 0);
  append<u8>(out, 2);  // interrupt source override: the SCI's trigger; ISA IRQ = GSI for all
  append<u8>(out, 10);
  append<u8>(out, 0);
  append<u8>(out, pc::sci_irq);
  append<u32>(out, pc::sci_irq);
  append<u16>(out, level_active_high);
  append<u8>(out, 4);  // local APIC NMI
  append<u8>(out, 6);
  append<u8>(out, all_processors);
  append<u16>(out, 0);
  append<u8>(out, lint1);
  return out;
}

Bytes mcfg_body() {
  Bytes out;
  append_zeros(out, 8);
  append<u64>(out, pc::ecam_base);
  append<u16>(out, 0);  // segment
  append<u8>(out, 0);   // first bus
  append<u8>(out, pc::pci_last_bus);
  append<u32>(out, 0);
  return out;
}

}  // namespace

Result<Image> build(const Platform& platform) {
  if (platform.cpus == 0 || platform.cpus > pc::max_cpus) {
    return fail("cannot describe the processors",
                fmt::format("{} is not between 1 and {}", platform.cpus, pc::max_cpus));
  }
  Builder b;
  append(b.image.tables, facs());  // first, for its alignment of 64
  const u32 dsdt = b.add("DSDT", 2, dsdt_body(platform));
  const u32 fadt = b.add("FACP", 6, fadt_body(platform, 0, dsdt));
  b.pointer(fadt + 36, 4);
  b.pointer(fadt + 40, 4);
  b.pointer(fadt + 140, 8);
  const u32 madt = b.add("APIC", 5, madt_body(platform));
  const u32 mcfg = b.add("MCFG", 1, mcfg_body());

  const u32 listed[] = {fadt, madt, mcfg};
  Bytes narrow, wide;
  for (u32 table : listed) {
    append<u32>(narrow, table);
    append<u64>(wide, table);
  }
  const u32 rsdt = b.add("RSDT", 1, narrow), xsdt = b.add("XSDT", 1, wide);
  for (u32 i = 0; i < std::size(listed); ++i) {
    b.pointer(rsdt + header_size + i * 4, 4);
    b.pointer(xsdt + header_size + i * 8, 8);
  }

  Bytes& root = b.image.root;
  append_text(root, "RSD PTR ", 8);
  append<u8>(root, 0);  // checksum of the first 20 bytes
  append_text(root, oem_id, 6);
  append<u8>(root, 2);  // revision
  append<u32>(root, rsdt);
  append<u32>(root, 36);
  append<u64>(root, xsdt);
  append<u32>(root, 0);  // checksum of all, and reserved bytes
  b.image.pointers.push_back({true, 16, 4});
  b.image.pointers.push_back({true, 24, 8});
  b.image.sums.push_back({true, 8, 0, 20});
  b.image.sums.push_back({true, 32, 0, 36});
  return std::move(b.image);
}

void place(Image& image, u64 base) {
  for (const Image::Pointer& p : image.pointers) {
    Bytes& where = p.in_root ? image.root : image.tables;
    if (p.width == 4) {
      poke<u32>(where, p.offset, *peek<u32>(where, p.offset) + static_cast<u32>(base));
    } else {
      poke<u64>(where, p.offset, *peek<u64>(where, p.offset) + base);
    }
  }
  for (const Image::Sum& sum : image.sums) {
    Bytes& where = sum.in_root ? image.root : image.tables;
    where[sum.at] = 0;
    where[sum.at] = checksum(std::span(where).subspan(sum.start, sum.size));
  }
}

}  // namespace nagaya::boot::acpi
