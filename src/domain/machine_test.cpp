#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "domain/machine_control.hpp"
#include "domain/machine_store.hpp"

namespace nagaya::domain {
namespace {

using ::testing::HasSubstr;

MachineSpec full() {
  MachineSpec s;
  s.name = "web-1";
  s.image = "abc", s.image_name = "debian:latest", s.created = "2026-01-01T00:00:00Z";
  s.memory = 512 * MiB, s.vcpus = 2, s.engine = "soft", s.disk_size = 4 * GiB, s.hostname = "web.example";
  s.ssh_keys = {"ssh-ed25519 AAAA me"}, s.user_data = "#cloud-config\n";
  s.shares = {{"/srv", "/data", true}};
  s.publish = {"8080:80"}, s.networks = {"user"}, s.append = "quiet";
  s.devices.disks = {{"d", "raw"}};
  s.command = {"sh", "-c", "echo \"x\""}, s.entrypoint = "", s.env = {"A=1"}, s.workdir = "/tmp", s.user = "nobody";
  return s;
}

class MachineTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  const std::string folder_ = ::testing::TempDir() + "nagaya-machines-" + std::to_string(::getpid());
  const MachineStore store_{folder_ + "/state", folder_ + "/run"};
};

TEST_F(MachineTest, SpecSurvivesJson) {
  const auto back = MachineSpec::from_json(full().to_json());
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(*back, full());
}

TEST_F(MachineTest, SpecSaysWhatIsWrong) {
  const auto error = [](auto change) {
    MachineSpec s = full();
    change(s);
    const auto result = s.validate();
    return result ? std::string("(none)") : result.error().message();
  };
  EXPECT_THAT(error([](auto& s) { s.name = "../x"; }), HasSubstr("name '../x'"));
  EXPECT_THAT(error([](auto& s) { s.name = "-rf"; }), HasSubstr("name '-rf'"));
  EXPECT_THAT(error([](auto& s) { s.hostname = "a\nb"; }), HasSubstr("host name"));
  EXPECT_THAT(error([](auto& s) { s.ssh_keys = {"a\nb"}; }), HasSubstr("one line"));
  EXPECT_THAT(error([](auto& s) { s.env = {"=x"}; }), HasSubstr("NAME=VALUE"));
  EXPECT_THAT(error([](auto& s) { s.shares[0].guest = "/"; }), HasSubstr("absolute"));
  EXPECT_THAT(error([](auto& s) { s.shares[0].guest = "data"; }), HasSubstr("absolute"));
  EXPECT_THAT(error([](auto& s) { s.memory = 1; }), HasSubstr("memory"));
  EXPECT_THAT(error([](auto& s) { s.image.clear(); }), HasSubstr("no image"));
  EXPECT_THAT(MachineSpec::from_json(R"({"name":"a","image":"b","colour":1})").error().message(), HasSubstr("unknown key 'colour'"));
}

TEST_F(MachineTest, Shares) {
  EXPECT_EQ(*parse_share("/a/../b:/c:ro"), (MachineShare{"/b", "/c", true}));
  EXPECT_EQ(*parse_share("/a:/c"), (MachineShare{"/a", "/c", false}));
  EXPECT_EQ(parse_share("x:/c")->host, (std::filesystem::current_path() / "x").string());
  for (const char* bad : {"/a", "/a:", ":/a", "/a:b", "/a:/b:rx", "/a:/b:ro:x"}) EXPECT_FALSE(parse_share(bad)) << bad;
}

TEST_F(MachineTest, OneFolderEach) {
  const auto made = store_.create(full());
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_THAT(store_.create(full()).error().message(), HasSubstr("exists"));
  EXPECT_EQ(store_.find("web-1")->spec, full());
  EXPECT_EQ(store_.find("we")->spec, full());
  MachineSpec other = full();
  other.name = "web-2";
  ASSERT_TRUE(store_.create(other));
  EXPECT_THAT(store_.find("we").error().message(), HasSubstr("web-1, web-2"));
  EXPECT_FALSE(store_.find(".."));
  EXPECT_FALSE(store_.find("web-3"));
  std::ofstream(made->places.definition()) << "{";
  std::vector<std::string> unreadable;
  EXPECT_EQ(store_.list(&unreadable)->size(), 1u);
  EXPECT_EQ(unreadable.size(), 1u);
  EXPECT_TRUE(store_.remove(*made));
  EXPECT_EQ(store_.list()->size(), 1u);
}

// The lock goes on as long as any process has the descriptor, and no longer.
TEST_F(MachineTest, TheLockTellsTheTruth) {
  const auto machine = store_.create(full());
  ASSERT_TRUE(machine);
  EXPECT_FALSE(store_.running(*machine));
  auto held = store_.lock(*machine);
  ASSERT_TRUE(held) << held.error().message();
  EXPECT_TRUE(store_.running(*machine));
  EXPECT_THAT(store_.lock(*machine).error().message(), HasSubstr("runs already"));
  EXPECT_FALSE(store_.remove(*machine));
  auto gate = host::Fd::pipe();
  ASSERT_TRUE(gate);
  const pid_t child = ::fork();
  if (child == 0) {
    gate->second.reset();
    char byte;
    (void)!::read(gate->first.get(), &byte, 1);
    ::_exit(0);
  }
  held->reset();
  EXPECT_TRUE(store_.running(*machine)) << "the child has it still";
  gate->second.reset();
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(store_.running(*machine));
  EXPECT_TRUE(store_.remove(*machine));
}

TEST_F(MachineTest, WhatDoesNotRunTakesNoCommands) {
  const auto machine = store_.create(full());
  ASSERT_TRUE(machine);
  EXPECT_THAT(command_machine(*machine, {}).error().message(), HasSubstr("does not run"));
  EXPECT_THAT(stop_machine(store_, *machine, 1).error().message(), HasSubstr("does not run"));
}

TEST_F(MachineTest, FreshNames) {
  EXPECT_TRUE(store_.fresh_name("registry.example:5000/team/app:1.2").starts_with("app-"));
  EXPECT_TRUE(store_.fresh_name("debian").starts_with("debian-"));
  EXPECT_TRUE(proto::plain_name(store_.fresh_name("...")));
}

}  // namespace
}  // namespace nagaya::domain
