// The host's shared folders at their places: "nagaya.mount=TAG:PLACE[:ro]" on the kernel's command line, where %XX in a
// place stands for the byte XX.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace nagaya::agent::guest {

struct Mount {
  std::string tag, place;
  bool read_only = false;
  bool operator==(const Mount&) const = default;
};

/// The well-formed ones of a command line, in its order.
[[nodiscard]] std::vector<Mount> mounts_of(std::string_view command_line);

/// Mounts what /proc/cmdline names and is not mounted yet, making the places. What fails is told on standard error.
void mount_shares();

}  // namespace nagaya::agent::guest
