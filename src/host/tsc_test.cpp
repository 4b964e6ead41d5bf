#include "host/tsc.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "host/timer_queue.hpp"

namespace nagaya::host {
namespace {

TEST(Tsc, AgreesWithTheMonotonicClock) {
  const u64 t0 = rdtsc(), n0 = monotonic_ns();
  ::usleep(20'000);
  const u64 t1 = rdtsc(), n1 = monotonic_ns();
  const double seen = static_cast<double>(t1 - t0) * 1e9 / static_cast<double>(n1 - n0);
  EXPECT_NEAR(seen / static_cast<double>(tsc_hz()), 1.0, 0.02);
}

}  // namespace
}  // namespace nagaya::host
