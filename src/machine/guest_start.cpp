#include "machine/guest_start.hpp"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>

#include "base/log.hpp"
#include "host/fd.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::machine {
namespace {

namespace pc = x86::pc;
/// How much of the firmware's end shows below 1 MiB. A PC's chipset shows 128 KiB and lets firmware open the rest; here all
/// of that is RAM from the start.
constexpr u64 low_copy = 256 * KiB;

Result<boot::Protocol> protocol_of(const std::string& name) {
  if (name == "auto") return boot::Protocol::automatic;
  if (name == "linux64") return boot::Protocol::linux64;
  if (name == "linux32") return boot::Protocol::linux32;
  if (name == "pvh") return boot::Protocol::pvh;
  if (name == "multiboot") return boot::Protocol::multiboot;
  return fail(fmt::format("boot protocol '{}'", name), "no such choice");
}

Result<GuestStart> start_firmware(memory::GuestMemory& memory) {
  // The end of the image shows below 1 MiB as RAM that firmware may change.
  std::vector<u8> copy;
  for (const memory::Region& region : memory.regions()) {
    if (region.kind != memory::RegionKind::rom || region.gpa.value + region.size != pc::firmware_end) continue;
    copy.resize(std::min(region.size, low_copy));
    TRY(memory.read(Gpa(pc::firmware_end - copy.size()), copy));
  }
  TRY(memory.write(Gpa(pc::bios_tables_end - copy.size()), copy));
  return GuestStart{x86::reset_state(true), "firmware"};
}

}  // namespace

boot::Platform platform_of(const proto::VmConfig& config, const memory::GuestMemory& memory) {
  boot::Platform out;
  out.cpus = config.vcpus;
  out.serial_ports = static_cast<u32>(config.serial.size());
  out.ram_size = memory.ram_size();
  for (const memory::Region& region : memory.regions()) {
    if (region.is_ram()) out.ram_end = std::max(out.ram_end, region.gpa.value + region.size);
  }
  return out;
}

Result<> map_firmware(memory::GuestMemory& memory, const std::string& path) {
  TRY_ASSIGN(auto image, host::read_file(path, pc::firmware_window));
  if (image.size() < 16) return fail(fmt::format("firmware '{}'", path), "shorter than a reset vector");
  // The last byte of the image is the last byte below 4 GiB.
  const u64 padding = (page_size - image.size() % page_size) % page_size;
  image.insert(image.begin(), padding, u8{0xff});
  return memory.add_rom(Gpa(pc::firmware_end - image.size()), image);
}

Result<boot::OpenBootFiles> open_boot_files(const proto::VmConfig& config) {
  if (!config.firmware.empty()) return {};
  return boot::OpenBootFiles::open({config.kernel, config.initrd, config.append, config.modules});
}

Result<GuestStart> load_guest(memory::GuestMemory& memory, const proto::VmConfig& config, const Result<boot::OpenBootFiles>& files) {
  if (!config.firmware.empty()) return start_firmware(memory);
  boot::BootConfig boot;
  if (!files) return std::unexpected(files.error());
  TRY_ASSIGN(boot.source, files->read(memory.ram_size()));
  TRY_ASSIGN(boot.protocol, protocol_of(config.protocol));
  boot.decompress_in_guest = config.decompress_in_guest;
  boot.memory_is_zero = true;
  boot.platform = platform_of(config, memory);
  boot.rng_seed.resize(32);
  if (::getrandom(boot.rng_seed.data(), boot.rng_seed.size(), 0) != static_cast<ssize_t>(boot.rng_seed.size())) {
    boot.rng_seed.clear();
  }
  auto loaded = boot::load_kernel(memory, boot);
  if (!loaded) return std::unexpected(std::move(loaded).error().within(fmt::format("kernel '{}'", config.kernel)));
  boot::BootPlan& plan = *loaded;
  for (const std::string& note : plan.notes) log::warning("{}", note);
  return GuestStart{plan.bsp, plan.summary};
}

}  // namespace nagaya::machine
