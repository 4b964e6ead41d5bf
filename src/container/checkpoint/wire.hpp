// The little of Protocol Buffers' wire format that CRIU's requests and answers need: varints and length-delimited fields. A library for it
// would be larger than nagaya-oci. Source: protobuf.dev "Encoding"; field numbers: CRIU's images/rpc.proto.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "base/types.hpp"

namespace nagaya::container::criu {

/// Writes one message.
class WireWriter {
 public:
  void number(u32 field, u64 value);
  void flag(u32 field, bool value) {
    if (value) number(field, 1);
  }
  /// int32: negative values are sign-extended to 64 bits.
  void integer(u32 field, i64 value) { number(field, static_cast<u64>(value)); }
  void text(u32 field, std::string_view value);
  void message(u32 field, const WireWriter& value) { text(field, value.bytes()); }
  [[nodiscard]] const std::string& bytes() const { return out_; }

 private:
  void varint(u64 value);
  std::string out_;
};

/// Reads one message field by field; malformed bytes end it with `broken`.
class WireReader {
 public:
  explicit WireReader(std::string_view in) : in_(in) {}
  struct Field {
    u32 number = 0;
    u64 value = 0;          ///< of varints and fixed-size fields
    std::string_view text;  ///< of length-delimited ones
  };
  std::optional<Field> next();
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::optional<u64> varint();
  std::optional<Field> fail();
  std::string_view in_;
  bool broken_ = false;
};

}  // namespace nagaya::container::criu
