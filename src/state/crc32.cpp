#include "state/crc32.hpp"

#include <array>
#include <cstring>

namespace nagaya::state {
namespace {

// Eight tables, eight bytes a step: a saved machine may hold gigabytes.
constexpr std::array<std::array<u32, 256>, 8> make_tables() {
  std::array<std::array<u32, 256>, 8> tables{};
  for (u32 i = 0; i < 256; ++i) {
    u32 value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0xedb88320u : value >> 1;
    tables[0][i] = value;
  }
  for (u32 i = 0; i < 256; ++i) {
    for (std::size_t t = 1; t < 8; ++t) tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 0xff];
  }
  return tables;
}
constexpr auto tables = make_tables();

}  // namespace

u32 crc32(std::span<const u8> data, u32 seed) {
  u32 crc = ~seed;
  while (data.size() >= 8) {
    u64 word;
    std::memcpy(&word, data.data(), 8);
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= tables[7 - i][word >> (8 * i) & 0xff];
    data = data.subspan(8);
  }
  for (const u8 byte : data) crc = crc >> 8 ^ tables[0][(crc ^ byte) & 0xff];
  return ~crc;
}

}  // namespace nagaya::state
