// Names, records, folders and process identities: what survives a kill must be read back as it was.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "container/channel.hpp"
#include "container/environment.hpp"
#include "container/folder.hpp"
#include "container/gate.hpp"
#include "container/hooks.hpp"
#include "container/id.hpp"
#include "container/process_id.hpp"
#include "container/record.hpp"
#include "container/status.hpp"
#include "container/warning.hpp"

namespace nagaya::container {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ContainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path().string() + "/container.XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root = name;
  }
  void TearDown() override { fs::remove_all(root); }
  std::string root;
};

TEST(ContainerId, WhatIsAllowed) {
  for (const char* id : {"a", "A-9_x+y.z", "...", "-"}) EXPECT_TRUE(check_id(id)) << id;
  for (const char* id : {"", ".", "..", "a/b", "/", "a b", "a\n", "\xc3\xa9"}) EXPECT_FALSE(check_id(id)) << id;
  EXPECT_TRUE(check_id(std::string(1024, 'a')));
  EXPECT_FALSE(check_id(std::string(1025, 'a')));
  EXPECT_FALSE(check_id(std::string_view("a\0b", 3)));
}

TEST(ContainerRecord, ReadsBackWhatItWrote) {
  Record record;
  record.phase = Record::Phase::created;
  record.id = "c";
  record.process = {42, 4242};
  record.bundle = "/b \"quoted\"\n";
  record.annotations = {{"key", "value"}};
  record.cgroup = {"/x", cgroup::Manager::systemd, true};
  record.cgroup_saved = "several\nlines";
  record.namespaces = {NamespaceKind::pid, NamespaceKind::time};
  record.terminal = true;
  const auto back = parse_record(write_record(record));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->phase, record.phase);
  EXPECT_EQ(back->process, record.process);
  EXPECT_EQ(back->bundle, record.bundle);
  EXPECT_EQ(back->annotations, record.annotations);
  EXPECT_EQ(back->cgroup.path, "/x");
  EXPECT_EQ(back->cgroup.manager, cgroup::Manager::systemd);
  EXPECT_TRUE(back->cgroup.optional);
  EXPECT_EQ(back->cgroup_saved, record.cgroup_saved);
  EXPECT_EQ(back->namespaces, record.namespaces);
  EXPECT_TRUE(back->terminal);
}

TEST(ContainerRecord, DamagedOnesAreErrorsOrEmpty) {
  for (const char* text : {"", "{", "[]", "5", "\"x\"", "null"}) EXPECT_FALSE(parse_record(text)) << text;
  const auto wrong =
      parse_record(R"({"pid":"x","cgroup":[],"annotations":5,"namespaces":{"a":1},"phase":7,"id":null})");
  ASSERT_TRUE(wrong);
  EXPECT_EQ(wrong->process.pid, 0);
  EXPECT_EQ(wrong->phase, Record::Phase::creating) << "what is not known to be complete is cleaned up";
}

TEST_F(ContainerTest, ClaimIsExclusive) {
  bool leftover = true;
  auto first = Folder::claim(root + "/deep/er", "c", &leftover);
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_FALSE(leftover);
  EXPECT_TRUE(first->busy());
  const auto second = Folder::claim(root + "/deep/er", "c", &leftover);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EEXIST);
  ASSERT_TRUE(first->remove());
  EXPECT_FALSE(fs::exists(root + "/deep/er/c"));
}

TEST_F(ContainerTest, WhatAKilledCreationLeftCanBeClaimed) {
  bool leftover = false;
  Record record;
  record.id = "c";
  record.cgroup_saved = "intended";
  {
    auto dead = Folder::claim(root, "c", &leftover);
    ASSERT_TRUE(dead);
    ASSERT_TRUE(dead->save(record));
  }  // its process is gone, and with it the lock
  auto again = Folder::claim(root, "c", &leftover);
  ASSERT_TRUE(again);
  EXPECT_TRUE(leftover);
  EXPECT_EQ(again->load()->cgroup_saved, "intended");
  record.phase = Record::Phase::created;
  ASSERT_TRUE(again->save(record));
  again->forget();
  EXPECT_FALSE(Folder::claim(root, "c", &leftover)) << "a complete one is nobody's to take";
  fs::create_directory(root + "/empty");
  EXPECT_TRUE(Folder::claim(root, "empty", &leftover));
  EXPECT_TRUE(leftover);
}

TEST_F(ContainerTest, StatusOfRecords) {
  bool leftover = false;
  auto folder = Folder::claim(root, "c", &leftover);
  ASSERT_TRUE(folder);
  Record record;
  record.id = "c";
  EXPECT_EQ(status_of(*folder, record, false), Status::creating) << "somebody holds the lock";
  EXPECT_EQ(status_of(*folder, record, true), Status::stopped) << "the caller does: its maker is dead";
  record.phase = Record::Phase::created;
  record.process = *identify(::getpid());
  EXPECT_EQ(status_of(*folder, record, true), Status::running);
  {
    const auto gate = make_gate(*folder);
    ASSERT_TRUE(gate) << gate.error().message();
    EXPECT_EQ(status_of(*folder, record, true), Status::created) << "somebody listens at the gate";
  }
  EXPECT_EQ(status_of(*folder, record, true), Status::running);
  record.process.start += 1;
  EXPECT_EQ(status_of(*folder, record, true), Status::stopped) << "another process has the number";
}

TEST_F(ContainerTest, ListLeavesOutWhatIsNone) {
  EXPECT_TRUE(list(root + "/nowhere")->empty());
  fs::create_directory(root + "/empty");
  fs::create_directory(root + "/bad name");
  bool leftover = false;
  auto folder = Folder::claim(root, "c", &leftover);
  Record record;
  record.id = "c";
  ASSERT_TRUE(folder->save(record));
  const auto all = list(root);
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 1u);
  EXPECT_EQ((*all)[0].id, "c");
  EXPECT_FALSE(state(root, "empty"));
  EXPECT_EQ(state(root, "nosuch").error().code, ENOENT);
}

TEST(ContainerProcess, ZombiesAreDead) {
  const pid_t child = ::fork();
  if (child == 0) ::pause();
  const auto identity = identify(child);
  ASSERT_TRUE(identity);
  EXPECT_TRUE(alive(*identity));
  EXPECT_TRUE(open_process(*identity));
  ::kill(child, SIGKILL);
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_FALSE(alive(*identity)) << "a zombie does not run";
  EXPECT_FALSE(open_process(*identity));
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(alive(*identity));
  EXPECT_FALSE(identify(child));
  EXPECT_FALSE(identify(0));
  EXPECT_FALSE(identify(-1));
}

TEST(ContainerChannel, ErrorsCrossIt) {
  auto ends = channel();
  ASSERT_TRUE(ends);
  send_error(ends->first.get(), Error{"what", "why", "hint", 7});
  const auto error = receive(ends->second.get());
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().message(), "what: why (hint)");
  EXPECT_EQ(error.error().code, 7);
  ASSERT_TRUE(send(ends->first.get(), Word::pid, "12"));
  EXPECT_EQ(*expect(ends->second.get(), Word::pid, "x"), "12");
  ASSERT_TRUE(send(ends->first.get(), Word::go));
  EXPECT_FALSE(expect(ends->second.get(), Word::ready, "x"));
  ends->first.reset();
  EXPECT_FALSE((*receive(ends->second.get())).has_value());
  EXPECT_FALSE(send(ends->second.get(), Word::go)) << "a dead peer is an error and no signal";
}

TEST_F(ContainerTest, ProgramsAreFoundAsExecvpDoes) {
  fs::create_directories(root + "/one");
  fs::create_directories(root + "/two/name");
  const auto make = [this](const std::string& name, unsigned mode) {
    ::close(::open((root + "/" + name).c_str(), O_CREAT | O_WRONLY, 0600));
    ::chmod((root + "/" + name).c_str(), mode);
  };
  make("one/plain", 0644);
  make("one/tool", 0755);
  const std::vector<std::string> env{"PATH=" + root + "/two:" + root + "/one"};
  EXPECT_EQ(*find_program("tool", env), root + "/one/tool");
  EXPECT_EQ(start_status(find_program("nosuch", env).error()), 127);
  EXPECT_EQ(start_status(find_program("", env).error()), 127);
  EXPECT_EQ(start_status(find_program("plain", env).error()), 126);
  EXPECT_EQ(start_status(find_program("name", env).error()), 126) << "a folder";
  EXPECT_EQ(start_status(find_program(root + "/one/plain", env).error()), 126);
  EXPECT_THAT(find_program("nosuch", env).error().message(), HasSubstr("not found in $PATH"));
  EXPECT_EQ(start_status(Error{"another"}), 125);
}

std::string last_warning;

TEST_F(ContainerTest, HooksFailAloudOrAsWarnings) {
  const Hook good{"/bin/sh", {"sh", "-c", "cat >" + root + "/in"}, {"PATH=/bin:/usr/bin"}, {}};
  const Hook bad{"/bin/false", {}, {}, {}};
  const std::string large(100'000, 'x');
  ASSERT_TRUE(run_hooks({good}, "prestart", large));
  EXPECT_EQ(fs::file_size(root + "/in"), large.size());
  const auto failed = run_hooks({bad, good}, "prestart", "");
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().message(), HasSubstr("prestart hook: '/bin/false' failed"));
  EXPECT_EQ(fs::file_size(root + "/in"), large.size()) << "nothing runs after a failure";
  set_warning_sink([](const std::string& text) { last_warning = text; });
  run_late_hooks({bad, good}, "poststop", "y");
  set_warning_sink(nullptr);
  EXPECT_THAT(last_warning, HasSubstr("poststop hook"));
  EXPECT_EQ(fs::file_size(root + "/in"), 1u);
  EXPECT_FALSE(run_hooks({{"/nosuch", {}, {}, {}}}, "prestart", ""));
}

}  // namespace
}  // namespace nagaya::container
