// The differentiated system description: what of this PC cannot be found by looking.
#pragma once
#include "boot/bytes.hpp"
#include "boot/platform.hpp"

namespace nagaya::boot::acpi {

/// The AML of the DSDT, without the table header. Source: ACPI 6.5, chapters 5, 6 and 7; PCI Firmware 3.3, 4.5 (_OSC).
Bytes dsdt_body(const Platform& platform);

}  // namespace nagaya::boot::acpi
