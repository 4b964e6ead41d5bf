#include "procview/procview.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace nagaya::procview {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Records : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "nagaya-procview-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string folder_;
};

TEST_F(Records, AreWrittenReadAndRemoved) {
  const auto binds = add(folder_, {.name = "web-1", .cgroup = "/nagaya/web 1"});
  ASSERT_TRUE(binds) << binds.error().message();
  ASSERT_EQ(binds->size(), shown_files().size());
  EXPECT_EQ((*binds)[1].destination, "/proc/meminfo");
  EXPECT_EQ((*binds)[1].source, folder_ + "/mnt/web-1/proc/meminfo");
  const auto record = read_record(folder_, "web-1");
  ASSERT_TRUE(record) << record.error().message();
  EXPECT_EQ(record->cgroup, "/nagaya/web 1");
  EXPECT_FALSE(record->systemd);
  EXPECT_GT(record->started, 0u);
  ASSERT_TRUE(add(folder_, {.name = "web-1", .cgroup = "machine.slice:n:web", .systemd = true, .started = 5}));
  const auto later = read_record(folder_, "web-1");
  EXPECT_TRUE(later->systemd);
  EXPECT_EQ(later->started, 5u);
  EXPECT_GT(later->id, record->id) << "a later container of the same name is another one";
  EXPECT_TRUE(remove(folder_, "web-1"));
  EXPECT_FALSE(read_record(folder_, "web-1"));
  EXPECT_TRUE(remove(folder_, "web-1"));
}

TEST_F(Records, NamesStayInTheFolder) {
  for (const char* bad : {"", ".", "..", "a/b", "../x", "a\nb", ".hidden"}) {
    EXPECT_FALSE(add(folder_, {.name = bad, .cgroup = "/x"})) << bad;
    EXPECT_FALSE(read_record(folder_, bad)) << bad;
    EXPECT_FALSE(remove(folder_, bad)) << bad;
  }
  EXPECT_FALSE(add(folder_, {.name = "a", .cgroup = "/x\n/y"}));
  EXPECT_FALSE(add(folder_, {.name = "a", .cgroup = ""}));
}

TEST_F(Records, NonsenseIsRefused) {
  ASSERT_TRUE(add(folder_, {.name = "a", .cgroup = "/x"}));
  for (const char* text : {"", "\n", "1", "1 2", "1 2 3\n/x", "1 x 3 files\n/x\n", "2 1 1 files\n/x\n",
                           "1 1 1 files\n/x", "1  1 files\n/x\n"}) {
    std::ofstream(folder_ + "/containers/a") << text;
    EXPECT_FALSE(read_record(folder_, "a")) << text;
  }
}

TEST_F(Records, AServerThatCannotStartIsAnError) {
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    const auto started = Server::start(folder_, "/bin/true");
    ASSERT_FALSE(started);
    EXPECT_THAT(started.error().message(), HasSubstr("/dev/fuse"));
    return;
  }
  EXPECT_FALSE(Server::start(folder_, "/proc/nowhere/nagaya-procview"));
  auto ended = Server::start(folder_, "/bin/false");
  ASSERT_TRUE(ended);
  const auto ready = ended->ready();
  ASSERT_FALSE(ready);
  EXPECT_THAT(ready.error().message(), HasSubstr("ended early"));
}

}  // namespace
}  // namespace nagaya::procview
