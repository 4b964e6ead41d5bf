#include "container/checkpoint/wire.hpp"

namespace nagaya::container::criu {
namespace {

// Wire types.
constexpr u32 varint_type = 0, fixed64_type = 1, length_type = 2, fixed32_type = 5;

}  // namespace

void WireWriter::varint(u64 value) {
  for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
  out_ += static_cast<char>(value);
}

void WireWriter::number(u32 field, u64 value) {
  varint(field << 3 | varint_type);
  varint(value);
}

void WireWriter::text(u32 field, std::string_view value) {
  varint(field << 3 | length_type);
  varint(value.size());
  out_ += value;
}

std::optional<u64> WireReader::varint() {
  u64 value = 0;
  for (u32 shift = 0; shift < 64 && !in_.empty(); shift += 7) {
    const u8 byte = static_cast<u8>(in_.front());
    in_.remove_prefix(1);
    value |= static_cast<u64>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

std::optional<WireReader::Field> WireReader::fail() {
  broken_ = true;
  in_ = {};
  return std::nullopt;
}

std::optional<WireReader::Field> WireReader::next() {
  if (in_.empty()) return std::nullopt;
  const auto key = varint();
  if (!key || *key >> 3 == 0 || *key >> 3 > 0x1fffffff) return fail();
  Field field;
  field.number = static_cast<u32>(*key >> 3);
  switch (*key & 7) {
    case varint_type: {
      const auto value = varint();
      if (!value) return fail();
      field.value = *value;
      return field;
    }
    case length_type: {
      const auto size = varint();
      if (!size || *size > in_.size()) return fail();
      field.text = in_.substr(0, *size);
      in_.remove_prefix(*size);
      return field;
    }
    case fixed64_type:
    case fixed32_type: {
      const std::size_t size = (*key & 7) == fixed64_type ? 8 : 4;
      if (in_.size() < size) return fail();
      for (std::size_t i = 0; i < size; ++i) field.value |= static_cast<u64>(static_cast<u8>(in_[i])) << (8 * i);
      in_.remove_prefix(size);
      return field;
    }
    default:
      return fail();
  }
}

}  // namespace nagaya::container::criu
