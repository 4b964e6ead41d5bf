// A file system in memory, without the content of its files: what the entries of layers, one over the other, add up to.
// Nothing here touches the host's files, so no entry can lead out, whatever it is called or links to.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::image {

enum class NodeType : u8 { directory, file, symlink, char_device, block_device, fifo, socket };

struct Node;
/// Shared by hard links.
using NodePtr = std::shared_ptr<Node>;

/// A name in a folder, and the last layer that named it.
struct Child {
  NodePtr node{};
  u32 layer = 0;
};

struct Node {
  NodeType type = NodeType::directory;
  u32 mode = 0755;  ///< permission bits and set-id bits
  u32 uid = 0, gid = 0;
  i64 mtime = 0;  ///< seconds since 1970
  u64 size = 0;   ///< file: bytes
  std::string target{};     ///< symlink
  u32 major = 0, minor = 0; ///< devices
  std::vector<std::pair<std::string, std::string>> xattrs{};
  std::map<std::string, Child, std::less<>> children{};  ///< directory
  u32 layer = 0;  ///< file: the layer, and there the entry, that has its content
  u64 entry = 0;
  u64 number = 0;   ///< free for who walks the tree
};

class Tree {
 public:
  /// What the entries of an image may add up to, before it is refused.
  struct Limits {
    u64 entries = 1'000'000;
    u64 metadata = 256 * MiB;  ///< bytes of names, link targets, attributes
    u64 content = 64 * GiB;    ///< bytes of files, also of those that a later layer hides
  };
  Tree();
  explicit Tree(Limits limits);

  /// The next layer begins: whiteouts in it act on what is below it.
  void next_layer() { ++layer_; }
  [[nodiscard]] u32 layer() const { return layer_; }

  /// Puts an entry in. A path may begin with '/' or './'; links in its folders are followed within the tree.
  Result<> add(std::string_view path, Node node);
  /// A second name of what is at `target`.
  Result<> link(std::string_view path, std::string_view target);
  /// Hides what lower layers have at `path`.
  Result<> whiteout(std::string_view path);
  /// Hides all that lower layers have in folder `path`.
  Result<> opaque(std::string_view path);

  [[nodiscard]] const NodePtr& root() const { return root_; }
  /// What is at `path`, or null; links are followed, a last one too.
  [[nodiscard]] NodePtr find(std::string_view path) const;
  /// Calls `visit` for each node once, folders before what is in them; the path has no leading '/'.
  void walk(const std::function<void(const std::string& path, const NodePtr& node)>& visit) const;

 private:
  struct Place {
    NodePtr folder;
    std::string name;  // empty: the root itself
  };
  enum class Missing : u8 { make, leave };
  Result<Place> locate(std::string_view path, Missing missing);
  Result<> count(u64 bytes, u64 content);

  NodePtr root_;
  Limits limits_;
  u32 layer_ = 0;
  u64 entries_ = 0, metadata_ = 0, content_ = 0;
};

}  // namespace nagaya::image
