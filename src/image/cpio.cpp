#include "image/cpio.hpp"

#include <fmt/core.h>
#include <sys/stat.h>

#include <string>

namespace nagaya::image {

void Cpio::entry(std::string_view path, u32 mode, std::span<const u8> content, u32 major, u32 minor) {
  // magic, ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  // Not straight into the vector: a library built by GCC has that function of fmt under a name that Clang does not ask for.
  const std::string head = fmt::format("070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}", ++count_, mode,
                                       0, 0, 1, 0, content.size(), 0, 0, major, minor, path.size() + 1, 0);
  bytes_.insert(bytes_.end(), head.begin(), head.end());
  bytes_.insert(bytes_.end(), path.begin(), path.end());
  bytes_.push_back(0);
  bytes_.resize((bytes_.size() + 3) & ~std::size_t{3});
  bytes_.insert(bytes_.end(), content.begin(), content.end());
  bytes_.resize((bytes_.size() + 3) & ~std::size_t{3});
}

void Cpio::folder(std::string_view path, u32 mode) { entry(path, S_IFDIR | mode, {}, 0, 0); }
void Cpio::file(std::string_view path, std::span<const u8> content, u32 mode) { entry(path, S_IFREG | mode, content, 0, 0); }
void Cpio::char_device(std::string_view path, u32 major, u32 minor, u32 mode) { entry(path, S_IFCHR | mode, {}, major, minor); }

std::vector<u8> Cpio::finish() {
  entry("TRAILER!!!", 0, {}, 0, 0);
  bytes_.resize((bytes_.size() + 511) & ~std::size_t{511});
  return std::move(bytes_);
}

}  // namespace nagaya::image
