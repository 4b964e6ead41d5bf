// Linux: bzImage and bare vmlinux, 64- and 32-bit entry. Source: Documentation/arch/x86/boot.rst and zero-page.rst.
#include <fmt/format.h>

#include <algorithm>

#include "boot/bytes.hpp"
#include "boot/bzimage.hpp"
#include "boot/decompress.hpp"
#include "boot/entry_state.hpp"
#include "boot/loading.hpp"

namespace nagaya::boot {
namespace {

namespace zp = zero_page;
constexpr u8 loader_undefined = 0xff;  // "type_of_loader": no number assigned
constexpr u32 setup_rng_seed = 9;
constexpr u32 vmlinux_cmdline_max = 2047;         // COMMAND_LINE_SIZE of x86 less the NUL
constexpr u64 vmlinux_initrd_max_64 = 0x7fff'ffff, vmlinux_initrd_max_32 = 0x37ff'ffff;

// What the zero page is filled from.
struct KernelFacts {
  std::span<const u8> header;  // from the bzImage; empty: made up
  u16 protocol = 0x20f;
  u64 load_address = 0;
  u64 initrd_max = vmlinux_initrd_max_64;
  u32 cmdline_max = vmlinux_cmdline_max;
};

Result<u64> add_rng_seed(Loading& loading) {
  const auto& seed = loading.config.rng_seed;
  Bytes node;
  append<u64>(node, 0);  // next
  append<u32>(node, setup_rng_seed);
  append<u32>(node, static_cast<u32>(seed.size()));
  append(node, seed);
  return loading.data("the random seed", node);
}

// Puts initrd, command line and zero page into memory; the zero page's address.
Result<u32> write_boot_params(Loading& loading, const KernelFacts& facts) {
  const BootSource& source = loading.config.source;
  if (source.cmdline.size() > facts.cmdline_max) {
    return fail(
        "cannot pass the kernel command line",
        fmt::format("it has {} bytes, and this kernel takes at most {}", source.cmdline.size(), facts.cmdline_max),
        "shorten it");
  }
  if (!source.modules.empty()) loading.plan.notes.push_back("Linux takes no modules from the loader: ignored");
  Bytes page(zp::size);
  if (facts.header.empty()) {
    poke<u16>(page, zp::boot_flag, 0xaa55);
    poke<u32>(page, zp::magic, 0x53726448);
    poke<u16>(page, zp::version, facts.protocol);
    poke<u32>(page, zp::initrd_max, static_cast<u32>(facts.initrd_max));
    poke<u32>(page, zp::cmdline_size, facts.cmdline_max);
    poke<u32>(page, zp::kernel_alignment, 2 * MiB);
    page[zp::load_flags] = 1;  // LOADED_HIGH
  } else {
    std::ranges::copy(facts.header, page.begin() + zp::header);
  }
  page[zp::loader_type] = loader_undefined;
  poke<u32>(page, zp::code32_start, static_cast<u32>(facts.load_address));
  poke<u64>(page, zp::acpi_rsdp, loading.plan.rsdp);
  poke<u32>(page, zp::ramdisk_address, 0);
  poke<u32>(page, zp::ramdisk_size, 0);

  if (!source.initrd.empty()) {
    const u64 limit = std::min(facts.initrd_max + 1, 4 * GiB);
    auto address = loading.blob(fmt::format("the initrd ({} KiB)", source.initrd.size() / KiB), source.initrd, limit);
    if (!address) return std::unexpected(std::move(address).error());
    poke<u32>(page, zp::ramdisk_address, *address);
    poke<u32>(page, zp::ramdisk_size, static_cast<u32>(source.initrd.size()));
  }
  TRY_ASSIGN(const u32 cmdline, loading.text("the command line", source.cmdline));
  poke<u32>(page, zp::cmdline_address, cmdline);
  if (facts.protocol >= 0x209) {
    u64 setup_data = 0;
    if (!loading.config.rng_seed.empty()) {
      TRY_ASSIGN(setup_data, add_rng_seed(loading));
    }
    poke<u64>(page, zp::setup_data, setup_data);
  }
  const auto ranges = loading.plan.memory_map.ranges();
  if (ranges.size() > zp::e820_max) return fail("cannot describe the memory to Linux", "more than 128 ranges");
  page[zp::e820_count] = static_cast<u8>(ranges.size());
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    const std::size_t at = zp::e820_table + i * 20;
    poke<u64>(page, at, ranges[i].base);
    poke<u64>(page, at + 8, ranges[i].size);
    poke<u32>(page, at + 16, static_cast<u32>(ranges[i].kind));
  }
  return loading.data("the boot parameters", page, page_size);
}

Result<> enter(Loading& loading, bool is_64, u64 entry, const KernelFacts& facts) {
  if (loading.config.protocol == Protocol::linux64 && !is_64) {
    return fail("cannot enter this kernel by the 64-bit protocol", "it is a 32-bit kernel");
  }
  TRY_ASSIGN(const u32 params, write_boot_params(loading, facts));
  loading.plan.protocol = is_64 ? Protocol::linux64 : Protocol::linux32;
  if (is_64) {
    TRY_ASSIGN(loading.plan.bsp, linux64_entry(loading.memory, loading.placement, entry, params));
  } else {
    TRY_ASSIGN(loading.plan.bsp, linux32_entry(loading.memory, loading.placement, static_cast<u32>(entry), params));
  }
  loading.plan.summary += fmt::format(", {}-bit entry at {:#x}", is_64 ? 64 : 32, entry);
  return {};
}

Result<> load_vmlinux(Loading& loading, const ElfImage& image, KernelFacts facts) {
  if (!image.holds(image.entry) || image.end() > 4 * GiB) {
    return fail("cannot use this ELF file as a Linux kernel",
                fmt::format("its entry {:#x} is not a physical address inside it below 4 GiB", image.entry),
                "the file may be damaged");
  }
  if (!image.is_64 && loading.config.protocol == Protocol::linux64) {
    return fail("cannot enter this kernel by the 64-bit protocol", "it is a 32-bit kernel");
  }
  if (image.is_64 && loading.config.protocol == Protocol::linux32) {
    return fail("cannot enter this kernel by the 32-bit protocol", "it is a 64-bit kernel without its own start code",
                "ask for decompression in the guest, whose start code has a 32-bit entry");
  }
  TRY(load_elf(image, loading.memory, loading.placement, !loading.config.memory_is_zero));
  facts.load_address = image.lowest();
  return enter(loading, image.is_64, image.entry, facts);
}

// The image's own start code decompresses the kernel inside the guest.
Result<> load_stub(Loading& loading, const BzImage& image, KernelFacts facts) {
  const auto claimed = loading.placement.claim("the kernel", image.load_address, image.init_size);
  facts.load_address = image.load_address;
  if (!claimed) {
    if (!image.relocatable) return claimed;
    TRY_ASSIGN(facts.load_address,
               loading.placement.lowest("the kernel", image.init_size, image.alignment, MiB, 4 * GiB));
  }
  TRY(loading.memory.write(Gpa(facts.load_address), image.code));
  const bool is_64 = image.kernel_64 && loading.config.protocol != Protocol::linux32;
  loading.plan.summary += ", decompressed in the guest";
  return enter(loading, is_64, facts.load_address + (is_64 ? 0x200 : 0), facts);
}

}  // namespace

Result<> load_bzimage(Loading& loading, std::span<const u8> file) {
  TRY_ASSIGN(const BzImage image, parse_bzimage(file));
  const Compression compression = detect_compression(image.payload);
  loading.plan.summary =
      fmt::format("bzImage {}", image.version_text.substr(0, image.version_text.find(' ')));
  KernelFacts facts{.header = image.header,
                    .protocol = image.protocol,
                    .load_address = image.load_address,
                    .initrd_max = image.initrd_max,
                    .cmdline_max = image.cmdline_max};
  const Protocol wanted = loading.config.protocol;
  // A 64-bit kernel's 32-bit entry exists only in its start code.
  if (loading.config.decompress_in_guest || (wanted == Protocol::linux32 && image.kernel_64)) {
    return load_stub(loading, image, facts);
  }
  Unpacked unpacked;
  std::span<const u8> elf = image.payload;
  if (!looks_like_elf(elf)) {
    if (image.payload.empty() || compression == Compression::unknown || compression == Compression::lzo) {
      loading.plan.notes.push_back(
          fmt::format("the kernel's compression ({}) is left to its own start code", name(compression)));
      return load_stub(loading, image, facts);
    }
    // The start code unpacks within init_size; what needs more is no kernel of this image.
    u64 limit = loading.memory.ram_size();
    if (image.protocol >= 0x20a) limit = std::min(limit, image.init_size + 64 * KiB);
    TRY_ASSIGN(unpacked, decompress(image.payload, limit));
    elf = unpacked;
    loading.plan.summary += fmt::format(", {} inside", name(compression));
  }
  if (!looks_like_elf(elf)) {
    loading.plan.notes.push_back("what is inside is not ELF: left to the kernel's own start code");
    return load_stub(loading, image, facts);
  }
  auto inner = parse_elf(elf);
  if (!inner) return std::unexpected(std::move(inner).error().within("the kernel inside the bzImage"));
  return load_vmlinux(loading, *inner, facts);
}

Result<> load_linux_elf(Loading& loading, const ElfImage& image) {
  loading.plan.summary = "Linux ELF";
  KernelFacts facts;
  if (!image.is_64) facts.initrd_max = vmlinux_initrd_max_32;
  return load_vmlinux(loading, image, facts);
}

}  // namespace nagaya::boot
