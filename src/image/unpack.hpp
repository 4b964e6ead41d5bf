// A layer's archive unpacked into a folder of its own, as one layer of overlayfs: whiteouts as it has them, owners, times, hard links
// and attributes kept. Or over the layers below it, where there is no overlayfs. Each name is looked up beneath the folder by descriptor, so that no entry leads out, whatever it is called or
// links to. Sources: OCI image specification 1.1, "Layer Filesystem Changeset"; Linux Documentation/filesystems/overlayfs.rst.
#pragma once
#include <string>

#include "base/result.hpp"
#include "image/tool.hpp"
#include "image/tree.hpp"

namespace nagaya::image {

struct UnpackOptions {
  bool whiteouts = true;  ///< names with .wh. hide what is below
  /// Within a user namespace: overlayfs' marks are attributes "user.overlay.", and devices are left out.
  bool user_namespace = false;
  /// The folder holds the layers below: what a whiteout hides is removed.
  bool onto_lower = false;
  Tree::Limits limits{};
};

/// Unpacks into `folder`, which is empty unless it is onto lower layers. Gives the bytes of its files.
[[nodiscard]] Result<u64> unpack_layer(const std::string& archive, const std::string& folder, const UnpackOptions& options, const Work& work);

}  // namespace nagaya::image
