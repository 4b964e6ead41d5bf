// Where things are in the PC that this program models: ports, guest-physical addresses and interrupt numbers. The one
// place that says so; devices, ACPI tables and the machine all read it here.
#pragma once
#include "base/types.hpp"

namespace nagaya::x86::pc {

// ---- Guest-physical map ----------------------------------------------------------------------------------------
/// RAM below 4 GiB ends here at the latest; the rest of it begins at `ram_high`.
inline constexpr u64 ram_low_limit = 0xb000'0000;
inline constexpr u64 ram_high = 4 * GiB;
/// PCI Express enhanced configuration space (MCFG): 1 MiB for each of 256 buses of segment 0.
inline constexpr u64 ecam_base = 0xb000'0000;
inline constexpr u64 ecam_size = 256 * MiB;
inline constexpr u8 pci_last_bus = 0xff;
/// Window for 32-bit BARs, first and last byte.
inline constexpr u64 pci_mmio32_base = 0xc000'0000;
inline constexpr u64 pci_mmio32_last = 0xfebf'ffff;
/// Window for 64-bit BARs begins at the end of high RAM rounded up to this, and is this large.
inline constexpr u64 pci_mmio64_align = 64 * GiB;
inline constexpr u64 pci_mmio64_size = 64 * GiB;
/// First byte of the 64-bit window of a machine whose RAM ends (exclusive) at `ram_end`.
constexpr u64 pci_mmio64_base(u64 ram_end) {
  const u64 end = ram_end < ram_high ? ram_high : ram_end;
  return (end + pci_mmio64_align - 1) / pci_mmio64_align * pci_mmio64_align;
}
inline constexpr u64 ioapic_base = 0xfec0'0000;
inline constexpr u64 ioapic_size = 0x1000;
inline constexpr u64 lapic_base = 0xfee0'0000;
inline constexpr u64 lapic_size = 0x1000;
/// Messages to local APICs (MSI) are written to this megabyte.
inline constexpr u64 msi_base = 0xfee0'0000;
inline constexpr u64 msi_size = 0x10'0000;
/// Firmware ends at 4 GiB; the last 128 KiB of it show below 1 MiB too.
inline constexpr u64 firmware_end = 4 * GiB;
inline constexpr u64 firmware_window = 16 * MiB;
/// Echo memory of the test device (only when asked for).
inline constexpr u64 testdev_mmio_base = 0xff00'0000;
inline constexpr u64 testdev_mmio_size = 0x1'0000;

/// Conventional memory: the extended BIOS data area begins here, and ROM-like tables live above.
inline constexpr u64 ebda_base = 0x9'fc00;
inline constexpr u64 vga_hole = 0xa'0000;
inline constexpr u64 bios_tables_base = 0xe'0000;  ///< RSDP, ACPI, MP table, up to 1 MiB
inline constexpr u64 bios_tables_end = 0x10'0000;

// ---- Ports -----------------------------------------------------------------------------------------------------
inline constexpr u16 pic_master_port = 0x20, pic_slave_port = 0xa0, elcr_port = 0x4d0;  // 2 ports each
inline constexpr u16 pit_port = 0x40;                                                   // 4 ports
inline constexpr u16 port61 = 0x61;                                                     // 1
inline constexpr u16 i8042_data_port = 0x60, i8042_command_port = 0x64;                 // 1 each
inline constexpr u16 rtc_port = 0x70;                                                   // 2 (71h is data)
inline constexpr u16 port92 = 0x92;                                                     // 1
inline constexpr u16 smi_command_port = 0xb2;                                           // 2 (b3h is a scratch byte)
inline constexpr u8 acpi_enable_value = 0xf1, acpi_disable_value = 0xf0;
inline constexpr u16 serial0_port = 0x3f8, serial1_port = 0x2f8, serial2_port = 0x3e8, serial3_port = 0x2e8;  // 8 each
inline constexpr u16 fw_cfg_port = 0x510;                                                // 12 ports
inline constexpr u16 debug_exit_port = 0xf4;                                             // 4
inline constexpr u16 debug_console_port = 0xe9;                                          // 1
inline constexpr u16 testdev_ioport = 0xe0, testdev_flush_port = 0xe4;                   // 4 each
inline constexpr u16 testdev_irq_port = 0x2000;                                          // 24
inline constexpr u16 pci_config_address = 0xcf8, pci_config_data = 0xcfc;                // 4 each
/// First port that PCI I/O BARs may use.
inline constexpr u16 pci_io_base = 0xc000;
inline constexpr u16 pci_io_last = 0xffff;
/// The reset control register lies inside CF8h..CFBh and answers byte accesses (FADT RESET_REG, RESET_VALUE).
inline constexpr u16 reset_port = 0xcf9;
inline constexpr u8 reset_value = 0x06;

/// ACPI fixed hardware (ACPI 6.5, 4.8.3): PM1a event block, PM1a control, PM timer, GPE0 block.
inline constexpr u16 pm_base = 0x600;
inline constexpr u16 pm1_event_port = pm_base, pm1_event_size = 4;           // status word, enable word
inline constexpr u16 pm1_control_port = pm_base + 4, pm1_control_size = 2;
inline constexpr u16 pm_timer_port = pm_base + 8, pm_timer_size = 4;
inline constexpr u16 gpe0_port = pm_base + 0x20, gpe0_size = 4;              // status 2 bytes, enable 2 bytes
/// SLP_TYP values that the DSDT's \_Sx objects name.
inline constexpr u8 slp_typ_s0 = 0, slp_typ_s5 = 5;

// ---- Interrupts ------------------------------------------------------------------------------------------------
/// Global system interrupt = ISA IRQ = IOAPIC pin, without exception (so the MADT overrides only the SCI's trigger).
inline constexpr unsigned gsi_count = 24;
inline constexpr unsigned pit_irq = 0, keyboard_irq = 1, serial1_irq = 3, serial0_irq = 4, rtc_irq = 8, sci_irq = 9,
                          mouse_irq = 12, serial2_irq = 4, serial3_irq = 3;
/// PCI interrupt pins A..D are spread over these four (level, active high).
inline constexpr unsigned pci_irq_first = 16, pci_irq_count = 4;

// ---- Processors ------------------------------------------------------------------------------------------------
inline constexpr unsigned max_cpus = 255;  ///< xAPIC ids 0..254; the id equals the index
inline constexpr u8 ioapic_id = 0;         ///< in the IOAPIC's own id space

// ---- Frequencies (Hz) ------------------------------------------------------------------------------------------
inline constexpr u64 pit_hz = 1'193'182;
inline constexpr u64 pm_timer_hz = 3'579'545;
inline constexpr u64 rtc_hz = 32'768;

}  // namespace nagaya::x86::pc
