// The kernel's command line, as far as mounting the root file system needs it
// (Linux, Documentation/admin-guide/kernel-parameters.txt: root=, rootfstype=, rootflags=, ro, rw, init=).
#pragma once
#include <string>
#include <string_view>

namespace nagaya::init {

struct RootOptions {
  std::string device = "/dev/vda";
  std::string type = "ext4";
  std::string flags{};
  bool read_only = true;
  std::string program = "/sbin/init";
};

/// Later words win. Quotes keep blanks together.
[[nodiscard]] RootOptions root_options(std::string_view command_line);

}  // namespace nagaya::init
