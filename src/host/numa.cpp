#include "host/numa.hpp"

#include <fmt/format.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>

namespace nagaya::host {

Result<> prefer_node(unsigned node) {
  constexpr unsigned word_bits = 8 * sizeof(unsigned long);
  std::array<unsigned long, 1024 / word_bits> nodes{};
  if (node >= nodes.size() * word_bits) return fail(fmt::format("NUMA node {}", node), "there is none of that number");
  nodes[node / word_bits] = 1ul << node % word_bits;
  // The kernel looks at one bit less than it is told.
  if (::syscall(SYS_set_mempolicy, MPOL_PREFERRED, nodes.data(), nodes.size() * word_bits + 1) != 0) {
    return fail_errno(fmt::format("cannot prefer the memory of NUMA node {}", node), 0, "ls /sys/devices/system/node shows those there are");
  }
  return {};
}

}  // namespace nagaya::host
