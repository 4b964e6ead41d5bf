#include "boot/decompress.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "boot/image_test_util.hpp"

namespace nagaya::boot {
namespace {

class Decompress : public testing::TestWithParam<Compression> {
 protected:
  // Bytes that compress, though not to nothing, and contain x86 calls for the BCJ filter.
  static Bytes sample(std::size_t size) {
    Bytes out;
    u32 x = 12345;
    while (out.size() < size) {
      x = x * 1664525 + 1013904223;
      out.push_back(0xe8);
      append(out, x >> 20);
      append_zeros(out, 3);
    }
    out.resize(size);
    return out;
  }
};

TEST_P(Decompress, GivesBackWhatWasCompressed) {
  // The last is more than one block of LZ4, and more than one step of the output's growth.
  for (std::size_t size : {u64{1}, u64{100'000}, GetParam() == Compression::lz4 ? 9 * MiB + 7 : 3 * MiB + 7}) {
    const Bytes data = sample(size), packed = test::compress(GetParam(), data);
    EXPECT_EQ(detect_compression(packed), GetParam());
    const auto out = decompress(packed, size);
    ASSERT_TRUE(out) << out.error().message();
    EXPECT_TRUE(std::ranges::equal(*out, data));
  }
}

TEST_P(Decompress, StopsAtTheLimit) {
  const Bytes packed = test::compress(GetParam(), Bytes(16 * MiB));  // a bomb of zeros
  for (u64 limit : {u64{0}, u64{1000}, 8 * MiB, 16 * MiB - 1}) {
    const auto out = decompress(packed, limit);
    ASSERT_FALSE(out);
    EXPECT_NE(out.error().message().find("grows beyond"), std::string::npos) << out.error().message();
  }
}

TEST_P(Decompress, CutOffDataIsAnError) {
  const Bytes data = sample(100'000), packed = test::compress(GetParam(), data);
  for (std::size_t keep = 7; keep < packed.size() - 12; keep += packed.size() / 50) {
    const auto out = decompress(std::span(packed).first(keep), 2 * MiB);
    // LZ4 frames do not tell their length; a cut between blocks cannot be seen here (there is one block only).
    EXPECT_FALSE(out) << keep;
  }
}

TEST_P(Decompress, DamageNeverCrashes) {
  const Bytes packed = test::compress(GetParam(), sample(50'000));
  for (std::size_t at = 0; at < packed.size(); at += 1 + packed.size() / 400) {
    Bytes damaged = packed;
    damaged[at] ^= 0x41;
    (void)decompress(damaged, MiB);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Decompress,
                         testing::Values(Compression::gzip, Compression::bzip2, Compression::lzma, Compression::xz,
                                         Compression::lz4, Compression::zstd),
                         [](const auto& info) { return name(info.param); });

TEST(Decompression, UnknownFormatsAreNamed) {
  EXPECT_FALSE(decompress(Bytes{}, MiB));
  const auto out = decompress(Bytes{0x89, 'L', 'Z', 'O', 0}, MiB);
  ASSERT_FALSE(out);
  EXPECT_NE(out.error().message().find("lzo"), std::string::npos);
}

}  // namespace
}  // namespace nagaya::boot
