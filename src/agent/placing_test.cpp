#include "agent/placing.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "agent/walk.hpp"

namespace nagaya::agent {
namespace {

namespace fs = std::filesystem;

class PlacingTest : public ::testing::Test {
 protected:
  PlacingTest() {
    fs::remove_all(root);
    fs::create_directories(root / "in");
    fs::create_directories(root / "outside");
  }
  ~PlacingTest() override {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  static Result<> file(Placing& placing, const std::string& path, const std::string& text, u32 mode = 0644) {
    TRY(placing.begin({.mode = mode, .seconds = 1000, .size = text.size(), .path = path}));
    if (text.empty()) return {};
    return placing.content(std::span(reinterpret_cast<const u8*>(text.data()), text.size()));
  }
  static std::string text_of(const fs::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t files_outside() { return static_cast<std::size_t>(std::distance(fs::directory_iterator(root / "outside"), fs::directory_iterator())); }
  const fs::path root = fs::temp_directory_path() / ("nagaya-placing-" + std::to_string(::getpid()));
  const std::string in = root / "in";
};

TEST_F(PlacingTest, ATreeKeepsWhatItHad) {
  auto placing = Placing::at(in, "tree");
  ASSERT_TRUE(placing);
  ASSERT_TRUE(placing->begin({.type = Entry::Type::folder, .mode = 0750, .seconds = 2000, .path = ""}));
  ASSERT_TRUE(file(*placing, "a", "text", 0600));
  ASSERT_TRUE(file(*placing, "empty", ""));
  ASSERT_TRUE(file(*placing, "made/on/the/way", "x"));
  ASSERT_TRUE(placing->begin({.type = Entry::Type::link, .seconds = 3000, .path = "link", .target = "/etc/passwd"}));
  ASSERT_TRUE(placing->finish());
  EXPECT_EQ(text_of(in + "/tree/a"), "text");
  EXPECT_EQ(text_of(in + "/tree/made/on/the/way"), "x");
  EXPECT_EQ(fs::read_symlink(in + "/tree/link"), "/etc/passwd");
  struct stat info {};
  ASSERT_EQ(::stat((in + "/tree").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750u);
  EXPECT_EQ(info.st_mtime, 2000);
  ASSERT_EQ(::stat((in + "/tree/a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(info.st_mtime, 1000);
  ASSERT_EQ(::lstat((in + "/tree/link").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtime, 3000);
}

TEST_F(PlacingTest, NothingIsWrittenThroughLinks) {
  const std::string outside = root / "outside";
  auto placing = Placing::at(in, "tree");
  ASSERT_TRUE(placing->begin({.type = Entry::Type::folder, .mode = 0755}));
  ASSERT_TRUE(placing->begin({.type = Entry::Type::link, .path = "out", .target = outside}));
  EXPECT_FALSE(file(*placing, "out/file", "x"));
  EXPECT_FALSE(placing->begin({.type = Entry::Type::folder, .mode = 0755, .path = "out/folder"}));
  // A folder where a link is: the link stays, and is none.
  EXPECT_FALSE(placing->begin({.type = Entry::Type::folder, .mode = 0777, .path = "out"}));
  // A file where a link is takes its place.
  std::ofstream(outside + "/target") << "old";
  ASSERT_TRUE(placing->begin({.type = Entry::Type::link, .path = "f", .target = outside + "/target"}));
  ASSERT_TRUE(file(*placing, "f", "new"));
  EXPECT_EQ(text_of(outside + "/target"), "old");
  EXPECT_EQ(text_of(in + "/tree/f"), "new");
  // A link to a folder inside leads out of the tree as soon as that is replaced: not followed either.
  ASSERT_TRUE(placing->begin({.type = Entry::Type::link, .path = "up", .target = "../.."}));
  EXPECT_FALSE(file(*placing, "up/outside/x", "x"));
  EXPECT_EQ(files_outside(), 1u);
  struct stat info {};
  ASSERT_EQ(::stat(outside.c_str(), &info), 0);
  EXPECT_NE(info.st_mode & 0777, 0777u);
}

TEST_F(PlacingTest, WhereItGoes) {
  // Not there: it becomes that path. A file: it is replaced. A folder: into it.
  for (int round = 0; round < 2; ++round) {
    auto placing = Placing::at(in + "/new", "old");
    ASSERT_TRUE(placing);
    ASSERT_TRUE(file(*placing, "", "text"));
    EXPECT_EQ(text_of(in + "/new"), "text");
  }
  EXPECT_FALSE(Placing::at(in + "/none/new", "old"));
  EXPECT_FALSE(Placing::at(in + "/new/", "old"));
  EXPECT_FALSE(Placing::at(in + "/new", ""));
  EXPECT_FALSE(Placing::at("", "x"));
  auto above = Placing::at(in + "/..", "");
  ASSERT_TRUE(above);
  EXPECT_FALSE(file(*above, "", "x")) << "a file without a name";
  auto made = Placing::at(in + "/made", "");
  ASSERT_TRUE(made);
  ASSERT_TRUE(made->begin({.type = Entry::Type::folder, .mode = 0755}));
  ASSERT_TRUE(file(*made, "f", "x"));
  EXPECT_EQ(text_of(in + "/made/f"), "x");
  auto content = Placing::at(in, "");
  ASSERT_TRUE(content);
  ASSERT_TRUE(content->begin({.type = Entry::Type::folder, .path = ""}));
  ASSERT_TRUE(file(*content, "one", "1"));
  EXPECT_EQ(text_of(in + "/one"), "1");
}

TEST_F(PlacingTest, AFileCutOffLeavesNothing) {
  {
    auto placing = Placing::at(in, "x");
    ASSERT_TRUE(placing->begin({.mode = 0644, .size = 10}));
    ASSERT_TRUE(placing->content(std::vector<u8>(5)));
    EXPECT_FALSE(placing->finish());
    EXPECT_FALSE(placing->content(std::vector<u8>(6)));
  }
  EXPECT_TRUE(fs::is_empty(in));
}

TEST_F(PlacingTest, AWalkTellsAllAndFollowsNothing) {
  fs::create_directories(in + "/tree/sub");
  std::ofstream(in + "/tree/sub/file") << "content";
  fs::create_symlink(root / "outside", in + "/tree/link");
  ASSERT_EQ(::mkfifo((in + "/tree/pipe").c_str(), 0600), 0);
  std::vector<std::string> told;
  const TreeSink sink = [&](Kind kind, std::span<const u8> payload) -> Result<> {
    if (kind == Kind::entry) told.push_back(decode_entry(payload)->path);
    if (kind == Kind::warning) told.push_back("warning");
    if (kind == Kind::content) told.push_back(std::string(payload.begin(), payload.end()));
    return {};
  };
  auto tree = open_tree(in + "/tree");
  ASSERT_TRUE(tree);
  ASSERT_TRUE(walk_tree(*tree, sink));
  EXPECT_EQ(told, (std::vector<std::string>{"", "link", "warning", "sub", "sub/file", "content"}));
  EXPECT_FALSE(open_tree(in + "/none"));
  EXPECT_EQ(name_in("/a/b/"), "b");
  EXPECT_EQ(name_in("/a/b/."), "");
  EXPECT_EQ(name_in("/"), "");
  EXPECT_EQ(name_in(".."), "");
  EXPECT_EQ(name_in("x"), "x");
}

}  // namespace
}  // namespace nagaya::agent
