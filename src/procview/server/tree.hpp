// What is served: a folder for each container that the records name, with the files of /proc and /sys below it as a
// container has them. Read-only.
#pragma once
#include <sys/stat.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "procview/server/sight.hpp"

namespace nagaya::procview {

/// One node: the root, a folder or a file of the fixed tree, of one container. The number is the inode's.
struct Node {
  u64 number = 0;
  bool folder = false;
};

class Tree {
 public:
  /// `records`: the folder that ensure() and add() use. `host`: where the host's own files are, "" but for tests.
  Tree(cgroup::Layout layout, std::string records, std::string host = {});

  static constexpr u64 root = 1;
  /// The child's node, with one reference more (FUSE: nlookup), or an errno value.
  std::expected<Node, int> lookup(u64 parent, const std::string& name);
  void forget(u64 node, u64 count);
  std::expected<Node, int> find(u64 node);
  /// Names in a folder.
  std::expected<std::vector<std::pair<std::string, Node>>, int> list(u64 node);
  /// What a file says now.
  std::expected<std::string, int> read(u64 node);
  /// Samples the loads somebody has asked for.
  void sample();
  [[nodiscard]] bool sampling() const;
  [[nodiscard]] std::size_t size() const { return containers_.size(); }

  /// Containers that are known at once, at most: what memory is bounded by.
  static constexpr std::size_t most_containers = 16384;

 private:
  struct Known {
    std::unique_ptr<Sight> sight;
    u64 references = 0;
    Clock::time_point load_asked{};
    bool load_wanted = false;
  };
  /// By the id in the record, which is the upper part of its nodes' numbers: a server that follows a killed one finds
  /// again what the kernel still has numbers of.
  Known* known(u64 id);
  Known* keep(const Container& record);
  std::string text(const std::string& path, Known& container);

  cgroup::Layout layout_;
  std::string records_, host_;
  std::map<u64, Known> containers_;
};

}  // namespace nagaya::procview
