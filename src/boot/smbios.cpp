#include "boot/smbios.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "x86/pc_layout.hpp"

namespace nagaya::boot {
namespace {

namespace pc = x86::pc;
constexpr u16 handle_chassis = 0x300, handle_array = 0x1000, handle_dimm = 0x1100, handle_map = 0x1300;
constexpr u16 none = 0xfffe;  // "no error information"
constexpr const char* maker = "Nagaya";
constexpr u8 unknown_state = 2, safe = 3;

struct Structures {
  Bytes bytes;
  u16 count = 0;
  u16 largest = 0;

  // `body` is what follows the four-byte header; strings are numbered from 1 in the order given.
  void add(u8 type, u16 handle, const Bytes& body, std::initializer_list<std::string> strings = {}) {
    const std::size_t start = bytes.size();
    append(bytes, type);
    append(bytes, static_cast<u8>(4 + body.size()));
    append(bytes, handle);
    append(bytes, body);
    for (const std::string& text : strings) {
      // An empty string would end the set.
      append_text(bytes, text.empty() ? "Not Specified" : text, text.empty() ? 13 : text.size());
      bytes.push_back(0);
    }
    if (strings.size() == 0) bytes.push_back(0);
    bytes.push_back(0);
    ++count;
    largest = std::max(largest, static_cast<u16>(bytes.size() - start));
  }
};

void add_bios(Structures& out) {
  Bytes b{1, 2};                // vendor, version
  append<u16>(b, 0xe000);       // segment
  append<u8>(b, 3);             // date
  append<u8>(b, 0);             // ROM of 64 KiB
  append<u64>(b, 1 << 3);       // characteristics not supported
  append<u8>(b, 1);             // ACPI
  append<u8>(b, 1 << 4);        // this is a virtual machine
  append(b, {{0, 1, 0xff, 0xff}});  // release 0.1, no embedded controller
  out.add(0, 0, b, {maker, "0.1", "01/01/2026"});
}

void add_system(Structures& out, const Platform& platform) {
  Bytes b{1, 2, 3, 4};  // maker, product, version, serial number
  // Since 2.6 the first three fields of a UUID are little-endian.
  for (std::size_t i : {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}) b.push_back(platform.uuid[i]);
  append<u8>(b, 6);  // wake-up by power switch
  append<u8>(b, 0);
  append<u8>(b, 5);  // family
  out.add(1, 0x100, b, {maker, "Virtual Machine", "0.1", platform.serial_number, "Virtual Machine"});
}

void add_chassis(Structures& out) {
  Bytes b{1, 1, 0, 0, 0, safe, safe, safe, unknown_state};
  append_zeros(b, 4 + 1 + 1 + 1 + 1 + 1);
  out.add(3, handle_chassis, b, {maker});
}

void add_processors(Structures& out, const Platform& platform) {
  const u8 cores = static_cast<u8>(std::min<u32>(platform.cpus, 255));
  Bytes b{1, 3, 1, 2};  // socket, central processor, family "other", maker
  append<u64>(b, 0);    // id: systems ask CPUID
  b.push_back(3);       // version
  b.push_back(0);
  append_zeros(b, 6);   // clocks unknown
  b.push_back(0x41);    // populated, enabled
  b.push_back(1);
  for (int cache = 0; cache < 3; ++cache) append<u16>(b, 0xffff);
  append_zeros(b, 3);   // serial, tag, part
  append(b, {{cores, cores, cores}});
  append<u16>(b, 1 << 2);  // 64-bit capable
  append<u16>(b, 1);
  for (int kind = 0; kind < 3; ++kind) append(b, static_cast<u16>(platform.cpus));
  out.add(4, 0x400, b, {"CPU 0", maker, "Virtual CPU"});
}

void add_memory_range(Structures& out, u16 handle, u64 base, u64 size) {
  // Kilobytes in 32 bits are enough below 4 TiB; beyond, all ones say "see the 64-bit fields", which count bytes.
  const u64 last = base + size - 1;
  const bool wide = last / KiB >= 0xffff'ffff;
  Bytes b;
  append(b, static_cast<u32>(wide ? 0xffff'ffff : base / KiB));
  append(b, static_cast<u32>(wide ? 0xffff'ffff : last / KiB));
  append(b, handle_array);
  append<u8>(b, 1);
  append<u64>(b, wide ? base : 0);
  append<u64>(b, wide ? last : 0);
  out.add(19, handle, b);
}

void add_memory(Structures& out, const Platform& platform) {
  const u64 size = platform.ram_size, mebibytes = size / MiB;
  Bytes array{1, 3, 3};  // location "other", system memory, no error correction
  const bool wide = size / KiB >= 0x8000'0000;
  append(array, static_cast<u32>(wide ? 0x8000'0000 : size / KiB));
  append(array, none);
  append<u16>(array, 1);
  append<u64>(array, wide ? size : 0);
  out.add(16, handle_array, array);

  Bytes dimm;
  append(dimm, handle_array);
  append(dimm, none);
  append<u16>(dimm, 0xffff);  // widths unknown
  append<u16>(dimm, 0xffff);
  append(dimm, static_cast<u16>(std::min<u64>(mebibytes, 0x7fff)));
  append(dimm, {{9, 0, 1, 0, 7}});  // DIMM, no set, locator, no bank, RAM
  append<u16>(dimm, 1 << 1);       // "other"
  append<u16>(dimm, 0);
  append(dimm, {{2, 0, 0, 0, 0}});  // maker; serial, tag, part, attributes
  append(dimm, static_cast<u32>(mebibytes >= 0x7fff ? mebibytes : 0));
  append_zeros(dimm, 8);  // speed and voltages unknown
  out.add(17, handle_dimm, dimm, {"DIMM 0", maker});

  const u64 high = platform.ram_end > pc::ram_high ? platform.ram_end - pc::ram_high : 0;
  if (size > high) add_memory_range(out, handle_map, 0, size - high);
  if (high != 0) add_memory_range(out, handle_map + 1, pc::ram_high, high);
}

Structures build_structures(const Platform& platform) {
  Structures out;
  add_bios(out);
  add_system(out, platform);
  add_chassis(out);
  add_processors(out, platform);
  add_memory(out, platform);
  Bytes status(7);  // booted without errors
  out.add(32, 0x2000, status);
  out.add(127, 0x7f00, {});
  return out;
}

Bytes anchor_64(u64 address, u32 size) {
  Bytes out;
  append_text(out, "_SM3_", 5);
  append(out, {{0, 24, 3, 0, 0, 1, 0}});  // checksum, length, 3.0.0, entry point revision
  append(out, size);
  append(out, address);
  out[5] = checksum(out);
  return out;
}

Bytes anchor_32(const Structures& structures, u32 address) {
  Bytes out;
  append_text(out, "_SM_", 4);
  append(out, {{0, 31, 2, 8}});  // checksum, length, 2.8
  append(out, structures.largest);
  append_zeros(out, 6);
  append_text(out, "_DMI_", 5);
  append<u8>(out, 0);
  append(out, static_cast<u16>(structures.bytes.size()));
  append(out, address);
  append(out, structures.count);
  append<u8>(out, 0x28);
  out[21] = checksum(std::span(out).subspan(16));
  out[4] = checksum(out);
  return out;
}

}  // namespace

Bytes smbios_structures(const Platform& platform) { return build_structures(platform).bytes; }

Bytes smbios_anchor(const Platform& platform) {
  return anchor_32(build_structures(platform), 0);
}

Bytes build_smbios(const Platform& platform, u32 base) {
  constexpr u32 anchors = 64;  // 24 bytes, padding to the next paragraph, 31 bytes, padding
  const Structures structures = build_structures(platform);
  Bytes out = anchor_64(base + anchors, static_cast<u32>(structures.bytes.size()));
  append_zeros(out, 32 - out.size());
  append(out, anchor_32(structures, base + anchors));
  append_zeros(out, anchors - out.size());
  append(out, structures.bytes);
  return out;
}

}  // namespace nagaya::boot
