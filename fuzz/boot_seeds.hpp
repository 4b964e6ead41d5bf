// Well-formed kernels of every kind, small enough for a machine of a few megabytes.
#pragma once
#include <vector>

#include "boot/image_test_util.hpp"

namespace nagaya::fuzz {

inline constexpr u64 small_ram = 8 * MiB;

inline std::vector<std::vector<u8>> elf_seeds() {
  using namespace boot;
  std::vector<std::vector<u8>> out;
  for (bool is_64 : {true, false}) {
    test::ElfSpec spec{.is_64 = is_64, .paddr = 2 * MiB, .vaddr = 0xc020'0000, .entry = 2 * MiB};
    out.push_back(test::make_elf(spec));
    spec.linux_note = true;
    out.push_back(test::make_elf(spec));
    spec.pvh_entry = 2 * MiB + 16;
    out.push_back(test::make_elf(spec));
    spec.note_align = 8;
    out.push_back(test::make_elf(spec));
    spec.pvh_entry = 0;
    spec.linux_note = false;
    spec.code = test::make_multiboot_header(3);
    out.push_back(test::make_elf(spec));
  }
  return out;
}

inline std::vector<std::vector<u8>> bzimage_seeds() {
  using namespace boot;
  std::vector<std::vector<u8>> out;
  const test::ElfSpec spec{.paddr = 2 * MiB, .entry = 2 * MiB, .linux_note = true};
  const Bytes elf = test::make_elf(spec);
  for (Compression kind : {Compression::unknown, Compression::gzip, Compression::bzip2, Compression::lzma,
                           Compression::xz, Compression::lz4, Compression::zstd}) {
    out.push_back(
        test::make_bzimage({.payload = test::compress(kind, elf), .init_size = 1 * MiB, .preferred = 2 * MiB}));
  }
  out.push_back(
      test::make_bzimage({.payload = {1, 2, 3}, .protocol = 0x204, .kernel_64 = false, .preferred = 2 * MiB}));
  return out;
}

inline std::vector<std::vector<u8>> multiboot_seeds() {
  using namespace boot;
  std::vector<std::vector<u8>> out;
  constexpr u32 base = 2 * MiB;
  Bytes flat(32, 0x90);
  append(flat, test::make_multiboot_header(1 << 16 | 3, base + 32, base, 0, base + 8192, base));
  append_zeros(flat, 64);
  out.push_back(flat);
  Bytes sized = test::make_multiboot_header(1 << 16 | 7, base, base, base + 48, 0, base + 8);
  append_zeros(sized, 64);
  out.push_back(sized);
  return out;
}

}  // namespace nagaya::fuzz
