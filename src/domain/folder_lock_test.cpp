#include "domain/folder_lock.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace nagaya::domain {
namespace {

namespace fs = std::filesystem;

class FolderTest : public ::testing::Test {
 protected:
  FolderTest() : domains_((fs::temp_directory_path() / ("nagaya-folders-" + std::to_string(::getpid()))).string()) {}
  ~FolderTest() override { fs::remove_all(domains_); }
  static Result<> file(const std::string& folder) {
    std::ofstream(folder + "/file") << "x";
    return {};
  }
  std::string domains_;
};

TEST_F(FolderTest, AppearsWholeOrNotAtAll) {
  ASSERT_TRUE(make_domain_folder(domains_, "one", file));
  EXPECT_TRUE(fs::exists(domains_ + "/one/file"));
  EXPECT_FALSE(folder_locked(domains_ + "/one"));
  EXPECT_EQ(make_domain_folder(domains_, "one", file).error().code, EEXIST);
  EXPECT_FALSE(make_domain_folder(domains_, "two", [](const std::string&) -> Result<> { return fail("no"); }));
  EXPECT_FALSE(fs::exists(domains_ + "/two"));
  EXPECT_TRUE(make_domain_folder(domains_, "two", file)) << "its name is free again";
}

TEST_F(FolderTest, OneThatIsBeingFilledKeepsNobodyWaiting) {
  const auto made = make_domain_folder(domains_, "slow", [&](const std::string& folder) -> Result<> {
    EXPECT_EQ(make_domain_folder(domains_, "slow", file).error().code, EEXIST);
    EXPECT_TRUE(make_domain_folder(domains_, "quick", file));
    EXPECT_TRUE(remove_domain_folder(domains_, "quick"));
    EXPECT_TRUE(fs::exists(folder)) << "nobody swept it away";
    return file(folder);
  });
  EXPECT_TRUE(made);
  EXPECT_TRUE(fs::exists(domains_ + "/slow/file"));
}

TEST_F(FolderTest, WhatWasLeftIsSweptAway) {
  fs::create_directories(domains_ + "/.dead.new/deep");
  fs::create_directories(domains_ + "/.dead-00000001.removed");
  ASSERT_TRUE(make_domain_folder(domains_, "dead", file));
  EXPECT_FALSE(fs::exists(domains_ + "/.dead.new"));
  EXPECT_FALSE(fs::exists(domains_ + "/.dead-00000001.removed"));
}

TEST_F(FolderTest, WhoeverLooksSweepsToo) {
  fs::create_directories(domains_ + "/.dead.new/deep");
  fs::create_directories(domains_ + "/.lives.new");
  fs::create_directories(domains_ + "/.name");
  const auto maker = lock_folder(domains_ + "/.lives.new");
  ASSERT_TRUE(maker);
  sweep_domains(domains_);
  EXPECT_FALSE(fs::exists(domains_ + "/.dead.new"));
  EXPECT_TRUE(fs::exists(domains_ + "/.lives.new"));
  EXPECT_TRUE(fs::exists(domains_ + "/.name"));
  sweep_domains(domains_ + "/none");
}

}  // namespace
}  // namespace nagaya::domain
