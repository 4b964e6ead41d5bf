// Names beneath one folder, by descriptor: links are followed within it and no further.
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "host/fd.hpp"

namespace nagaya::image {

/// A folder and a name in it; an empty name is the root itself.
struct Spot {
  const host::Fd* folder = nullptr;
  std::string name{};
};

class Beneath {
 public:
  explicit Beneath(host::Fd root) : root_(std::move(root)) {}
  [[nodiscard]] const host::Fd& root() const { return root_; }

  /// Where `path` is or would be. Missing folders on the way are made, mode 0755. The spot holds until the next call.
  Result<Spot> locate(std::string_view path);
  /// Removes what is at the spot, folders with all in them; nothing there is no error.
  Result<> clear(const Spot& spot);
  /// Removes all in the folder at the spot. What is no folder, or a link to one, stays.
  Result<> empty(const Spot& spot);

 private:
  Result<host::Fd> open_folder(const std::string& path);
  Result<host::Fd> make_folders(const std::string& path);
  host::Fd root_, folder_;
  std::string folder_path_;
  bool stale_ = false;  // a name may lead elsewhere than before
};

}  // namespace nagaya::image
