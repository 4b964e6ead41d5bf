// The tables as files for firmware that runs in the guest: it takes them from the fw_cfg device, chooses their place
// and fills in pointers and checksums by a script. Source: QEMU documentation, docs/specs/fw_cfg; the layout of the
// script's commands is that of hw/acpi/bios-linker-loader (an interface that SeaBIOS, OVMF and coreboot read).
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "boot/bytes.hpp"
#include "boot/platform.hpp"

namespace nagaya::boot {

struct FirmwareFile {
  std::string name;  ///< "etc/acpi/tables"
  Bytes content;
};

/// ACPI tables with their loader script, and SMBIOS tables. `platform.ram_size` and `ram_end` must be filled in.
Result<std::vector<FirmwareFile>> build_firmware_files(const Platform& platform);

}  // namespace nagaya::boot
