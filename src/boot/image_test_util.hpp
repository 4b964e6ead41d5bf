// Small kernels made up for tests and as seeds for fuzzing: well-formed, so that each test can break one thing.
#pragma once
#include <bzlib.h>
#include <elf.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <cstring>
#include <string>
#include <string_view>

#include "boot/bytes.hpp"
#include "boot/bzimage.hpp"
#include "boot/decompress.hpp"

namespace nagaya::boot::test {

/// An ELF executable with one segment of code at `paddr` and optional notes.
struct ElfSpec {
  bool is_64 = true;
  u64 paddr = 16 * MiB, vaddr = 0xffff'ffff'8100'0000;
  u64 entry = 16 * MiB;
  Bytes code = Bytes(64, 0x90);
  u64 bss = 4096;
  u32 pvh_entry = 0;       ///< 0: no note
  bool linux_note = false;
  u64 note_align = 4;
};

inline Bytes note(std::string_view owner, u32 type, std::span<const u8> description, u64 align) {
  Bytes out;
  append(out, static_cast<u32>(owner.size() + 1));
  append(out, static_cast<u32>(description.size()));
  append(out, type);
  append_text(out, owner, owner.size() + 1, '\0');
  append_zeros(out, align_up(out.size(), align) - out.size());
  append(out, description);
  append_zeros(out, align_up(out.size(), align) - out.size());
  return out;
}

template <class Ehdr, class Phdr>
Bytes make_elf_as(const ElfSpec& spec, u8 kind) {
  Bytes notes;
  if (spec.linux_note) append(notes, note("Linux", 0x100, Bytes(4), spec.note_align));
  if (spec.pvh_entry != 0) {
    Bytes entry;
    if (spec.is_64) append<u64>(entry, spec.pvh_entry);
    if (!spec.is_64) append<u32>(entry, spec.pvh_entry);
    append(notes, note("Xen", 18, entry, spec.note_align));
  }
  Ehdr e{};
  std::memcpy(e.e_ident, ELFMAG, 4);
  e.e_ident[EI_CLASS] = kind;
  e.e_ident[EI_DATA] = ELFDATA2LSB;
  e.e_ident[EI_VERSION] = EV_CURRENT;
  e.e_type = ET_EXEC;
  e.e_machine = spec.is_64 ? EM_X86_64 : EM_386;
  e.e_version = EV_CURRENT;
  e.e_entry = static_cast<decltype(e.e_entry)>(spec.entry);
  e.e_phoff = sizeof e;
  e.e_ehsize = sizeof e;
  e.e_phentsize = sizeof(Phdr);
  e.e_phnum = 2;
  Phdr load{}, notes_header{};
  load.p_type = PT_LOAD;
  load.p_offset = sizeof e + 2 * sizeof(Phdr);
  load.p_paddr = static_cast<decltype(load.p_paddr)>(spec.paddr);
  load.p_vaddr = static_cast<decltype(load.p_vaddr)>(spec.vaddr);
  load.p_filesz = static_cast<decltype(load.p_filesz)>(spec.code.size());
  load.p_memsz = static_cast<decltype(load.p_memsz)>(spec.code.size() + spec.bss);
  notes_header.p_type = PT_NOTE;
  notes_header.p_offset = static_cast<decltype(load.p_offset)>(load.p_offset + spec.code.size());
  notes_header.p_filesz = static_cast<decltype(load.p_filesz)>(notes.size());
  notes_header.p_align = static_cast<decltype(load.p_align)>(spec.note_align);
  Bytes out(load.p_offset);
  std::memcpy(out.data(), &e, sizeof e);
  std::memcpy(out.data() + sizeof e, &load, sizeof load);
  std::memcpy(out.data() + sizeof e + sizeof load, &notes_header, sizeof notes_header);
  append(out, spec.code);
  append(out, notes);
  return out;
}

inline Bytes make_elf(const ElfSpec& spec) {
  return spec.is_64 ? make_elf_as<Elf64_Ehdr, Elf64_Phdr>(spec, ELFCLASS64)
                    : make_elf_as<Elf32_Ehdr, Elf32_Phdr>(spec, ELFCLASS32);
}

/// Offset of the first program header and of a field in it, for breaking ELF64 files.
inline constexpr std::size_t phdr64 = sizeof(Elf64_Ehdr);

/// `data` compressed as Linux' build does it: with the size appended, except for gzip.
inline Bytes compress(Compression kind, std::span<const u8> data) {
  Bytes out(data.size() * 2 + 65536);
  auto* in = const_cast<u8*>(data.data());
  switch (kind) {
    case Compression::gzip: {
      z_stream z{};
      deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
      z.next_in = in, z.avail_in = static_cast<uInt>(data.size());
      z.next_out = out.data(), z.avail_out = static_cast<uInt>(out.size());
      deflate(&z, Z_FINISH);
      out.resize(z.total_out);
      deflateEnd(&z);
      return out;
    }
    case Compression::bzip2: {
      auto size = static_cast<unsigned>(out.size());
      BZ2_bzBuffToBuffCompress(reinterpret_cast<char*>(out.data()), &size, reinterpret_cast<char*>(in),
                               static_cast<unsigned>(data.size()), 9, 0, 0);
      out.resize(size);
      break;
    }
    case Compression::xz: {
      lzma_options_lzma options;
      lzma_lzma_preset(&options, 0);
      const lzma_filter filters[] = {
          {LZMA_FILTER_X86, nullptr}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
      std::size_t size = 0;
      [[maybe_unused]] const lzma_ret code = lzma_stream_buffer_encode(
          const_cast<lzma_filter*>(filters), LZMA_CHECK_CRC32, nullptr, in, data.size(), out.data(), &size, out.size());
      out.resize(size);
      break;
    }
    case Compression::lzma: {
      lzma_options_lzma options;
      lzma_lzma_preset(&options, 0);
      lzma_stream z = LZMA_STREAM_INIT;
      lzma_ret code = lzma_alone_encoder(&z, &options);
      z.next_in = in, z.avail_in = data.size();
      z.next_out = out.data(), z.avail_out = out.size();
      if (code == LZMA_OK) code = lzma_code(&z, LZMA_FINISH);
      out.resize(z.total_out);
      lzma_end(&z);
      break;
    }
    case Compression::lz4: {
      out.clear();
      append<u32>(out, 0x184c2102);
      constexpr std::size_t block = 8 * MiB;
      for (std::size_t at = 0; at < data.size(); at += block) {
        const auto part = data.subspan(at, std::min(block, data.size() - at));
        Bytes packed(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(part.size()))));
        const int size = LZ4_compress_default(reinterpret_cast<const char*>(part.data()),
                                              reinterpret_cast<char*>(packed.data()), static_cast<int>(part.size()),
                                              static_cast<int>(packed.size()));
        append(out, static_cast<u32>(size));
        append(out, std::span(packed).first(static_cast<std::size_t>(size)));
      }
      break;
    }
    case Compression::zstd: {
      out.resize(ZSTD_compressBound(data.size()));
      out.resize(ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 3));
      break;
    }
    default: return Bytes(data.begin(), data.end());
  }
  append(out, static_cast<u32>(data.size()));
  return out;
}

struct BzImageSpec {
  Bytes payload;
  u16 protocol = 0x20f;
  bool kernel_64 = true;
  bool relocatable = true;
  u32 init_size = 4 * MiB;
  u64 preferred = 16 * MiB;
  u32 initrd_max = 0x7fff'ffff;
  u32 cmdline_max = 2047;
};

inline constexpr std::size_t setup_size = 2 * 512;  // one boot sector, one sector of set-up code

inline Bytes make_bzimage(const BzImageSpec& spec) {
  namespace zp = zero_page;
  constexpr u32 payload_at = 0x400;
  Bytes code(payload_at, 0xf4);  // HLT
  append(code, spec.payload);
  append_zeros(code, align_up(code.size(), 16) - code.size());
  Bytes out(setup_size);
  out[zp::header] = 1;
  poke<u32>(out, 0x1f4, static_cast<u32>(code.size() / 16));
  poke<u16>(out, zp::boot_flag, 0xaa55);
  out[zp::jump] = 0xeb;
  out[zp::jump + 1] = 0x66;  // the header ends at 0x268
  poke<u32>(out, zp::magic, 0x53726448);
  poke<u16>(out, zp::version, spec.protocol);
  poke<u16>(out, zp::kernel_version, 0x80);
  const std::string_view version = "6.6.6-test (builder) #1";
  std::memcpy(out.data() + 0x280, version.data(), version.size());
  out[zp::load_flags] = 1;
  poke<u32>(out, zp::code32_start, MiB);
  poke<u32>(out, zp::initrd_max, spec.initrd_max);
  poke<u32>(out, zp::kernel_alignment, 2 * MiB);
  out[zp::relocatable] = spec.relocatable ? 1 : 0;
  poke<u16>(out, zp::xload_flags, spec.kernel_64 ? 1 : 0);
  poke<u32>(out, zp::cmdline_size, spec.cmdline_max);
  poke<u32>(out, zp::payload_offset, payload_at);
  poke<u32>(out, zp::payload_length, static_cast<u32>(spec.payload.size()));
  poke<u64>(out, zp::preferred_address, spec.preferred);
  poke<u32>(out, zp::init_size, spec.init_size);
  append(out, code);
  return out;
}

/// A flat multiboot 1 image loaded by the addresses in its header (`flags` bit 16), or only the header for an ELF.
inline Bytes make_multiboot_header(u32 flags, u32 header_address = 0, u32 load = 0, u32 load_end = 0, u32 bss_end = 0,
                                   u32 entry = 0) {
  constexpr u32 magic = 0x1badb002;
  Bytes out;
  for (u32 word : {magic, flags, 0 - magic - flags, header_address, load, load_end, bss_end, entry}) append(out, word);
  return out;
}

}  // namespace nagaya::boot::test
