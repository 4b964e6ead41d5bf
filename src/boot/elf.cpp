#include "boot/elf.hpp"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "boot/bytes.hpp"

namespace nagaya::boot {
namespace {

constexpr u32 xen_note_phys32_entry = 18;
constexpr u16 max_program_headers = 512;  // kernels have about five
constexpr std::size_t max_notes = 4096;

std::unexpected<Error> bad(std::string why) {
  return fail("cannot use this ELF file as a kernel", std::move(why), "the file may be damaged or cut short");
}

struct ProgramHeader {
  u32 type;
  u64 offset, vaddr, paddr, file_size, memory_size, align;
};

template <class Header>
ProgramHeader widen(std::span<const u8> raw) {
  Header h;
  std::memcpy(&h, raw.data(), sizeof h);
  return {h.p_type, h.p_offset, h.p_vaddr, h.p_paddr, h.p_filesz, h.p_memsz, h.p_align};
}

// Notes: three words (name size, description size, type), name, description, each padded to `align`. A note that does
// not fit ends the list: a kernel is not refused over a note nobody asked for.
void parse_notes(std::span<const u8> data, u64 align, std::vector<ElfNote>& out) {
  u64 at = 0;
  while (out.size() < max_notes) {
    const auto name_size = peek<u32>(data, at), size = peek<u32>(data, at + 4), type = peek<u32>(data, at + 8);
    if (!name_size || !size || !type) return;
    const u64 name_at = at + 12;
    const auto owner = slice(data, name_at, *name_size);
    const u64 description_at = at + align_up(12 + u64{*name_size}, align);
    const auto description = slice(data, description_at, *size);
    if (!owner || !description) return;
    std::string_view text(reinterpret_cast<const char*>(owner->data()), owner->size());
    out.push_back({text.substr(0, text.find('\0')), *type, *description});
    at = description_at + align_up(*size, align);
  }
}

// Into memory that holds zeros already: pages of zeros (a kernel's .bss is often in its file) are left untouched, so
// that the host need not provide them.
Result<> write_nonzero(memory::GuestMemory& memory, const ElfSegment& segment) {
  const auto is_zero = [](std::span<const u8> page) {
    return page[0] == 0 && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
  };
  std::span<const u8> rest = segment.file;
  u64 at = segment.paddr;
  while (!rest.empty()) {
    u64 run = 0;
    while (run < rest.size()) {
      const auto page = rest.subspan(run, std::min<u64>(page_size, rest.size() - run));
      if (is_zero(page)) break;
      run += page.size();
    }
    TRY(memory.write(Gpa(at), rest.first(run)));
    const u64 done = std::min<u64>(rest.size(), run + page_size);
    rest = rest.subspan(done);
    at += done;
  }
  return {};
}

}  // namespace

const ElfNote* ElfImage::note(std::string_view owner, u32 type) const {
  const auto found = std::ranges::find_if(notes, [&](const ElfNote& n) { return n.owner == owner && n.type == type; });
  return found == notes.end() ? nullptr : &*found;
}

bool ElfImage::holds(u64 paddr) const {
  return std::ranges::any_of(
      segments, [&](const ElfSegment& s) { return paddr >= s.paddr && paddr - s.paddr < s.memory_size; });
}

bool looks_like_elf(std::span<const u8> file) { return file.size() >= 4 && std::memcmp(file.data(), ELFMAG, 4) == 0; }

Result<ElfImage> parse_elf(std::span<const u8> file) {
  if (!looks_like_elf(file) || file.size() < EI_NIDENT) return bad("the ELF identification is missing");
  const u8 kind = file[EI_CLASS];
  if (kind != ELFCLASS32 && kind != ELFCLASS64) return bad(fmt::format("unknown ELF class {}", kind));
  if (file[EI_DATA] != ELFDATA2LSB) return bad("it is not little-endian");
  ElfImage image;
  image.is_64 = kind == ELFCLASS64;
  const u64 header_size = image.is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
  if (file.size() < header_size) return bad("the file ends inside the ELF header");
  const u16 type = *peek<u16>(file, 16), machine = *peek<u16>(file, 18);
  if (machine != EM_386 && machine != EM_X86_64) {
    return fail("cannot use this ELF file as a kernel", fmt::format("it is for ELF machine {}, not x86", machine),
                "give a kernel built for x86");
  }
  if (type != ET_EXEC && type != ET_DYN) {
    return fail("cannot use this ELF file as a kernel", fmt::format("ELF type {} is not an executable", type),
                "give the linked kernel (vmlinux), not an object file or core dump");
  }
  u64 table = 0;
  u16 entry_size = 0, count = 0;
  if (image.is_64) {
    Elf64_Ehdr h;
    std::memcpy(&h, file.data(), sizeof h);
    image.entry = h.e_entry, table = h.e_phoff, entry_size = h.e_phentsize, count = h.e_phnum;
  } else {
    Elf32_Ehdr h;
    std::memcpy(&h, file.data(), sizeof h);
    image.entry = h.e_entry, table = h.e_phoff, entry_size = h.e_phentsize, count = h.e_phnum;
  }
  const u64 wanted = image.is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
  if (count == 0) return bad("it has no program headers, so nothing to load");
  if (count > max_program_headers) return bad(fmt::format("{} program headers are absurd", count));
  if (entry_size < wanted) return bad(fmt::format("program headers of {} bytes are too small", entry_size));
  if (!slice(file, table, u64{entry_size} * count)) return bad("the program headers lie outside the file");

  for (u64 i = 0; i < count; ++i) {
    const auto raw = file.subspan(table + i * entry_size, wanted);
    const ProgramHeader h = image.is_64 ? widen<Elf64_Phdr>(raw) : widen<Elf32_Phdr>(raw);
    if (h.type != PT_LOAD && h.type != PT_NOTE) continue;
    const auto content = slice(file, h.offset, h.file_size);
    if (!content) {
      return bad(fmt::format("program header {} ({:#x} bytes at file offset {:#x}) lies outside the file", i,
                             h.file_size, h.offset));
    }
    if (h.type == PT_NOTE) {
      parse_notes(*content, h.align == 8 ? 8 : 4, image.notes);
      continue;
    }
    if (h.memory_size == 0 && h.file_size == 0) continue;
    if (h.file_size > h.memory_size) {
      return bad(fmt::format("segment {} has {:#x} bytes in the file but only {:#x} in memory", i, h.file_size,
                             h.memory_size));
    }
    if (h.memory_size > ~u64{0} - h.paddr) return bad(fmt::format("segment {} wraps around the address space", i));
    image.segments.push_back({h.paddr, h.vaddr, h.memory_size, *content});
  }
  if (image.segments.empty()) return bad("it has no segment to load");
  std::ranges::sort(image.segments, {}, &ElfSegment::paddr);
  for (std::size_t i = 1; i < image.segments.size(); ++i) {
    const ElfSegment& before = image.segments[i - 1];
    if (image.segments[i].paddr < before.paddr + before.memory_size) {
      return bad(fmt::format("two segments overlap at {:#x}", image.segments[i].paddr));
    }
  }
  return image;
}

Result<std::optional<u32>> pvh_entry(const ElfImage& image) {
  const ElfNote* note = image.note("Xen", xen_note_phys32_entry);
  if (note == nullptr) return std::nullopt;
  u64 entry = 0;
  if (const auto wide = peek<u64>(note->description, 0)) {
    entry = *wide;
  } else if (const auto narrow = peek<u32>(note->description, 0)) {
    entry = *narrow;
  } else {
    return bad(fmt::format("its PVH entry note holds only {} bytes", note->description.size()));
  }
  if (entry > 0xffff'ffff || !image.holds(entry)) {
    return bad(fmt::format("its PVH entry {:#x} lies in no loaded segment", entry));
  }
  return static_cast<u32>(entry);
}

bool is_linux(const ElfImage& image) {
  if (std::ranges::any_of(image.notes, [](const ElfNote& n) { return n.owner == "Linux"; })) return true;
  constexpr std::string_view banner = "Linux version ";
  return std::ranges::any_of(image.segments, [&](const ElfSegment& s) {
    return std::string_view(reinterpret_cast<const char*>(s.file.data()), s.file.size()).contains(banner);
  });
}

Result<> load_elf(const ElfImage& image, memory::GuestMemory& memory, Placement& placement, bool zero) {
  // All places first: nothing is written when the kernel does not fit.
  for (std::size_t i = 0; i < image.segments.size(); ++i) {
    TRY(placement.claim(fmt::format("kernel segment {}", i), image.segments[i].paddr, image.segments[i].memory_size));
  }
  for (const ElfSegment& segment : image.segments) {
    TRY(zero ? memory.write(Gpa(segment.paddr), segment.file) : write_nonzero(memory, segment));
    const u64 rest = segment.memory_size - segment.file.size();
    if (zero && rest != 0) TRY(memory.fill(Gpa(segment.paddr + segment.file.size()), rest, 0));
  }
  return {};
}

}  // namespace nagaya::boot
