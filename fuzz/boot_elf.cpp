// ELF headers, program headers and notes.
#include "boot/elf.hpp"

#include <cstdlib>

#include "boot_seeds.hpp"
#include "fuzz.hpp"

std::vector<std::vector<nagaya::u8>> nagaya::fuzz::seeds() { return elf_seeds(); }

extern "C" int LLVMFuzzerTestOneInput(const nagaya::u8* data, std::size_t size) {
  using namespace nagaya;
  const auto image = boot::parse_elf({data, size});
  if (!image) return 0;
  u64 end = 0;
  for (const auto& segment : image->segments) {
    // What was promised of a parsed image.
    if (segment.paddr < end || segment.file.size() > segment.memory_size || segment.memory_size == 0) std::abort();
    if (segment.paddr + segment.memory_size < segment.paddr) std::abort();
    end = segment.paddr + segment.memory_size;
  }
  (void)boot::is_linux(*image);
  const auto entry = boot::pvh_entry(*image);
  if (entry && *entry && !image->holds(**entry)) std::abort();
  return 0;
}
