#include "bus/bytes.hpp"
#include "devices/fw_cfg.hpp"

namespace nagaya::devices {
namespace {

constexpr std::size_t most_files = 256;
constexpr std::size_t longest_name = 55;  // 56 bytes with the final zero

std::vector<u8> little_endian(u64 value, std::size_t size) {
  std::vector<u8> bytes(size);
  bus::store_le(bytes, value);
  return bytes;
}

}  // namespace

void FwCfgItems::set(FwCfgKey key, std::vector<u8> data) { numbered_[static_cast<u16>(key)] = std::move(data); }
void FwCfgItems::set_u16(FwCfgKey key, u16 value) { set(key, little_endian(value, 2)); }
void FwCfgItems::set_u32(FwCfgKey key, u32 value) { set(key, little_endian(value, 4)); }
void FwCfgItems::set_u64(FwCfgKey key, u64 value) { set(key, little_endian(value, 8)); }

void FwCfgItems::set_string(FwCfgKey key, std::string_view text) {
  std::vector<u8> bytes(text.begin(), text.end());
  bytes.push_back(0);
  set(key, std::move(bytes));
}

Result<> FwCfgItems::add_file(std::string name, std::vector<u8> data) {
  const std::string what = "cannot add fw_cfg file '" + name + "'";
  if (name.empty() || name.size() > longest_name) return fail(what, "the name must have 1 to 55 characters");
  if (name.find('\0') != std::string::npos) return fail(what, "the name holds a zero byte");
  if (files_.size() >= most_files) return fail(what, "there are too many files");
  if (data.size() > 0xffff'ffff) return fail(what, "it is larger than 4 GiB");
  if (!files_.emplace(std::move(name), std::move(data)).second) return fail(what, "the name is taken");
  return {};
}

Result<> FwCfgItems::add_e820(std::span<const FwCfgE820> ranges) {
  std::vector<u8> table;
  const auto put = [&](u64 value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) table.push_back(static_cast<u8>(value >> (8 * i)));
  };
  for (const FwCfgE820& range : ranges) {
    put(range.address, 8);
    put(range.size, 8);
    put(range.type, 4);
  }
  return add_file("etc/e820", std::move(table));
}

}  // namespace nagaya::devices
