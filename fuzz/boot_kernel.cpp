// Any file as a kernel: the whole loader. The options follow from the file's length, so that real kernels may serve as
// a corpus as they are.
#include <cstdlib>
#include <memory>

#include "boot/boot.hpp"
#include "boot_seeds.hpp"
#include "fuzz.hpp"
#include "x86/pc_layout.hpp"

std::vector<std::vector<nagaya::u8>> nagaya::fuzz::seeds() {
  auto out = elf_seeds();
  for (auto more : {bzimage_seeds(), multiboot_seeds()}) out.insert(out.end(), more.begin(), more.end());
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const nagaya::u8* data, std::size_t size) {
  using namespace nagaya;
  static const auto memory = [] {
    auto made = memory::GuestMemory::create(fuzz::small_ram, x86::pc::ram_low_limit);
    if (!made) std::abort();
    return std::move(*made);
  }();
  boot::BootConfig config;
  config.source.kernel.assign(data, data + size);
  config.source.cmdline = "console=ttyS0";
  config.source.initrd.assign(1000, 1);
  config.rng_seed.assign(32, 2);
  config.memory_is_zero = true;
  config.decompress_in_guest = size % 7 == 0;
  config.protocol = size % 5 == 0 ? boot::Protocol::multiboot : boot::Protocol::automatic;
  const auto plan = boot::load_kernel(*memory, config);
  // An error says what and why; a plan enters at RAM.
  if (!plan && (plan.error().what.empty() || plan.error().why.empty())) std::abort();
  if (plan && memory->host(Gpa(plan->bsp.rip), 1) == nullptr) std::abort();
  return 0;
}
