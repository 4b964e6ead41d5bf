#include "net/mac.hpp"

#include <gtest/gtest.h>

#include <set>

namespace nagaya::net {
namespace {

TEST(Mac, ReadsAndWrites) {
  const Mac mac = {0x52, 0x54, 0, 0x12, 0xab, 0xcd};
  EXPECT_EQ(parse_mac("52:54:00:12:aB:cd"), mac);
  EXPECT_EQ(to_string(mac), "52:54:00:12:ab:cd");
  for (const char* bad : {"", "52:54:00:12:ab", "52:54:00:12:ab:cg", "52-54-00-12-ab-cd", "52:54:00:12:ab:cd:"}) {
    EXPECT_FALSE(parse_mac(bad)) << bad;
  }
}

TEST(Mac, OfANameIsLocalAndStable) {
  // Saved guests rely on it: this never changes.
  EXPECT_EQ(to_string(mac_of_name("web", 0)), to_string(mac_of_name("web", 0)));
  std::set<Mac> seen;
  for (int name = 0; name < 1000; ++name) {
    for (unsigned card = 0; card < 8; ++card) {
      const Mac mac = mac_of_name("machine" + std::to_string(name), card);
      EXPECT_EQ(mac[0] & 3, 2);
      seen.insert(mac);
    }
  }
  EXPECT_EQ(seen.size(), 8000u);
}

}  // namespace
}  // namespace nagaya::net
