#include "procview/server/tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace nagaya::procview {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Trees : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "nagaya-tree-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    layout_ = cgroup::read_layout().value();
    ASSERT_TRUE(add(folder_, {.name = "a", .cgroup = "/nagaya-no-such-group"}));
  }
  void TearDown() override { fs::remove_all(folder_); }
  Tree tree() { return {layout_, folder_}; }
  static u64 walk(Tree& tree, std::initializer_list<const char*> names) {
    u64 at = Tree::root;
    for (const char* name : names) {
      const auto next = tree.lookup(at, name);
      EXPECT_TRUE(next) << name;
      if (!next) return 0;
      at = next->number;
    }
    return at;
  }
  std::string folder_;
  cgroup::Layout layout_;
};

TEST_F(Trees, HasTheFilesOfKnownContainers) {
  Tree t = tree();
  const u64 file = walk(t, {"a", "proc", "meminfo"});
  EXPECT_FALSE(t.find(file)->folder);
  EXPECT_THAT(t.read(file).value(), HasSubstr("MemTotal:"));
  EXPECT_THAT(t.read(walk(t, {"a", "proc", "uptime"})).value(), HasSubstr("."));
  EXPECT_THAT(t.read(walk(t, {"a", "sys", "devices", "system", "cpu", "online"})).value(), HasSubstr("\n"));
  EXPECT_EQ(t.lookup(Tree::root, "b").error(), ENOENT);
  EXPECT_EQ(t.lookup(Tree::root, "..").error(), ENOENT);
  EXPECT_EQ(t.lookup(walk(t, {"a", "proc"}), "kcore").error(), ENOENT);
  EXPECT_EQ(t.read(walk(t, {"a", "proc"})).error(), EISDIR);
  EXPECT_EQ(t.list(walk(t, {"a", "proc"}))->size(), 8u);
  EXPECT_TRUE(t.list(Tree::root)->empty()) << "who else is here is nobody's business";
  EXPECT_EQ(t.read(~u64{0}).error(), ESTALE);
  EXPECT_EQ(t.find(31).error(), ESTALE);
}

TEST_F(Trees, IsForgottenWithItsLastReference) {
  Tree t = tree();
  const u64 top = walk(t, {"a"});
  const u64 folder = t.lookup(top, "proc")->number;
  EXPECT_EQ(t.size(), 1u);
  t.forget(top, 1);
  EXPECT_EQ(t.size(), 1u);
  t.forget(folder, 1000);
  EXPECT_EQ(t.size(), 0u);
  t.forget(folder, 1);
  t.forget(Tree::root, 1);
}

TEST_F(Trees, AServerThatFollowsAnotherKnowsItsNumbers) {
  Tree first = tree();
  const u64 file = walk(first, {"a", "proc", "uptime"});
  Tree second = tree();
  EXPECT_TRUE(second.read(file));
  ASSERT_TRUE(remove(folder_, "a"));
  EXPECT_TRUE(second.read(file)) << "a running container's files stay";
  Tree third = tree();
  EXPECT_EQ(third.read(file).error(), ESTALE);
}

TEST_F(Trees, ALaterContainerOfTheNameIsAnother) {
  Tree t = tree();
  const u64 old = walk(t, {"a"});
  ASSERT_TRUE(add(folder_, {.name = "a", .cgroup = "/other"}));
  EXPECT_NE(walk(t, {"a"}), old);
  EXPECT_TRUE(t.find(old));
}

TEST_F(Trees, WithoutAGroupTheHostsMemoryIsBetterThanZeroes) {
  fs::create_directories(folder_ + "/host/proc");
  std::ofstream(folder_ + "/host/proc/meminfo") << "MemTotal: 7 kB\nMemFree: 3 kB\n";
  Tree t(layout_, folder_, folder_ + "/host");
  EXPECT_EQ(t.read(walk(t, {"a", "proc", "meminfo"})).value(), "MemTotal: 7 kB\nMemFree: 3 kB\n");
}

TEST_F(Trees, ALoadIsSampledFromTheFirstLookOn) {
  Tree t = tree();
  EXPECT_FALSE(t.sampling());
  const u64 file = walk(t, {"a", "proc", "loadavg"});
  EXPECT_FALSE(t.sampling());
  EXPECT_THAT(t.read(file).value(), HasSubstr("/"));
  EXPECT_TRUE(t.sampling());
  t.sample();
}

}  // namespace
}  // namespace nagaya::procview
