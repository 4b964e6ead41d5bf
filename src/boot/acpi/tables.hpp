// The machine's ACPI tables as plain data. Source: ACPI 6.5, chapter 5; PCI Firmware 3.3, 4.1.2 (MCFG).
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "boot/bytes.hpp"
#include "boot/platform.hpp"

namespace nagaya::boot::acpi {

/// Tables whose addresses are not decided yet: the pointers in them hold offsets into `tables`.
struct Image {
  /// A pointer to be filled in, `width` bytes at `offset` of `tables` or (in_root) of `root`.
  struct Pointer {
    bool in_root;
    u32 offset;
    u8 width;
  };
  /// The byte at `at` makes [start, start+size) sum to zero.
  struct Sum {
    bool in_root;
    u32 at, start, size;
  };
  Bytes root;    ///< RSDP, revision 2
  Bytes tables;  ///< XSDT, RSDT, FADT, FACS, MADT, MCFG, DSDT; to be placed at a multiple of 64
  std::vector<Pointer> pointers;
  std::vector<Sum> sums;  ///< in the order in which they are to be made
};

/// Error when the platform asks for more processors than there can be.
Result<Image> build(const Platform& platform);
/// Fills in pointers and checksums for `tables` at guest-physical `base` (below 4 GiB).
void place(Image& image, u64 base);

}  // namespace nagaya::boot::acpi
