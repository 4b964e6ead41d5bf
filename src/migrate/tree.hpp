// A container's files over the stream: once whole while it runs, then only what changed since. For an overlay root it is the upper folder that
// moves, with its whiteouts and opaque marks, because both sides have the lower ones.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "migrate/stream.hpp"

namespace nagaya::migrate {

struct TreeLimits {
  u64 bytes = u64{1} << 40;
  u64 removed = 1'000'000;  ///< names
};

/// Remembers what it has sent. Source of the format: pax archives (POSIX.1-2017 pax), written and read by libarchive.
class TreeSender {
 public:
  explicit TreeSender(std::string folder) : folder_(std::move(folder)) {}
  /// The first time all of it, later what is new, changed or gone. Files that change while they are read are sent again the next time.
  Result<> send(Stream& stream, u32 number);

 private:
  struct Mark {
    i64 changed_s = 0, changed_ns = 0;  ///< st_ctime: every change of content, names' targets or attributes moves it
    u64 inode = 0;
    bool operator==(const Mark&) const = default;
  };
  friend class Packer;
  std::string folder_;
  std::unordered_map<std::string, Mark> sent_;
  std::unordered_map<u64, std::string> links_;  ///< inode → its first name, of files with several
};

/// Receives one tree, whose `tree_begin` has been read, into `folder`. A process of its own does it with `folder` as its root, so that no
/// name or link in the stream leads anywhere else.
Result<> receive_tree(Stream& stream, const std::string& folder, const TreeLimits& limits = {});

}  // namespace nagaya::migrate
