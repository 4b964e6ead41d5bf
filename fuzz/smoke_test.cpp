// A fuzz target as a plain test: its seeds, and mutations of them from a fixed random sequence. It finds what a short
// run of the fuzzer would, and holds what longer runs found.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>

#include "fuzz.hpp"

namespace nagaya::fuzz {
namespace {

constexpr int rounds = 3000;

class Mutator {
 public:
  explicit Mutator(std::vector<std::vector<u8>> seeds) : seeds_(std::move(seeds)) {}

  std::vector<u8> next() {
    std::vector<u8> out = seeds_[below(seeds_.size())];
    for (u64 count = 1 + below(8); count > 0; --count) mutate(out);
    return out;
  }

 private:
  u64 below(u64 limit) { return limit == 0 ? 0 : random_() % limit; }

  // Headers are where the decisions are: half of all changes go to the first kilobyte.
  std::size_t place(const std::vector<u8>& data) {
    return static_cast<std::size_t>(below(below(2) == 0 ? std::min<u64>(data.size(), 1024) : data.size()));
  }

  void mutate(std::vector<u8>& data) {
    static constexpr std::array<u64, 16> odd = {0,          1,          2,           0x7f,       0x80,        0xff,
                                                0x100,      0xfff,      0x1000,      0x7fff,     0xffff,      0x10'0000,
                                                0x7fff'ffff, 0x8000'0000, 0xffff'ffff, ~u64{0} - 7};
    if (data.empty()) {
      data.push_back(static_cast<u8>(random_()));
      return;
    }
    const std::size_t at = place(data);
    const std::size_t width = std::min<std::size_t>(std::size_t{1} << below(4), data.size() - at);
    switch (below(8)) {
      case 0: data[at] ^= static_cast<u8>(1u << below(8)); break;
      case 1: data[at] = static_cast<u8>(random_()); break;
      case 2: {
        const u64 value = odd[below(odd.size())];
        std::memcpy(&data[at], &value, width);
        break;
      }
      case 3: {
        u64 value = 0;
        std::memcpy(&value, &data[at], width);
        value += below(17) - 8;
        std::memcpy(&data[at], &value, width);
        break;
      }
      case 4: data.resize(at); break;
      case 5: data.insert(data.begin() + static_cast<std::ptrdiff_t>(at), below(64), static_cast<u8>(random_())); break;
      case 6:
        data.erase(data.begin() + static_cast<std::ptrdiff_t>(at),
                   data.begin() + static_cast<std::ptrdiff_t>(at + width));
        break;
      default: {
        const std::vector<u8>& other = seeds_[below(seeds_.size())];
        const std::size_t count = std::min({data.size() - at, other.size(), static_cast<std::size_t>(below(256))});
        const std::size_t from = static_cast<std::size_t>(below(other.size() - count + 1));
        std::copy_n(other.begin() + static_cast<std::ptrdiff_t>(from), count,
                    data.begin() + static_cast<std::ptrdiff_t>(at));
      }
    }
  }

  std::vector<std::vector<u8>> seeds_;
  std::mt19937_64 random_{20240229};
};

TEST(FuzzSmoke, SeedsAndMutationsAreHandled) {
  const auto all = seeds();
  ASSERT_FALSE(all.empty());
  for (const auto& seed : all) EXPECT_EQ(LLVMFuzzerTestOneInput(seed.data(), seed.size()), 0);
  Mutator mutator(all);
  for (int i = 0; i < rounds; ++i) {
    const auto input = mutator.next();
    // A copy of the exact size, so that a sanitizer sees the first byte too far.
    const std::vector<u8> exact(input.begin(), input.end());
    EXPECT_EQ(LLVMFuzzerTestOneInput(exact.data(), exact.size()), 0);
  }
}

}  // namespace
}  // namespace nagaya::fuzz
