// A Debian on a disk, made by Debian's own tool (mmdebstrap), with its kernel and a RAM disk of ours.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/store.hpp"
#include "image/tool.hpp"

namespace nagaya::image {

struct DebianOptions {
  std::string suite = "bookworm";
  std::string name{};                  ///< of the image; empty: "debian"
  std::vector<std::string> include{};  ///< packages beside ours
  u64 size = 4 * GiB;                  ///< of the disk, bytes
  std::string mirror{};                ///< empty: the mirrors this host uses, else Debian's
};

/// Checks names before anything is run with them.
[[nodiscard]] Result<> validate(const DebianOptions& options);
[[nodiscard]] Result<Image> build_debian(Store& store, const DebianOptions& options, const Work& work);

/// Lines for sources.list from what "apt-get indextargets" tells of this host in the form "URI|RELEASE|COMPONENT|ORIGIN":
/// those of Debian, of that suite. Empty when there are none.
[[nodiscard]] std::vector<std::string> sources_of_host(std::string_view index_targets, const std::string& suite);

/// Kernel command line of images made here, but for what one machine adds.
[[nodiscard]] std::string debian_append();

/// Shell script that makes a guest of a plain Debian in folder $1.
extern const char* const debian_recipe;

}  // namespace nagaya::image
