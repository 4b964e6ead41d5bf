// Users and groups of the guest, read from its own files: a static program has no name services.
#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.hpp"

namespace nagaya::agent::guest {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name = "root", home = "/", shell = "/bin/sh";
  std::vector<gid_t> groups{};
};

/// "name", "1000", "name:group", "1000:1000"; empty: root. A name that is all digits is a number, as with chown.
/// `root` is where etc/passwd and etc/group lie below.
[[nodiscard]] Result<User> find_user(const std::string& text, const std::string& root = "/");

}  // namespace nagaya::agent::guest
