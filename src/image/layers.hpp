// Layers of an image: tar archives, plain or packed by gzip or zstd, read twice: for their entries, and for content.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "image/tree.hpp"

namespace nagaya::image {

/// What adds up to a tree, the lowest first.
struct Layers {
  std::vector<std::string> files;  ///< paths of the archives
  bool whiteouts = true;           ///< names with .wh. hide what is below (OCI image specification 1.1, "Layer Filesystem Changeset")
};

/// The tree of all layers. Errors name the archive and the entry.
[[nodiscard]] Result<Tree> read_tree(const Layers& layers, Tree::Limits limits = {});

/// Takes a file's content in order; holes are left out.
using ContentSink = std::function<Result<>(const NodePtr& node, u64 offset, std::span<const u8> data)>;
/// Reads the content of the nodes for which `wanted` says so (files only).
[[nodiscard]] Result<> read_content(const Layers& layers, const Tree& tree, const std::function<bool(const Node&)>& wanted,
                                    const ContentSink& sink);

/// A whole file from the tree, of at most `limit` bytes.
[[nodiscard]] Result<std::map<std::string, std::vector<u8>>> read_files(const Layers& layers, const Tree& tree,
                                                                        const std::vector<std::string>& paths, u64 limit);

}  // namespace nagaya::image
