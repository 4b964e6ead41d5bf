#include "boot/bzimage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "boot/boot.hpp"
#include "boot/bytes.hpp"
#include "boot/decompress.hpp"
#include "boot/elf.hpp"

namespace nagaya::boot {
namespace {

namespace zp = zero_page;
constexpr u32 header_magic = 0x53726448;  // "HdrS"
constexpr u64 sector = 512;
constexpr u8 loaded_high = 1;      // load_flags: the code goes to 1 MiB
constexpr u16 xlf_kernel_64 = 1;   // xload_flags
constexpr u32 default_cmdline_max = 255;
constexpr u64 default_initrd_max = 0x37ff'ffff;

std::unexpected<Error> bad(std::string why) {
  return fail("cannot use this Linux image", std::move(why), "the file may be damaged or cut short");
}

std::string version_of(std::span<const u8> file) {
  // The field is an offset less 0x200 to a text in the set-up code.
  const u64 at = u64{*peek<u16>(file, zp::kernel_version)} + 0x200;
  std::string text;
  for (u64 i = at; at > 0x200 && i < file.size() && text.size() < 128; ++i) {
    if (file[i] < 0x20 || file[i] > 0x7e) break;
    text.push_back(static_cast<char>(file[i]));
  }
  return text;
}

}  // namespace

bool looks_like_bzimage(std::span<const u8> file) {
  return peek<u16>(file, zp::boot_flag) == 0xaa55 && peek<u32>(file, zp::magic) == header_magic;
}

Result<BzImage> parse_bzimage(std::span<const u8> file) {
  if (!looks_like_bzimage(file)) return bad("the set-up header is missing");
  if (file.size() < 2 * sector) return bad("the file ends inside the set-up code");
  BzImage image;
  image.protocol = *peek<u16>(file, zp::version);
  const auto known = [&](u16 protocol) { return image.protocol >= protocol; };
  if (!known(0x202)) {
    return fail(
        "cannot use this Linux image",
        fmt::format("its boot protocol {}.{:02} is older than 2.02", image.protocol >> 8, image.protocol & 0xff),
        "Linux 2.4 and later have what is needed");
  }
  if ((file[zp::load_flags] & loaded_high) == 0) {
    return fail("cannot use this Linux image", "it is a zImage, which is loaded below 640 KiB", "build a bzImage");
  }
  // The byte at 201h is a jump's displacement: the header ends where it leads.
  const u64 header_end = std::min<u64>(zp::magic + u64{file[zp::jump + 1]}, zp::e820_table - 0x40);
  if (header_end < zp::initrd_max) return bad(fmt::format("its set-up header ends already at {:#x}", header_end));
  image.header = file.subspan(zp::header, header_end - zp::header);
  // A field counts only if the header that the jump spans holds it; the protocol number alone may lie.
  const auto has = [&](u16 protocol, u64 end) { return known(protocol) && header_end >= end; };

  const u64 setup_size = (u64{file[zp::header] == 0 ? u8{4} : file[zp::header]} + 1) * sector;
  if (file.size() <= setup_size) return bad("the file ends inside the set-up code");
  image.code = file.subspan(setup_size);
  // From 2.04 on the code's size is told in 16-byte units, rounded up; signatures may follow it.
  const u64 stated = u64{*peek<u32>(file, 0x1f4)} * 16;
  if (known(0x204)) {
    if (stated > image.code.size() + 15) {
      return bad(
          fmt::format("the file has {} bytes of kernel code where its header tells {}", image.code.size(), stated));
    }
    if (stated >= 1024) image.code = image.code.first(std::min<u64>(stated, image.code.size()));
  }
  image.version_text = version_of(file);

  image.initrd_max = known(0x203) ? *peek<u32>(file, zp::initrd_max) : default_initrd_max;
  image.cmdline_max = has(0x206, 0x23c) ? *peek<u32>(file, zp::cmdline_size) : default_cmdline_max;
  image.relocatable = has(0x205, 0x235) && file[zp::relocatable] != 0;
  image.alignment = has(0x205, 0x234) ? *peek<u32>(file, zp::kernel_alignment) : 0;
  if (image.alignment == 0) image.alignment = 4096;
  if (!std::has_single_bit(image.alignment) || image.alignment > GiB) {
    return bad(fmt::format("its alignment {:#x} is not a sensible power of two", image.alignment));
  }
  image.kernel_64 = has(0x20c, 0x238) && (*peek<u16>(file, zp::xload_flags) & xlf_kernel_64) != 0;
  if (image.kernel_64 && image.code.size() <= 0x200) return bad("it ends before its 64-bit entry");
  image.load_address = *peek<u32>(file, zp::code32_start);
  image.init_size = image.code.size();
  if (has(0x20a, 0x264)) {
    const u64 preferred = *peek<u64>(file, zp::preferred_address);
    if (image.relocatable && preferred != 0) image.load_address = preferred;
    image.init_size = std::max<u64>(image.init_size, *peek<u32>(file, zp::init_size));
  } else {
    // Older decompressors work in place; four times the compressed size is what such kernels were built for.
    image.init_size *= 4;
  }
  if (image.load_address < MiB || image.load_address > 4 * GiB - image.init_size) {
    return bad(fmt::format("it wants to be loaded at {:#x}, outside 1 MiB..4 GiB", image.load_address));
  }
  if (has(0x208, 0x250)) {
    const u32 offset = *peek<u32>(file, zp::payload_offset), length = *peek<u32>(file, zp::payload_length);
    if (length != 0) {
      const auto payload = slice(image.code, offset, length);
      if (!payload) return bad(fmt::format("its payload ({} bytes at {:#x}) lies outside the file", length, offset));
      image.payload = *payload;
    }
  }
  return image;
}

Result<std::vector<u8>> extract_elf(std::span<const u8> bzimage, u64 limit) {
  TRY_ASSIGN(const BzImage image, parse_bzimage(bzimage));
  if (image.payload.empty()) {
    return fail("cannot take the kernel out of this Linux image",
                "its header does not say where it is (protocol < 2.08)");
  }
  std::vector<u8> elf;
  if (looks_like_elf(image.payload)) {
    elf.assign(image.payload.begin(), image.payload.end());
  } else {
    Unpacked unpacked;
    TRY_ASSIGN(unpacked, decompress(image.payload, limit));
    elf.assign(unpacked.begin(), unpacked.end());
  }
  if (!looks_like_elf(elf)) return fail("cannot take the kernel out of this Linux image", "what is inside is not ELF");
  return elf;
}

}  // namespace nagaya::boot
