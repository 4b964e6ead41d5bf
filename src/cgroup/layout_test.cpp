#include "cgroup/layout.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nagaya::cgroup {
namespace {

using testing::ElementsAre;

constexpr char v1[] =
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw,nosuid - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
    "50 31 0:29 / /mnt/other\\040place rw,relatime - cgroup cgroup rw,cpu,cpuacct\n";

TEST(Layout, HybridHostWithControllersMountedTogether) {
  const auto layout = parse_layout(v1, "12:memory:/a\n4:cpu,cpuacct:/b:c\n1:name=systemd:/\n0::/init.scope\n");
  ASSERT_EQ(layout.hierarchies.size(), 4u);
  EXPECT_FALSE(layout.v2_only());
  const auto* cpu = layout.find("cpuacct");
  ASSERT_NE(cpu, nullptr);
  EXPECT_EQ(cpu->mount_point, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_THAT(cpu->controllers, ElementsAre("cpu", "cpuacct"));
  EXPECT_EQ(cpu->own, "/b:c");
  EXPECT_TRUE(cpu->writable);
  ASSERT_NE(layout.find("memory"), nullptr);
  EXPECT_FALSE(layout.find("memory")->writable);
  EXPECT_EQ(layout.find("pids"), nullptr);
  EXPECT_TRUE(layout.hierarchies.back().v2);
  EXPECT_EQ(layout.hierarchies.back().own, "/init.scope");
}

TEST(Layout, OnlyV2) {
  const auto layout = parse_layout("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
                                   "0::/user.slice/user-1000.slice/session-3.scope\n");
  ASSERT_TRUE(layout.v2_only());
  EXPECT_EQ(layout.hierarchies[0].own, "/user.slice/user-1000.slice/session-3.scope");
}

TEST(Layout, WhetherLimitsAreKeptFromInside) {
  EXPECT_TRUE(v2_limits_are_kept(v1));
  EXPECT_TRUE(v2_limits_are_kept(""));
  EXPECT_TRUE(v2_limits_are_kept("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"));
  EXPECT_FALSE(v2_limits_are_kept("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,memory_recursiveprot\n"));
}

TEST(Layout, PartOfAHierarchyMountedIntoAContainer) {
  // Without a cgroup namespace: paths are the host's, the mount shows a part.
  auto layout = parse_layout("35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
                             "4:memory:/docker/abc/nested\n");
  ASSERT_EQ(layout.hierarchies.size(), 1u);
  EXPECT_EQ(layout.hierarchies[0].own, "/nested");
  layout = parse_layout("35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
                        "4:memory:/docker/abcdef\n");
  EXPECT_EQ(layout.hierarchies[0].own, "/");
}

TEST(Layout, InsideACgroupNamespace) {
  auto layout = parse_layout("35 31 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/\n");
  EXPECT_EQ(layout.hierarchies[0].own, "/");
  // Mounted before the namespace was entered; and a process outside of what the namespace shows.
  layout = parse_layout("35 31 0:32 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/../other\n");
  EXPECT_EQ(layout.hierarchies[0].own, "/");
}

TEST(Layout, PrefersTheUsualPlace) {
  const auto layout = parse_layout(
      "50 31 0:29 / /mnt/here\\040too rw - cgroup cgroup rw,pids\n51 31 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup "
      "rw,pids\n"
      "52 31 0:30 / /mnt/only\\040here rw - cgroup cgroup rw,freezer\n",
      "2:pids:/\n3:freezer:/\n4:devices:/\n");
  ASSERT_EQ(layout.hierarchies.size(), 2u);
  EXPECT_EQ(layout.hierarchies[0].mount_point, "/sys/fs/cgroup/pids");
  EXPECT_EQ(layout.hierarchies[1].mount_point, "/mnt/only here");
}

TEST(Layout, NonsenseIsNoLayout) {
  EXPECT_TRUE(parse_layout("", "").hierarchies.empty());
  // Lines cut short: nothing is made of them that names no mount point.
  for (const auto& one : parse_layout("- cgroup\n - cgroup2\n1 2 - cgroup x", "\n:\n::\n0::\n1:memory").hierarchies)
    EXPECT_NE(one.mount_point, "");
  EXPECT_EQ(parse_layout(v1, "garbage").hierarchies.size(), 0u);
}

TEST(Path, IsMadePlain) {
  EXPECT_EQ(clean_path("/a//b/").value(), "/a/b");
  EXPECT_EQ(clean_path("a/b").value(), "a/b");
  EXPECT_EQ(clean_path("user.slice:odd name").value(), "user.slice:odd name");
  for (const char* bad : {"", "/", "///", "/a/../b", "..", "/a/.", "a\nb", "/a/cgroup.procs", "cgroup.kill"})
    EXPECT_FALSE(clean_path(bad)) << bad;
  EXPECT_FALSE(clean_path(std::string(5000, 'a')));
  EXPECT_FALSE(clean_path("/" + std::string(256, 'a')));
  EXPECT_FALSE(clean_path(std::string_view("a\0b", 3)));
}

}  // namespace
}  // namespace nagaya::cgroup
