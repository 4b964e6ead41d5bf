#include "base/signal_name.hpp"

#include <gtest/gtest.h>

#include <csignal>

namespace nagaya {
namespace {

TEST(SignalName, KnowsNamesAndNumbers) {
  EXPECT_EQ(signal_of_name("9"), 9);
  EXPECT_EQ(signal_of_name("0"), 0);
  EXPECT_EQ(signal_of_name("TERM"), SIGTERM);
  EXPECT_EQ(signal_of_name("SIGQUIT"), SIGQUIT);
  EXPECT_EQ(signal_of_name("sigusr1"), SIGUSR1);
  EXPECT_EQ(signal_of_name("RTMIN"), 34);
  EXPECT_EQ(signal_of_name("SIGRTMIN+3"), 37);
  EXPECT_EQ(signal_of_name("RTMAX-1"), 63);
  for (const char* bad : {"", "SIG", "NONSENSE", "65", "-1", "9x", "RTMIN-1", "RTMAX+1", "RTMIN+31", "RTMIN+", "RTMINUTE"}) EXPECT_EQ(signal_of_name(bad), -1) << bad;
}

}  // namespace
}  // namespace nagaya
