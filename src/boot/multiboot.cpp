// Multiboot Specification version 0.6.96.
#include <fmt/format.h>

#include <algorithm>

#include "boot/bytes.hpp"
#include "boot/entry_state.hpp"
#include "boot/loading.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::boot {
namespace {

constexpr u32 header_magic = 0x1badb002;
constexpr u64 search_size = 8192;
constexpr u32 want_video = 1 << 2, required_known = 0x7, required_mask = 0xffff;
// Flags of the information structure.
constexpr u32 has_memory = 1, has_cmdline = 1 << 2, has_modules = 1 << 3, has_map = 1 << 6, has_loader = 1 << 9;
constexpr std::size_t info_size = 116;
constexpr const char* loader_name = "nagaya";

std::unexpected<Error> bad(std::string why) {
  return fail("cannot boot this multiboot kernel", std::move(why), "its header may be damaged");
}

// The "a.out kludge": the header itself says what of the file goes where.
Result<> load_by_addresses(Loading& loading, const MultibootHeader& h, std::span<const u8> file) {
  if (h.header_address < h.load_address) return bad("its header address lies before its load address");
  const u64 before = h.header_address - h.load_address;
  if (before > h.offset) return bad("its load address lies before the start of the file");
  const u64 start = h.offset - before;
  u64 size = file.size() - start;
  if (h.load_end != 0) {
    if (h.load_end <= h.load_address) return bad("its load end lies before its load address");
    size = h.load_end - h.load_address;
    if (size > file.size() - start) return bad(fmt::format("it wants {} bytes loaded, more than the file has", size));
  }
  u64 total = size;
  if (h.bss_end != 0) {
    if (h.bss_end < h.load_address + size) return bad("its bss ends before its data");
    total = h.bss_end - h.load_address;
  }
  if (h.load_address + total > 4 * GiB) return bad("it does not lie below 4 GiB");
  if (h.entry < h.load_address || h.entry - h.load_address >= total) {
    return bad(fmt::format("its entry {:#x} lies outside what is loaded", h.entry));
  }
  TRY(loading.placement.claim("the kernel", h.load_address, total));
  TRY(loading.memory.write(Gpa(h.load_address), file.subspan(start, size)));
  if (total > size && !loading.config.memory_is_zero) {
    TRY(loading.memory.fill(Gpa(h.load_address + size), total - size, 0));
  }
  return {};
}

// mem_upper counts the first unbroken run of RAM from 1 MiB on, in KiB.
u32 upper_memory(const MemoryMap& map) {
  for (const MemoryRange& range : map.ranges()) {
    if (range.kind != MemoryKind::ram || range.base > MiB || range.base + range.size <= MiB) continue;
    return static_cast<u32>(std::min<u64>((range.base + range.size - MiB) / KiB, 0xffff'ffff));
  }
  return 0;
}

}  // namespace

std::optional<MultibootHeader> find_multiboot(std::span<const u8> file) {
  for (u32 at = 0; at + 12 <= std::min<u64>(file.size(), search_size); at += 4) {
    if (peek<u32>(file, at) != header_magic) continue;
    MultibootHeader header{.offset = at, .flags = *peek<u32>(file, at + 4)};
    if (header_magic + header.flags + *peek<u32>(file, at + 8) != 0) continue;
    if (header.has_addresses()) {
      if (!slice(file, at, 32)) continue;
      header.header_address = *peek<u32>(file, at + 12);
      header.load_address = *peek<u32>(file, at + 16);
      header.load_end = *peek<u32>(file, at + 20);
      header.bss_end = *peek<u32>(file, at + 24);
      header.entry = *peek<u32>(file, at + 28);
    }
    return header;
  }
  return std::nullopt;
}

Result<> load_multiboot(Loading& loading, const MultibootHeader& header, std::span<const u8> file,
                        const std::optional<ElfImage>& image) {
  const BootSource& source = loading.config.source;
  if (const u32 unknown = header.flags & required_mask & ~required_known; unknown != 0) {
    return fail("cannot boot this multiboot kernel",
                fmt::format("its header requires features {:#x} that multiboot 0.6.96 does not define", unknown));
  }
  if ((header.flags & want_video) != 0) {
    loading.plan.notes.push_back("the kernel asks for a video mode; this machine has none to offer: ignored");
  }
  u32 entry = 0;
  if (header.has_addresses()) {
    TRY(load_by_addresses(loading, header, file));
    entry = header.entry;
  } else {
    if (!image) return bad("it is not ELF and its header has no load addresses");
    if (image->end() > 4 * GiB) return bad("it does not lie below 4 GiB");
    // Some kernels are linked high and name their entry by its virtual address.
    u64 where = image->entry;
    for (const ElfSegment& s : image->segments) {
      if (!image->holds(where) && where >= s.vaddr && where - s.vaddr < s.memory_size)
        where = s.paddr + (where - s.vaddr);
    }
    if (!image->holds(where)) return bad(fmt::format("its entry {:#x} lies in no loaded segment", image->entry));
    TRY(load_elf(*image, loading.memory, loading.placement, !loading.config.memory_is_zero));
    entry = static_cast<u32>(where);
  }

  // The initrd is the first module, as boot loaders do for systems that know but one.
  Bytes list;
  u32 count = 0;
  const auto add_module = [&](std::span<const u8> bytes, const std::string& text) -> Result<> {
    TRY_ASSIGN(const u32 address, loading.blob(fmt::format("module '{}'", text), bytes, 4 * GiB));
    TRY_ASSIGN(const u32 string, loading.text("a module's text", text));
    append(list, address);
    append(list, static_cast<u32>(address + bytes.size()));
    append(list, string);
    append<u32>(list, 0);
    ++count;
    return {};
  };
  if (!source.initrd.empty()) TRY(add_module(source.initrd, source.initrd_name));
  for (const Module& module : source.modules) TRY(add_module(module.bytes, module.cmdline));

  Bytes map;
  for (const MemoryRange& range : loading.plan.memory_map.ranges()) {
    append<u32>(map, 20);  // of what follows
    append(map, range.base);
    append(map, range.size);
    append(map, static_cast<u32>(range.kind));
  }
  Bytes info(info_size);
  poke<u32>(info, 0, has_memory | has_cmdline | has_map | has_loader | (count != 0 ? has_modules : 0));
  poke<u32>(info, 4, static_cast<u32>(x86::pc::ebda_base / KiB));
  poke<u32>(info, 8, upper_memory(loading.plan.memory_map));
  // By custom the first word is the kernel's name.
  const std::string cmdline = source.cmdline.empty() ? source.kernel_name : source.kernel_name + " " + source.cmdline;
  TRY_ASSIGN(const u32 cmdline_address, loading.text("the command line", cmdline));
  poke<u32>(info, 16, cmdline_address);
  if (count != 0) {
    TRY_ASSIGN(const u32 list_address, loading.data("the module list", list));
    poke<u32>(info, 20, count);
    poke<u32>(info, 24, list_address);
  }
  TRY_ASSIGN(const u32 map_address, loading.data("the memory map", map));
  poke<u32>(info, 44, static_cast<u32>(map.size()));
  poke<u32>(info, 48, map_address);
  TRY_ASSIGN(const u32 name_address, loading.text("the loader's name", loader_name));
  poke<u32>(info, 64, name_address);
  TRY_ASSIGN(const u32 address, loading.data("the multiboot information", info));
  TRY_ASSIGN(loading.plan.bsp, multiboot_entry(loading.memory, loading.placement, entry, address));
  loading.plan.protocol = Protocol::multiboot;
  loading.plan.summary = fmt::format("multiboot{}, entry at {:#x}", header.has_addresses() ? "" : " ELF", entry);
  return {};
}

}  // namespace nagaya::boot
