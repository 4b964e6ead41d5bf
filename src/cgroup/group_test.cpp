// Real groups, on whatever hierarchies this host has.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <thread>

#include "cgroup/cgroup.hpp"
#include "cgroup/file.hpp"

namespace nagaya::cgroup {
namespace {

namespace fs = std::filesystem;

/// A process that does `work` and is gone at the end of the scope.
class Child {
 public:
  explicit Child(const std::function<void()>& work) : pid_(::fork()) {
    if (pid_ == 0) {
      work();
      ::_exit(0);
    }
  }
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      wait();
    }
  }
  int wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

void sleep_on() {
  while (true) ::pause();
}

class RealGroup : public testing::Test {
 protected:
  void SetUp() override {
    auto layout = read_layout();
    ASSERT_TRUE(layout) << layout.error().message();
    layout_ = *layout;
    const Hierarchy* pids = layout_.find("pids");
    if (::getuid() != 0 || pids == nullptr || !pids->writable || ::access(pids->mount_point.c_str(), W_OK) != 0)
      GTEST_SKIP() << "this host lets us make no cgroups";
    static std::atomic<int> count = 0;
    place_.path = fmt::format("/nagaya-test-{}/{}", ::getpid(), ++count);
  }
  void TearDown() override {
    for (const auto& hierarchy : layout_.hierarchies) {
      const fs::path top = hierarchy.mount_point + fmt::format("/nagaya-test-{}", ::getpid());
      std::error_code ignored;
      if (fs::exists(top, ignored)) ::rmdir(top.c_str());
    }
  }
  Group make(const Resources& resources) {
    auto made = Group::create(layout_, place_, resources);
    if (!made) throw std::runtime_error(made.error().message());
    return *made;
  }
  [[nodiscard]] bool v1(std::string_view controller) const {
    const auto* hierarchy = layout_.find(controller);
    return hierarchy != nullptr && !hierarchy->v2;
  }
  static std::string text(const Group& group, std::string_view controller, std::string_view file) {
    auto value = get(group.folder(controller), file);
    return value ? value->substr(0, value->find_last_not_of('\n') + 1) : value.error().message();
  }

  Layout layout_;
  Place place_;
};

TEST_F(RealGroup, IsMadeJoinedListedAndRemoved) {
  const Group group = make({});
  Child child(sleep_on);
  ASSERT_TRUE(group.add(child.pid()));
  EXPECT_THAT(group.processes().value(), testing::ElementsAre(child.pid()));
  auto other = Group::plan(layout_, place_);
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().message(), testing::HasSubstr("has processes"));
  ASSERT_TRUE(group.kill_all(SIGKILL));
  EXPECT_TRUE(WIFSIGNALED(child.wait()));
  ASSERT_TRUE(group.remove());
  for (const auto& hierarchy : layout_.hierarchies) EXPECT_FALSE(fs::exists(hierarchy.mount_point + place_.path));
  EXPECT_TRUE(group.remove()) << "removing what is gone is no error";
  EXPECT_TRUE(group.processes().value().empty());
}

TEST_F(RealGroup, TheCallerJoinsItself) {
  const Group group = make({});
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  Child child([&] {
    const char good = group.add(0) ? 'y' : 'n';
    [[maybe_unused]] const auto done = ::write(ends[1], &good, 1);
    sleep_on();
  });
  char good = 0;
  ASSERT_EQ(::read(ends[0], &good, 1), 1);
  EXPECT_EQ(good, 'y');
  EXPECT_THAT(group.processes().value(), testing::ElementsAre(child.pid()));
  ::close(ends[0]);
  ::close(ends[1]);
  ASSERT_TRUE(group.kill_all(SIGKILL));
  ASSERT_TRUE(group.remove());
}

TEST_F(RealGroup, LimitsAreWrittenAndChangeBothWays) {
  if (!v1("memory") || !v1("cpu")) GTEST_SKIP() << "looks at files of cgroup v1";
  Resources resources;
  resources.memory.emplace();
  resources.memory->limit = 64 << 20;
  resources.memory->swap = 96 << 20;
  resources.memory->reservation = 32 << 20;
  resources.memory->swappiness = 10;
  resources.cpu.emplace();
  resources.cpu->shares = 300;
  resources.cpu->period = 50000;
  resources.cpu->quota = 25000;
  resources.cpu->burst = 5000;
  resources.pids_limit = 17;
  const Group group = make(resources);
  EXPECT_EQ(text(group, "memory", "memory.limit_in_bytes"), "67108864");
  EXPECT_EQ(text(group, "memory", "memory.memsw.limit_in_bytes"), "100663296");
  EXPECT_EQ(text(group, "memory", "memory.soft_limit_in_bytes"), "33554432");
  EXPECT_EQ(text(group, "memory", "memory.swappiness"), "10");
  EXPECT_EQ(text(group, "cpu", "cpu.shares"), "300");
  EXPECT_EQ(text(group, "cpu", "cpu.cfs_quota_us"), "25000");
  EXPECT_EQ(text(group, "cpu", "cpu.cfs_period_us"), "50000");
  EXPECT_EQ(text(group, "cpu", "cpu.cfs_burst_us"), "5000");
  EXPECT_EQ(text(group, "pids", "pids.max"), "17");

  const auto change = [&](i64 limit, i64 swap, i64 quota, u64 period, u64 burst) {
    Resources next;
    next.memory.emplace();
    next.memory->limit = limit;
    next.memory->swap = swap;
    next.cpu.emplace();
    next.cpu->quota = quota;
    next.cpu->period = period;
    next.cpu->burst = burst;
    auto set = group.set(next);
    ASSERT_TRUE(set) << set.error().message();
    EXPECT_EQ(text(group, "memory", "memory.limit_in_bytes"), std::to_string(limit));
    EXPECT_EQ(text(group, "memory", "memory.memsw.limit_in_bytes"), std::to_string(swap));
    EXPECT_EQ(text(group, "cpu", "cpu.cfs_burst_us"), std::to_string(burst));
  };
  change(256 << 20, 256 << 20, 100000, 100000, 60000);  // the new limit is above the old limit of both
  change(16 << 20, 32 << 20, 10000, 20000, 1000);       // the new limit of both is below the old limit
  Resources none;
  none.memory.emplace();
  none.memory->limit = -1;
  none.pids_limit = -1;
  ASSERT_TRUE(group.set(none));
  EXPECT_EQ(group.stats().value().memory_limit, ~u64{0});
  EXPECT_EQ(group.stats().value().pids_limit, ~u64{0});
  ASSERT_TRUE(group.remove());
}

TEST_F(RealGroup, AFailureLeavesNothing) {
  Resources resources;
  resources.pids_limit = 5;
  resources.cpu.emplace();
  resources.cpu->cpus = "4000-4001";
  auto made = Group::create(layout_, place_, resources);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message(), testing::HasSubstr("cpuset"));
  for (const auto& hierarchy : layout_.hierarchies)
    EXPECT_FALSE(fs::exists(fs::path(hierarchy.mount_point + place_.path).parent_path()));
}

TEST_F(RealGroup, AMissingControllerIsNamed) {
  if (layout_.find("net_cls") != nullptr) GTEST_SKIP() << "this host has net_cls";
  Resources resources;
  resources.net_class_id = 7;
  auto made = Group::create(layout_, place_, resources);
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message(), testing::HasSubstr("'net_cls'"));
}

TEST_F(RealGroup, ALimitThatComesLaterJoinsItsHierarchy) {
  const Group group = make({});
  Child child(sleep_on);
  ASSERT_TRUE(group.add(child.pid()));
  Resources later;
  later.cpu.emplace();
  later.cpu->cpus = "0";
  auto set = group.set(later);
  ASSERT_TRUE(set) << set.error().message();
  EXPECT_EQ(text(group, "cpuset", "cpuset.cpus"), "0");
  EXPECT_EQ(text(group, "cpuset", "cgroup.procs"), std::to_string(child.pid()));
  // What was saved before the change finds it.
  const Group again = Group::open(layout_, group.saved()).value();
  EXPECT_EQ(again.saved(), group.saved());
  ASSERT_TRUE(again.kill_all(SIGKILL));
  ASSERT_TRUE(again.remove());
  for (const auto& hierarchy : layout_.hierarchies)
    EXPECT_FALSE(fs::exists(hierarchy.mount_point + place_.path)) << hierarchy.mount_point;
}

TEST_F(RealGroup, AWholeSystemJoinsEveryHierarchy) {
  place_.all = true;
  const Group group = make({});
  for (const auto& hierarchy : layout_.hierarchies) {
    if (hierarchy.writable) {
      EXPECT_TRUE(fs::exists(hierarchy.mount_point + place_.path)) << hierarchy.mount_point;
    }
  }
  ASSERT_TRUE(group.remove());
}

TEST_F(RealGroup, FreezeStopsAndThawGoesOn) {
  const Group group = make({});
  auto* counter =
      static_cast<std::atomic<u64>*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  Child child([&] {
    while (true) counter->fetch_add(1);
  });
  ASSERT_TRUE(group.add(child.pid()));
  const auto moves = [&] {
    const u64 before = *counter;
    for (int i = 0; i < 100 && *counter == before; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return *counter != before;
  };
  EXPECT_TRUE(moves());
  ASSERT_TRUE(group.freeze());
  EXPECT_TRUE(group.frozen());
  const u64 before = *counter;
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(*counter, before);
  ASSERT_TRUE(group.thaw());
  EXPECT_FALSE(group.frozen());
  EXPECT_TRUE(moves());
  ASSERT_TRUE(group.freeze());
  ASSERT_TRUE(group.kill_all(SIGKILL)) << "a frozen group is killed, too";
  child.wait();
  ASSERT_TRUE(group.remove());
  ::munmap(counter, 4096);
}

TEST_F(RealGroup, KillEndsAProcessThatForksWithoutEnd) {
  Resources resources;
  resources.pids_limit = 40;
  const Group group = make(resources);
  Child child([&] {
    ::signal(SIGCHLD, SIG_IGN);
    if (!group.add(0)) ::_exit(1);
    while (true) {  // parents end, children go on: no list of processes is ever complete
      if (::fork() > 0) ::_exit(0);
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  auto killed = group.kill_all(SIGKILL);
  ASSERT_TRUE(killed) << killed.error().message();
  ASSERT_TRUE(group.remove());
}

TEST_F(RealGroup, NestedGroupsAreListedKilledAndRemoved) {
  const Group group = make({});
  const std::string folder = group.folder("pids");
  ASSERT_EQ(::mkdir((folder + "/a").c_str(), 0755), 0);
  ASSERT_EQ(::mkdir((folder + "/a/b").c_str(), 0755), 0);
  Child child(sleep_on);
  if (v1("pids")) {
    ASSERT_EQ(put(folder + "/a/b", "cgroup.procs", std::to_string(child.pid())), 0);
    EXPECT_THAT(group.processes().value(), testing::ElementsAre(child.pid()));
    ASSERT_TRUE(group.kill_all(SIGKILL));
    child.wait();
  }
  ASSERT_TRUE(group.remove());
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(RealGroup, MemoryThatRunsOutIsToldAndCounted) {
  if (layout_.find("memory") == nullptr) GTEST_SKIP() << "no memory controller";
  Resources resources;
  resources.memory.emplace();
  resources.memory->limit = 8 << 20;
  resources.memory->swap = 8 << 20;
  const Group group = make(resources);
  auto watch = group.oom_watch();
  ASSERT_TRUE(watch) << watch.error().message();
  ASSERT_TRUE(*watch);
  Child child([&] {
    if (!group.add(0)) ::_exit(1);
    auto* memory = static_cast<volatile char*>(
        ::mmap(nullptr, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < (64 << 20); i += 4096) memory[i] = 1;
  });
  const int status = child.wait();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  pollfd event{watch->get(), POLLIN, 0};
  EXPECT_EQ(::poll(&event, 1, 5000), 1);
  const auto stats = group.stats().value();
  EXPECT_GE(stats.oom_kills, 1u);
  EXPECT_EQ(stats.memory_limit, u64{8 << 20});
  EXPECT_LE(stats.memory_peak, u64{8 << 20});
  ASSERT_TRUE(group.remove());
}

TEST_F(RealGroup, CheckBeforeUpdateRefusesWhatWouldEndProcesses) {
  if (layout_.find("memory") == nullptr) GTEST_SKIP() << "no memory controller";
  const Group group = make({});
  Child child([&] {
    if (!group.add(0)) ::_exit(1);
    auto* memory = static_cast<volatile char*>(
        ::mmap(nullptr, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (int i = 0; i < (16 << 20); i += 4096) memory[i] = 1;
    sleep_on();
  });
  for (int i = 0; i < 500 && group.stats().value().memory < (12u << 20); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  Resources less;
  less.memory.emplace();
  less.memory->limit = 4 << 20;
  less.memory->check_before_update = true;
  auto set = group.set(less);
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().message(), testing::HasSubstr("uses"));
  ASSERT_TRUE(group.kill_all(SIGKILL));
  ASSERT_TRUE(group.remove());
}

TEST_F(RealGroup, StatsCountCpuAndPids) {
  const Group group = make({});
  Child child([&] {
    if (!group.add(0)) ::_exit(1);
    while (true) {
    }
  });
  for (int i = 0; i < 500 && group.stats().value().cpu_user_ns < 50'000'000; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const auto stats = group.stats().value();
  EXPECT_GE(stats.cpu_user_ns, 50'000'000u);
  EXPECT_GE(stats.cpu_ns, stats.cpu_user_ns / 2);
  EXPECT_EQ(stats.pids, 1u);
  ASSERT_TRUE(group.kill_all(SIGKILL));
  ASSERT_TRUE(group.remove());
}

TEST(Saved, NonsenseIsRefused) {
  const Layout layout;
  for (const char* bad :
       {"files 0 /x\n1 14 pids /sys/fs/cgroup", "files 0 /x\n1 0 pids /a", "files 0 /x\n1 5 pids /a/../../../etc",
        "files 0 /x\n1 99999 pids /a/b", "files 0 /x\n1 2 pids relative", "files 0 /x\n\n",
        "files 0 /x\n1 19 pids /sys/fs/cgroup/pids"}) {
    EXPECT_FALSE(Group::open(layout, bad)) << bad;
  }
  EXPECT_TRUE(Group::open(layout, "files 0 /x\n1 19 pids /sys/fs/cgroup/pids/x"));
}

}  // namespace
}  // namespace nagaya::cgroup
