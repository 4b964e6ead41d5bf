// Archives that Linux unpacks as its initial RAM disk: cpio "newc" (Linux, Documentation/driver-api/early-userspace/
// buffer-format.rst). Several may follow each other in one RAM disk.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "base/types.hpp"

namespace nagaya::image {

class Cpio {
 public:
  /// Folders come before what is in them. Paths have no leading '/'.
  void folder(std::string_view path, u32 mode = 0755);
  void file(std::string_view path, std::span<const u8> content, u32 mode = 0644);
  void char_device(std::string_view path, u32 major, u32 minor, u32 mode);
  /// The archive's end; its size is a multiple of 512.
  [[nodiscard]] std::vector<u8> finish();

 private:
  void entry(std::string_view path, u32 mode, std::span<const u8> content, u32 major, u32 minor);
  std::vector<u8> bytes_;
  u32 count_ = 0;
};

}  // namespace nagaya::image
