// Multiboot headers, with the checksum made right, which chance would hardly do.
#include <cstdlib>
#include <cstring>
#include <memory>

#include "boot/boot.hpp"
#include "boot_seeds.hpp"
#include "fuzz.hpp"
#include "x86/pc_layout.hpp"

std::vector<std::vector<nagaya::u8>> nagaya::fuzz::seeds() { return multiboot_seeds(); }

extern "C" int LLVMFuzzerTestOneInput(const nagaya::u8* data, std::size_t size) {
  using namespace nagaya;
  constexpr u32 magic = 0x1badb002;
  static const auto memory = [] {
    auto made = memory::GuestMemory::create(fuzz::small_ram, x86::pc::ram_low_limit);
    if (!made) std::abort();
    return std::move(*made);
  }();
  boot::BootConfig config;
  std::vector<u8>& kernel = config.source.kernel;
  kernel.assign(data, data + size);
  for (std::size_t at = 0; at + 12 <= kernel.size() && at < 8192; at += 4) {
    if (boot::peek<u32>(kernel, at) != magic) continue;
    boot::poke<u32>(kernel, at + 8, 0 - magic - *boot::peek<u32>(kernel, at + 4));
    break;
  }
  config.protocol = boot::Protocol::multiboot;
  config.memory_is_zero = true;
  config.source.modules.push_back({std::vector<u8>(100), "module"});
  const auto plan = boot::load_kernel(*memory, config);
  if (plan && memory->host(Gpa(plan->bsp.rip), 1) == nullptr) std::abort();
  return 0;
}
