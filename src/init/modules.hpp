// The kernel modules that came in the RAM disk.
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace nagaya::init {

/// Each line of the list is a module's name and the files to load for it, in order: "virtio_blk virtio_ring.ko …".
using ModuleList = std::map<std::string, std::vector<std::string>, std::less<>>;
[[nodiscard]] ModuleList parse_module_list(std::string_view text);

/// The module for a virtio device of that kind (VIRTIO 1.2, section 5), or "".
[[nodiscard]] std::string_view module_of_virtio(unsigned device);

class Modules {
 public:
  explicit Modules(std::string folder) : folder_(std::move(folder)) {}
  /// Reads the folder's list. No list: no modules.
  [[nodiscard]] Result<> read();
  /// Loads it with all it needs; what the list does not have is taken to be in the kernel.
  [[nodiscard]] Result<> load(std::string_view name);
  /// Loads what the virtio devices under /sys need.
  [[nodiscard]] Result<> load_for_devices();

 private:
  std::string folder_;
  ModuleList list_;
  std::set<std::string> loaded_;
};

}  // namespace nagaya::init
