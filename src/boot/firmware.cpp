#include "boot/firmware.hpp"

#include <fmt/format.h>

#include <array>

#include "boot/acpi/tables.hpp"
#include "boot/bytes.hpp"
#include "boot/mptable.hpp"
#include "boot/smbios.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::boot {
namespace {

namespace pc = x86::pc;
// Systems look for the ACPI pointer from E0000h on, for the other two from F0000h on.
constexpr u64 rsdp_address = pc::bios_tables_base, acpi_address = rsdp_address + 64;
constexpr u32 mp_address = 0xf'0000, smbios_address = 0xf'8000;

// The BIOS data area at 400h, as far as systems still read it.
Bytes bios_data_area(const Platform& platform) {
  constexpr std::array<u16, 4> serial = {pc::serial0_port, pc::serial1_port, pc::serial2_port, pc::serial3_port};
  const u32 ports = std::min<u32>(platform.serial_ports, 4);
  Bytes bda(256);
  for (u32 i = 0; i < ports; ++i) poke<u16>(bda, i * 2, serial[i]);
  poke<u16>(bda, 0x0e, pc::ebda_base >> 4);
  constexpr u16 fpu = 1 << 1, mouse = 1 << 2, video_80x25 = 2 << 4;
  poke<u16>(bda, 0x10,
            static_cast<u16>(fpu | (platform.i8042 ? mouse : 0) | (platform.vga ? video_80x25 : 0) | ports << 9));
  poke<u16>(bda, 0x13, pc::ebda_base / KiB);
  poke<u16>(bda, 0x1a, 0x1e);  // the keyboard buffer is empty
  poke<u16>(bda, 0x1c, 0x1e);
  poke<u16>(bda, 0x80, 0x1e);
  poke<u16>(bda, 0x82, 0x3e);
  if (platform.vga) {
    bda[0x49] = 3;
    poke<u16>(bda, 0x4a, 80);
    poke<u16>(bda, 0x63, 0x3d4);
    bda[0x84] = 24;
  }
  return bda;
}

Result<> put(memory::GuestMemory& memory, const char* what, u64 at, u64 end, std::span<const u8> bytes) {
  if (bytes.size() > end - at) {
    return fail(fmt::format("cannot place the {}", what), fmt::format("its {} bytes do not fit", bytes.size()));
  }
  return memory.write(Gpa(at), bytes);
}

}  // namespace

Result<u64> write_firmware_tables(memory::GuestMemory& memory, const Platform& platform) {
  TRY_ASSIGN(acpi::Image acpi, acpi::build(platform));
  acpi::place(acpi, acpi_address);
  TRY(put(memory, "BIOS data area", 0x400, 0x500, bios_data_area(platform)));
  TRY(put(memory, "EBDA", pc::ebda_base, pc::vga_hole, std::array<u8, 1>{(pc::vga_hole - pc::ebda_base) / KiB}));
  TRY(put(memory, "ACPI root pointer", rsdp_address, acpi_address, acpi.root));
  TRY(put(memory, "ACPI tables", acpi_address, mp_address, acpi.tables));
  TRY(put(memory, "MP table", mp_address, smbios_address, build_mp_table(platform, mp_address)));
  TRY(put(memory, "SMBIOS tables", smbios_address, pc::bios_tables_end, build_smbios(platform, smbios_address)));
  return rsdp_address;
}

}  // namespace nagaya::boot
