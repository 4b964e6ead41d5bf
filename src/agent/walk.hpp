// Files, links and folders below one place, told as frames: entry, content, warning. Links are told, never followed; what
// is no file, link or folder is left out with a warning.
#pragma once
#include <functional>

#include "agent/protocol.hpp"
#include "host/fd.hpp"

namespace nagaya::agent {

/// Takes a frame; its error ends the walk.
using TreeSink = std::function<Result<>(Kind kind, std::span<const u8> payload)>;

struct TreeRoot {
  host::Fd folder;
  std::string name;  ///< in `folder`
};

/// Error when there is nothing at `path`.
[[nodiscard]] Result<TreeRoot> open_tree(const std::string& path);
/// The root itself is the first entry, with an empty path.
Result<> walk_tree(const TreeRoot& root, const TreeSink& sink);
/// The last part of a path, by which it is known elsewhere; "" when it is "/", "." or ends in "/.": its content is meant.
[[nodiscard]] std::string name_in(const std::string& path);

}  // namespace nagaya::agent
