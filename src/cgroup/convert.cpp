#include "cgroup/convert.hpp"

#include <algorithm>
#include <cmath>

namespace nagaya::cgroup {
namespace {

// long double: libm's double functions come in variants for several processors, and a static program is better off
// without them.
using Real = long double;

constexpr u64 least_shares = 2, most_shares = 262144;
constexpr u64 least_weight = 1, most_weight = 10000;

}  // namespace

u64 cpu_shares_to_weight(u64 shares) {
  if (shares == 0) return 0;
  if (shares <= least_shares) return least_weight;
  if (shares >= most_shares) return most_weight;
  const Real l = std::log2(static_cast<Real>(shares));
  const Real exponent = (l * l + 125 * l) / 612.0L - 7.0L / 34.0L;
  // The default is exact but for the last bits.
  return static_cast<u64>(std::ceil(std::pow(Real{10}, exponent) - 1e-9L));
}

u64 cpu_weight_to_shares(u64 weight) {
  if (weight == 0) return 0;
  if (weight <= least_weight) return least_shares;
  if (weight >= most_weight) return most_shares;
  // The conversion rounds up: a weight stands for all real values above the one before; take their geometric middle.
  const Real value = std::sqrt(static_cast<Real>(weight) * static_cast<Real>(weight - 1));
  const Real c = 612.0L * (std::log10(value) + 7.0L / 34.0L);
  const Real l = (-125.0L + std::sqrt(125.0L * 125.0L + 4.0L * c)) / 2.0L;
  return std::clamp(static_cast<u64>(std::llround(std::exp2(l))), least_shares, most_shares);
}

u64 io_weight(u64 blkio_weight) {
  if (blkio_weight == 0) return 0;
  return 1 + (std::clamp<u64>(blkio_weight, 10, 1000) - 10) * 9999 / 990;
}

Result<std::string> swap_max(i64 limit, i64 swap) {
  if (swap == -1) return std::string("max");
  if (swap < -1) return fail("memory swap " + std::to_string(swap), "below -1");
  if (limit <= 0)
    return fail("memory swap " + std::to_string(swap),
                "memory and swap are counted together, but no memory limit is given");
  if (swap < limit)
    return fail("memory swap " + std::to_string(swap),
                "less than the memory limit " + std::to_string(limit) + ", which it includes");
  return std::to_string(swap - limit);
}

std::string or_max(i64 value) { return value < 0 ? "max" : std::to_string(value); }

}  // namespace nagaya::cgroup
