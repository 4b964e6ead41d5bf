#include "image/tree.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace nagaya::image {
namespace {

using testing::HasSubstr;

Node file(u64 size = 1) { return {.type = NodeType::file, .mode = 0644, .size = size}; }
Node folder(u32 mode = 0755) { return {.type = NodeType::directory, .mode = mode}; }
Node symlink(std::string target) { return {.type = NodeType::symlink, .target = std::move(target)}; }

std::string listing(const Tree& tree) {
  std::string out;
  tree.walk([&](const std::string& path, const NodePtr&) { out += path + " "; });
  return out;
}

struct TreeTest : testing::Test {
  TreeTest() { tree.next_layer(); }
  Tree tree;
};

TEST_F(TreeTest, EntriesAndFoldersThatNoEntryNames) {
  ASSERT_TRUE(tree.add("./", folder(0700)));
  ASSERT_TRUE(tree.add("/a/b/c", file()));
  ASSERT_TRUE(tree.add("./a/", folder(0711)));
  EXPECT_EQ(listing(tree), " a a/b a/b/c ");
  EXPECT_EQ(tree.find("a")->mode, 0711u);
  EXPECT_EQ(tree.root()->mode, 0700u);
}

TEST_F(TreeTest, NothingLeadsOut) {
  for (const char* path : {"../x", "a/../../x", "..", "a/.."}) EXPECT_FALSE(tree.add(path, file())) << path;
  ASSERT_TRUE(tree.add("out", symlink("../../../etc")));
  ASSERT_TRUE(tree.add("abs", symlink("/etc")));
  ASSERT_TRUE(tree.add("etc", folder()));
  ASSERT_TRUE(tree.add("out/a", file()));
  ASSERT_TRUE(tree.add("abs/b", file()));
  EXPECT_EQ(listing(tree), " abs etc etc/a etc/b out ");
  EXPECT_THAT(tree.link("x", "../../passwd").error().message(), HasSubstr("'..'"));
  EXPECT_THAT(tree.link("x", "/nowhere").error().message(), HasSubstr("not there"));
  EXPECT_FALSE(tree.link("x", "etc"));
}

TEST_F(TreeTest, LinksInCirclesEnd) {
  ASSERT_TRUE(tree.add("a", symlink("b")));
  ASSERT_TRUE(tree.add("b", symlink("a")));
  EXPECT_THAT(tree.add("a/x", file()).error().message(), HasSubstr("too many symbolic links"));
  EXPECT_EQ(tree.find("a"), nullptr);
  ASSERT_TRUE(tree.add("c", symlink("c/c/c/c")));
  EXPECT_FALSE(tree.add("c/x", file()));
}

TEST_F(TreeTest, AFileIsNoFolder) {
  ASSERT_TRUE(tree.add("a", file()));
  EXPECT_FALSE(tree.add("a/b", file()));
  EXPECT_FALSE(tree.add("/", file()));
  EXPECT_FALSE(tree.add(std::string(300, 'n'), file()));
  std::string deep;
  for (int i = 0; i < 600; ++i) deep += "d/";
  EXPECT_FALSE(tree.add(deep, folder()));
}

TEST_F(TreeTest, LaterLayersReplaceMergeAndHide) {
  for (const char* path : {"dir/one", "dir/two", "gone/x", "op/old", "op/sub/old", "swap"}) ASSERT_TRUE(tree.add(path, file()));
  tree.next_layer();
  ASSERT_TRUE(tree.add("dir", folder(0700)));
  ASSERT_TRUE(tree.whiteout("dir/one"));
  ASSERT_TRUE(tree.whiteout("gone"));
  ASSERT_TRUE(tree.whiteout("never/was"));
  ASSERT_TRUE(tree.add("op/new", file()));
  ASSERT_TRUE(tree.add("op/sub/new", file()));
  ASSERT_TRUE(tree.opaque("op"));
  ASSERT_TRUE(tree.add("swap", folder()));
  EXPECT_EQ(listing(tree), " dir dir/two op op/new op/sub op/sub/new swap ");
  EXPECT_EQ(tree.find("dir")->mode, 0700u);
  EXPECT_FALSE(tree.whiteout("/"));
}

TEST_F(TreeTest, WhiteoutsLeaveTheirOwnLayerAlone) {
  ASSERT_TRUE(tree.add("a", file(7)));
  tree.next_layer();
  ASSERT_TRUE(tree.link("b", "a"));
  ASSERT_TRUE(tree.whiteout("a"));
  ASSERT_TRUE(tree.whiteout("b"));
  EXPECT_EQ(listing(tree), " b ");
  EXPECT_EQ(tree.find("b")->size, 7u);
}

TEST(TreeLimits, Bombs) {
  Tree tree({.entries = 3, .metadata = 100, .content = 1000});
  tree.next_layer();
  EXPECT_THAT(tree.add("a", file(1001)).error().message(), HasSubstr("content"));
  EXPECT_THAT(tree.add("b", symlink(std::string(200, 'x'))).error().message(), HasSubstr("memory"));
  ASSERT_TRUE(tree.add("c", file(1000)));
  EXPECT_THAT(tree.add("d", file()).error().message(), HasSubstr("3 entries"));
}

}  // namespace
}  // namespace nagaya::image
