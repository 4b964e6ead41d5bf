// Loads a kernel into guest memory the way a boot loader would, with the tables that firmware would leave, and says in
// which state the boot processor starts. The files come from users and may be hostile: every field is checked.
#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "boot/e820.hpp"
#include "boot/platform.hpp"
#include "memory/guest_memory.hpp"
#include "x86/cpu_state.hpp"

namespace nagaya::boot {

/// How the kernel is entered.
enum class Protocol : u8 {
  automatic,  ///< by what the file is: bzImage → Linux; ELF with a PVH note → PVH; multiboot header → multiboot
  linux64,    ///< Linux boot protocol, 64-bit entry (Documentation/arch/x86/boot.rst)
  linux32,    ///< Linux boot protocol, 32-bit entry
  pvh,        ///< Xen PVH direct boot ABI (xen/include/public/arch-x86/hvm/start_info.h)
  multiboot,  ///< Multiboot 0.6.96
};
[[nodiscard]] const char* name(Protocol protocol);

/// A multiboot or PVH module; `cmdline` is the text handed over with it (conventionally its name and arguments).
struct Module {
  std::vector<u8> bytes;
  std::string cmdline;
};

/// What is booted, as bytes.
struct BootSource {
  std::string kernel_name = "kernel";  ///< for messages, and argv[0] of multiboot kernels
  std::vector<u8> kernel;
  std::vector<u8> initrd;  ///< empty: none. Multiboot kernels get it as their first module
  std::string initrd_name = "initrd";
  std::string cmdline;
  std::vector<Module> modules;
};

/// The same as paths; `modules` are "path" or "path arguments…".
struct BootFiles {
  std::string kernel, initrd, cmdline;
  std::vector<std::string> modules;
};

/// The files of a boot, held open: a guest that restarts gets the same ones again, wherever their names lead by then.
class OpenBootFiles {
 public:
  static Result<OpenBootFiles> open(const BootFiles& files);
  OpenBootFiles();
  OpenBootFiles(OpenBootFiles&&) noexcept;
  OpenBootFiles& operator=(OpenBootFiles&&) noexcept;
  ~OpenBootFiles();
  /// Reads them from their beginnings; none may be larger than `limit` bytes (the guest's RAM: what is larger cannot be
  /// loaded). A pipe can be read once.
  [[nodiscard]] Result<BootSource> read(u64 limit) const;

 private:
  struct File;
  std::string cmdline_;
  std::vector<File> files_;  // kernel, initrd or none, modules
};

/// Opens and reads them at once.
Result<BootSource> read_boot_source(const BootFiles& files, u64 limit);

struct BootConfig {
  BootSource source;
  Platform platform;
  Protocol protocol = Protocol::automatic;
  /// bzImage: let the guest's own stub decompress the kernel (and relocate it: KASLR), instead of doing it here.
  bool decompress_in_guest = false;
  /// The memory is known to hold zeros only (fresh machine): zero-filled parts need not be written.
  bool memory_is_zero = false;
  /// Linux: random bytes handed over as SETUP_RNG_SEED; empty: none.
  std::vector<u8> rng_seed;
};

/// A loaded kernel.
struct BootPlan {
  Protocol protocol = Protocol::automatic;
  x86::CpuState bsp;               ///< state in which the boot processor starts
  MemoryMap memory_map;            ///< as told to the guest
  u64 rsdp = 0;                    ///< guest-physical address of the ACPI root pointer
  std::string summary;             ///< "bzImage 6.1.0, xz inside, 64-bit entry at 0x1000000", for people
  std::vector<std::string> notes;  ///< what was ignored or done otherwise than asked
};

/// Writes tables, kernel, modules and start information to memory. On error memory may be partly written.
Result<BootPlan> load_kernel(memory::GuestMemory& memory, const BootConfig& config);

/// The ELF image inside a bzImage, decompressed; at most `limit` bytes.
Result<std::vector<u8>> extract_elf(std::span<const u8> bzimage, u64 limit = 1 * GiB);

}  // namespace nagaya::boot
