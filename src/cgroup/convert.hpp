// Values of the OCI specification, which are cgroup v1's, as cgroup v2 has them.
#pragma once
#include <string>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::cgroup {

/// cpu.shares [2, 262144], default 1024 → cpu.weight [1, 10000], default 100: 10^((l² + 125 l)/612 − 7/34) rounded up,
/// l = log2(shares), which keeps both ends and the default (opencontainers/cgroups pull request 20; crun 1.23). 0 is
/// "unset" and stays 0.
u64 cpu_shares_to_weight(u64 shares);
/// The inverse: the shares whose weight it is, at the middle of the range that rounds to it.
u64 cpu_weight_to_shares(u64 weight);
/// blkio.weight [10, 1000] → io.weight [1, 10000]; 0 stays 0.
u64 io_weight(u64 blkio_weight);
/// What v2 counts as swap alone, where the specification counts memory and swap together. `limit` and `swap` in bytes,
/// -1: none.
Result<std::string> swap_max(i64 limit, i64 swap);
/// -1 → "max".
std::string or_max(i64 value);

}  // namespace nagaya::cgroup
