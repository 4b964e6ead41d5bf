// An ext4 disk out of layers: owners, devices and attributes are kept, and no privilege is needed, because nothing is unpacked
// on the host; libext2fs writes into the image.
#pragma once
#include <string>

#include "base/result.hpp"
#include "image/layers.hpp"
#include "image/tool.hpp"
#include "image/tree.hpp"

namespace nagaya::image {

struct Ext4Options {
  std::string path;     ///< of the new raw image, a sparse file; no partition table
  u64 size = 0;         ///< bytes; more when the content needs it
  std::string label{};  ///< at most 16 bytes
  std::string scratch;  ///< folder for what tools print
};

/// Gives the size of the disk.
[[nodiscard]] Result<u64> make_ext4(const Layers& layers, const Tree& tree, const Ext4Options& options, const Work& work);

}  // namespace nagaya::image
