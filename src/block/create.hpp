// New images, and copies from one format to the other.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "block/open.hpp"
#include "block/qcow2_header.hpp"

namespace nagaya::block {

struct CreateOptions {
  std::string path;  ///< must not exist
  Format format = Format::qcow2;
  std::optional<u64> size{};  ///< bytes; not stated: that of the backing image
  // qcow2 only:
  u64 cluster_size = 64 * KiB;  ///< a power of two, 512 bytes to 2 MiB
  u32 version = 3;
  bool lazy_refcounts = false;
  qcow2::Compression compression = qcow2::Compression::zlib;
  /// Overlay: the image below, as it will be found from the new image's folder, and its format.
  std::string backing_path{};
  std::optional<Format> backing_format{};
  std::vector<std::string> allowed_backing{};  ///< see OpenOptions
};

/// Leaves no file behind on an error.
Result<> create_image(const CreateOptions& options);

struct ConvertOptions {
  OpenOptions from;
  CreateOptions to;       ///< its size is the source's unless stated larger
  bool compress = false;  ///< qcow2 only
  std::function<void(u64 done, u64 total)> progress{};
};

/// Copies content, flattening backing chains; zeroes and holes take no space.
Result<> convert_image(const ConvertOptions& options);

}  // namespace nagaya::block
