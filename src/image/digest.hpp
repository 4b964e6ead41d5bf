// SHA-256 of bytes and files, as lower-case hexadecimal digits.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::image {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::span<const u8> data);
  /// 64 digits; ends the computation.
  [[nodiscard]] std::string finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

[[nodiscard]] std::string sha256(std::span<const u8> data);
[[nodiscard]] std::string sha256(std::string_view text);
/// Reads the file from its beginning.
[[nodiscard]] Result<std::string> sha256_of_file(const std::string& path);
/// 64 lower-case hexadecimal digits.
[[nodiscard]] bool is_sha256(std::string_view text);
/// 1 to 64 lower-case hexadecimal digits.
[[nodiscard]] bool is_hex(std::string_view text);

}  // namespace nagaya::image
