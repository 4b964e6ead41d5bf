#include "agent/guest/mounts.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nagaya::agent::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Mounts, OfACommandLine) {
  EXPECT_THAT(mounts_of("console=ttyS0 nagaya.mount=share0:/mnt/a nagaya.mount=share1:/b%20c%3a:ro quiet\n"),
              ElementsAre(Mount{"share0", "/mnt/a", false}, Mount{"share1", "/b c:", true}));
}

TEST(Mounts, NonsenseIsLeftOut) {
  for (const char* bad : {"", "nagaya.mount=", "nagaya.mount=a", "nagaya.mount=:/x", "nagaya.mount=a:x", "nagaya.mount=a:/x:rw", "nagaya.mount=a:/x%",
                          "nagaya.mount=a:/x%2", "nagaya.mount=a:/x%zz", "nagaya.mount=a:/x%00", "xnagaya.mount=a:/x"}) {
    EXPECT_THAT(mounts_of(bad), IsEmpty()) << bad;
  }
}

}  // namespace
}  // namespace nagaya::agent::guest
