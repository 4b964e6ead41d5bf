#include "boot/boot.hpp"

#include <fmt/format.h>

#include "boot/bytes.hpp"
#include "boot/bzimage.hpp"
#include "boot/decompress.hpp"
#include "boot/firmware.hpp"
#include "boot/loading.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::boot {
namespace {

constexpr u64 least_ram = MiB;  // below that there is no room for the tables, let alone a kernel

// What a file that is no kernel seems to be, for the error message.
std::string looks_like(std::span<const u8> file) {
  if (file.empty()) return "it is empty";
  if (peek<u32>(file, 56) == 0x644d5241) return "it is a kernel for ARM64";
  if (peek<u32>(file, 0x38) == 0x05435352) return "it is a kernel for RISC-V";
  if (peek<u16>(file, 0) == 0x5a4d) return "it is a PE executable (UEFI program) without Linux' set-up header";
  if (peek<u32>(file, 0) == 0x37303730) return "it is a cpio archive (an initrd?)";
  if (peek<u16>(file, 510) == 0xaa55) return "it is a boot sector or disk image";
  return "it is neither a bzImage nor an ELF file, and has no multiboot header";
}

std::unexpected<Error> not_a_kernel(const BootSource& source, std::string why) {
  return fail(fmt::format("cannot boot '{}'", source.kernel_name), std::move(why),
              "give a Linux bzImage (vmlinuz), an ELF kernel with a PVH note, or a multiboot kernel");
}

Result<> load_file(Loading& loading, std::span<const u8> file) {
  const Protocol wanted = loading.config.protocol;
  const BootSource& source = loading.config.source;
  const bool any = wanted == Protocol::automatic;
  const bool linux = any || wanted == Protocol::linux64 || wanted == Protocol::linux32;
  if (looks_like_bzimage(file)) {
    if (!linux) return not_a_kernel(source, fmt::format("a bzImage is not booted by {}", name(wanted)));
    return load_bzimage(loading, file);
  }
  const auto header = find_multiboot(file);
  std::optional<ElfImage> image;
  if (looks_like_elf(file)) {
    auto parsed = parse_elf(file);
    // A header with load addresses says itself where things go; its ELF wrapping need not make sense.
    if (parsed) {
      image = std::move(*parsed);
    } else if (!header || !header->has_addresses()) {
      return std::unexpected(std::move(parsed).error());
    }
  }
  if (image && (any || wanted == Protocol::pvh)) {
    TRY_ASSIGN(const std::optional<u32> entry, pvh_entry(*image));
    if (entry) return load_pvh(loading, *image, *entry);
  }
  if (header && (any || wanted == Protocol::multiboot)) return load_multiboot(loading, *header, file, image);
  if (image && linux && is_linux(*image)) return load_linux_elf(loading, *image);
  if (!any) return not_a_kernel(source, fmt::format("the file has nothing to boot it by {}", name(wanted)));
  if (image)
    return not_a_kernel(source, "this ELF file has neither a PVH entry note nor a multiboot header, nor is it Linux");
  return not_a_kernel(source, looks_like(file));
}

}  // namespace

const char* name(Protocol protocol) {
  switch (protocol) {
    case Protocol::automatic: return "automatic";
    case Protocol::linux64: return "linux64";
    case Protocol::linux32: return "linux32";
    case Protocol::pvh: return "pvh";
    case Protocol::multiboot: return "multiboot";
  }
  return "unknown";
}

Result<u32> Loading::data(std::string what, std::span<const u8> bytes, u64 align) {
  TRY_ASSIGN(const u64 address, placement.boot_data(std::move(what), bytes.size(), align));
  TRY(memory.write(Gpa(address), bytes));
  return static_cast<u32>(address);
}

Result<u32> Loading::text(std::string what, const std::string& value) {
  if (value.contains('\0')) return fail("cannot pass " + what, "it holds a NUL byte");
  return data(std::move(what), std::span(reinterpret_cast<const u8*>(value.c_str()), value.size() + 1), 1);
}

Result<u32> Loading::blob(std::string what, std::span<const u8> bytes, u64 limit) {
  if (bytes.empty()) return 0;
  TRY_ASSIGN(const u64 address, placement.highest(std::move(what), bytes.size(), page_size, MiB, limit));
  TRY(memory.write(Gpa(address), bytes));
  return static_cast<u32>(address);
}

Result<BootPlan> load_kernel(memory::GuestMemory& memory, const BootConfig& config) {
  if (memory.ram_size() < least_ram || memory.host(Gpa(0), least_ram, true) == nullptr) {
    return fail("cannot boot a kernel", "the guest has less than 1 MiB of memory", "give the guest more memory");
  }
  Platform platform = config.platform;
  platform.ram_size = memory.ram_size();
  for (const memory::Region& region : memory.regions()) {
    if (region.is_ram()) platform.ram_end = std::max(platform.ram_end, region.gpa.value + region.size);
  }
  BootPlan plan;
  plan.memory_map = build_memory_map(memory);
  TRY_ASSIGN(plan.rsdp, write_firmware_tables(memory, platform));
  Placement placement(plan.memory_map);
  Loading loading{memory, config, std::move(plan), std::move(placement)};

  std::span<const u8> file = config.source.kernel;
  Unpacked unpacked;
  const bool known = looks_like_bzimage(file) || looks_like_elf(file) || find_multiboot(file).has_value();
  const Compression compression = detect_compression(file);
  if (!known && compression != Compression::unknown && compression != Compression::lzo) {
    // A kernel file compressed as a whole ("xen.gz", "vmlinux.xz").
    TRY_ASSIGN(unpacked, decompress(file, memory.ram_size()));
    file = unpacked;
  }
  TRY(load_file(loading, file));
  return std::move(loading.plan);
}

}  // namespace nagaya::boot
