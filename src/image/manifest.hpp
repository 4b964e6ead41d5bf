// The file that describes an image: strict JSON, whose SHA-256 is the image's id.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/image.hpp"

namespace nagaya::image {

/// A file of an image, by content.
struct Blob {
  std::string sha256{};
  u64 size = 0;
  bool operator==(const Blob&) const = default;
};

/// Everything that does not change: names are kept apart.
struct Manifest {
  Kind kind = Kind::disk;
  u64 created = 0;
  std::string source{}, disk_format{}, append{};
  u64 disk_size = 0;
  std::map<std::string, Blob> blobs{};  ///< by role: "disk", "kernel", "initrd"
  OciConfig oci{};
  std::vector<Blob> layers{};  ///< archives, the lowest first
  bool operator==(const Manifest&) const = default;

  [[nodiscard]] std::string to_json() const;
  /// Parses and checks; `what` begins the error.
  static Result<Manifest> from_json(std::string_view text, const std::string& what);
};

}  // namespace nagaya::image
