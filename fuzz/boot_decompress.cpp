// Compressed kernels, never more output than allowed.
#include "boot/decompress.hpp"

#include <cstdlib>

#include "boot_seeds.hpp"
#include "fuzz.hpp"

std::vector<std::vector<nagaya::u8>> nagaya::fuzz::seeds() {
  using boot::Compression;
  std::vector<std::vector<u8>> out;
  std::vector<u8> text;
  for (u32 i = 0; i < 1000; ++i) text.push_back(static_cast<u8>(i * i >> 3));
  for (Compression kind : {Compression::gzip, Compression::bzip2, Compression::lzma, Compression::xz, Compression::lz4,
                           Compression::zstd}) {
    out.push_back(boot::test::compress(kind, text));
    out.push_back(boot::test::compress(kind, std::vector<u8>(100'000)));
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const nagaya::u8* data, std::size_t size) {
  constexpr nagaya::u64 limit = 64 * nagaya::KiB;
  const auto out = nagaya::boot::decompress({data, size}, limit);
  if (out && out->size() > limit) std::abort();
  return 0;
}
