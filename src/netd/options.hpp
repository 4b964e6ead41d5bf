// The command line of nagaya-net.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "netd/server.hpp"

namespace nagaya::netd {

struct Options {
  ServerConfig server{};
  std::vector<int> port_fds{};
  std::string listen{};
  std::vector<int> splice_fds{};  ///< two links that are joined, and nothing else
  int status_fd = -1;
  bool help = false;  ///< it was asked for, and printed
};

[[nodiscard]] Result<Options> parse_options(int argc, char** argv);

}  // namespace nagaya::netd
