// Whom an image's program runs as: "USER[:GROUP]" by the image's own /etc/passwd and /etc/group.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::init {

struct Identity {
  u32 uid = 0, gid = 0;
  std::vector<u32> groups{};  ///< supplementary
  std::string home = "/";
  bool operator==(const Identity&) const = default;
};

/// A name is looked up first; what is no name there may be a number.
[[nodiscard]] Result<Identity> identity_of(std::string_view user, std::string_view passwd, std::string_view group);

}  // namespace nagaya::init
