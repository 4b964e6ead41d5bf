// Small things about text: what proto/text.hpp has, base64url, hexadecimal digits.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "base/types.hpp"
#include "proto/text.hpp"

namespace nagaya::api {

using proto::characters, proto::now_text, proto::parse_time, proto::printable, proto::time_text, proto::valid_utf8;

[[nodiscard]] std::string base64url(std::span<const u8> bytes);
[[nodiscard]] std::string hexadecimal(std::span<const u8> bytes);

}  // namespace nagaya::api
