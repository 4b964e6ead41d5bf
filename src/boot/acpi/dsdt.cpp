#include "boot/acpi/dsdt.hpp"

#include <fmt/format.h>

#include <array>

#include "boot/acpi/aml.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::boot::acpi {
namespace {

using namespace aml;  // this file is written in AML
namespace pc = x86::pc;

constexpr u32 pci_slots = 32, pci_pins = 4;

// Which interrupt each slot's pins reach: INTx lines are swizzled over four GSIs.
Term interrupt_routing() {
  std::vector<Term> routes;
  for (u32 slot = 0; slot < pci_slots; ++slot) {
    for (u32 pin = 0; pin < pci_pins; ++pin) {
      const u32 gsi = pc::pci_irq_first + (slot + pin) % pc::pci_irq_count;
      routes.push_back(package({integer(u64{slot} << 16 | 0xffff), integer(pin), integer(0), integer(gsi)}));
    }
  }
  return name("_PRT", package(routes));
}

// The system asks which PCI Express features it may drive itself: all that we may have, but not the older SHPC.
Term operating_system_capabilities() {
  constexpr u64 granted = 0x1d;  // native hot-plug, PME, AER, capability structure
  constexpr u64 unknown_uuid = 4, unknown_revision = 8, masked = 0x10;
  const Term status = path("CDW1"), control = path("CDW3");
  return method(
      "_OSC", 4,
      join({create_dword_field(arg(3), 0, "CDW1"),
            when(equal(arg(0), uuid("33db4d5b-1ff7-401c-9657-7441c03dd766")),
                 join({create_dword_field(arg(3), 8, "CDW3"),
                       bit_and(control, integer(granted), local(0)),
                       when(negate(equal(arg(1), integer(1))), bit_or(status, integer(unknown_revision), status)),
                       when(negate(equal(control, local(0))), bit_or(status, integer(masked), status)),
                       store(local(0), control)})),
            otherwise(bit_or(status, integer(unknown_uuid), status)),
            give(arg(3))}));
}

Term pci_host_bridge(const Platform& platform) {
  const u64 high = pc::pci_mmio64_base(platform.ram_end);
  Term windows = resources({bus_range(0, pc::pci_last_bus),
                            io(pc::pci_config_address, 8),
                            io_window(0, pc::pci_config_address - 1),
                            io_window(pc::pci_config_data + 4, 0xffff),
                            memory_window32(pc::vga_hole, 0xb'ffff),
                            memory_window32(pc::pci_mmio32_base, pc::pci_mmio32_last),
                            memory_window64(high, high + pc::pci_mmio64_size - 1)});
  return device("PCI0", join({name("_HID", eisa_id("PNP0A08")),
                              name("_CID", eisa_id("PNP0A03")),
                              name("_UID", integer(0)),
                              name("_SEG", integer(0)),
                              name("_BBN", integer(0)),
                              name("_CRS", windows),
                              operating_system_capabilities(),
                              interrupt_routing()}));
}

Term simple_device(std::string_view where, std::string_view id, u64 number, const Term& resource_buffer) {
  return device(where, join({name("_HID", eisa_id(id)), name("_UID", integer(number)),
                             name("_STA", integer(0xf)), name("_CRS", resource_buffer)}));
}

Term serial_ports(const Platform& platform) {
  constexpr std::array<std::pair<u16, unsigned>, 4> places = {{{pc::serial0_port, pc::serial0_irq},
                                                              {pc::serial1_port, pc::serial1_irq},
                                                              {pc::serial2_port, pc::serial2_irq},
                                                              {pc::serial3_port, pc::serial3_irq}}};
  Term out;
  for (std::size_t i = 0; i < platform.serial_ports && i < places.size(); ++i) {
    const auto [port, line] = places[i];
    append(out, simple_device(fmt::format("COM{}", i + 1), "PNP0501", i + 1, resources({io(port, 8), irq(line)})));
  }
  return out;
}

Term legacy_devices(const Platform& platform) {
  Term out = join({
      simple_device("PIC", "PNP0000", 0,
                    resources({io(pc::pic_master_port, 2), io(pc::pic_slave_port, 2), io(pc::elcr_port, 2), irq(2)})),
      simple_device("TMR", "PNP0100", 0, resources({io(pc::pit_port, 4), irq(pc::pit_irq)})),
      simple_device("RTC", "PNP0B00", 0, resources({io(pc::rtc_port, 2), irq(pc::rtc_irq)})),
      simple_device("SPKR", "PNP0800", 0, resources({io(pc::port61, 1)})),
  });
  if (platform.i8042) {
    append(out, simple_device("KBD", "PNP0303", 0,
                              resources({io(pc::i8042_data_port, 1), io(pc::i8042_command_port, 1),
                                         irq(pc::keyboard_irq)})));
    append(out, simple_device("MOU", "PNP0F13", 0, resources({irq(pc::mouse_irq)})));
  }
  // Reserved so that nothing is placed there; Linux wants ECAM to be named here before it uses it.
  append(out, simple_device("MBRD", "PNP0C02", 0,
                            resources({io(pc::port92, 1), io(pc::smi_command_port, 2), io(pc::pm_base, 0x40),
                                       memory32_fixed(pc::ecam_base, pc::ecam_size),
                                       memory32_fixed(pc::ioapic_base, pc::ioapic_size),
                                       memory32_fixed(pc::lapic_base, pc::lapic_size)})));
  if (platform.fw_cfg) {
    append(out, device("FWCF", join({name("_HID", string("QEMU0002")), name("_STA", integer(0xb)),
                                     name("_CRS", resources({io(pc::fw_cfg_port, 12)}))})));
  }
  return out;
}

Term processors(const Platform& platform) {
  Term out;
  for (u32 i = 0; i < platform.cpus; ++i) {
    append(out, device(fmt::format("C{:03X}", i), join({name("_HID", string("ACPI0007")), name("_UID", integer(i))})));
  }
  return out;
}

}  // namespace

Bytes dsdt_body(const Platform& platform) {
  const auto sleep = [](u64 type) { return package({integer(type), integer(type), integer(0), integer(0)}); };
  return join({scope("\\_SB", join({pci_host_bridge(platform), serial_ports(platform), legacy_devices(platform),
                                    processors(platform)})),
               name("\\_S0", sleep(pc::slp_typ_s0)), name("\\_S5", sleep(pc::slp_typ_s5))});
}

}  // namespace nagaya::boot::acpi
