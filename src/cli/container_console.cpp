#include "cli/container_console.hpp"

#include <fmt/core.h>

#include <cerrno>
#include <cstdio>

#include "cli/launch.hpp"

namespace nagaya::cli {

Result<int> at_console(const domain::Container& container, const domain::AttachOptions& options, bool* left) {
  TRY_ASSIGN(const host::Fd socket, domain::connect_console(container));
  TRY_ASSIGN(const domain::AttachResult result, domain::attach_console(socket, options));
  if (result.failure) {
    complain(*result.failure);
    return result.exit_code;
  }
  if (left != nullptr) *left = result.detached;
  if (result.detached) std::fprintf(stderr, "nagaya: '%s' goes on; 'nagaya attach %s' comes back\n", container.definition.name.c_str(), container.definition.name.c_str());
  return result.detached ? 0 : result.exit_code;
}

}  // namespace nagaya::cli
