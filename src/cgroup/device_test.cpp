#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <random>

#include "cgroup/device_rules.hpp"
#include "cgroup/file.hpp"

namespace nagaya::cgroup {
namespace {

using testing::HasSubstr;

DeviceRule rule(bool allow, char type, i64 major, i64 minor, const std::string& access) {
  DeviceRule out{.allow = allow, .type = type, .access = access};
  if (major >= 0) out.major = major;
  if (minor >= 0) out.minor = minor;
  return out;
}
const DeviceRule deny_all = rule(false, 'a', -1, -1, "rwm");
const DeviceRule allow_all = rule(true, 'a', -1, -1, "rwm");

/// Rules that speak of what a host has: nodes of major 1 (null, zero, full, …) and others.
std::vector<DeviceRule> random_rules(std::mt19937& random) {
  std::vector<DeviceRule> out;
  const char* accesses[] = {"r", "w", "m", "rw", "rm", "wm", "rwm", ""};
  const auto below = [&](unsigned n) { return static_cast<int>(random() % n); };
  if (below(4) != 0) out.push_back(below(3) != 0 ? deny_all : allow_all);
  for (int i = below(6) + 1; i > 0; --i) {
    const i64 majors[] = {-1, 1, 1, 1, 7}, minors[] = {-1, 3, 5, 7, 11};
    out.push_back(rule(below(2) == 0, "abccc"[below(5)], majors[below(5)], minors[below(5)], accesses[below(8)]));
  }
  return out;
}

/// Whether v1's list lets an access through, as security/device_cgroup.c decides.
bool list_allows(const DeviceList& list, char type, i64 major, i64 minor, u8 access) {
  for (const auto& [key, exception] : list.exceptions) {
    const auto& [t, ma, mi] = key;
    if (t != type || (ma != any_number && ma != major) || (mi != any_number && mi != minor)) continue;
    if (!list.allow && (access & ~exception.access) == 0) return true;
    if (list.allow && (access & exception.access) != 0) return false;
  }
  return list.allow;
}

TEST(DeviceRules, NoRulesNoLimit) { EXPECT_TRUE(plain_rules({}).value().empty()); }

TEST(DeviceRules, EveryContainerHasItsOwn) {
  const auto rules = plain_rules({deny_all}).value();
  EXPECT_TRUE(allowed(rules, 'c', 1, 3, access_read | access_write));
  EXPECT_TRUE(allowed(rules, 'c', 136, 77, access_read | access_write));
  EXPECT_TRUE(allowed(rules, 'b', 8, 0, access_mknod));
  EXPECT_FALSE(allowed(rules, 'b', 8, 0, access_read));
  EXPECT_FALSE(allowed(rules, 'c', 1, 1, access_read)) << "/dev/mem";
  EXPECT_FALSE(allowed(rules, 'c', 10, 229, access_read)) << "/dev/fuse";
}

TEST(DeviceRules, TheLastOneDecidesForEachKindOfAccess) {
  const auto rules = plain_rules({deny_all, rule(true, 'c', 10, -1, "rw"), rule(false, 'c', 10, 200, "w"),
                                  rule(true, 'c', 10, 229, "m")})
                         .value();
  EXPECT_TRUE(allowed(rules, 'c', 10, 1, access_read | access_write));
  EXPECT_TRUE(allowed(rules, 'c', 10, 200, access_read));
  EXPECT_FALSE(allowed(rules, 'c', 10, 200, access_read | access_write));
  EXPECT_TRUE(allowed(rules, 'c', 10, 229, access_all));
  EXPECT_FALSE(allowed(rules, 'b', 10, 1, access_read));
}

TEST(DeviceRules, NonsenseIsRefused) {
  EXPECT_FALSE(plain_rules({rule(true, 'x', 1, 3, "r")}));
  EXPECT_FALSE(plain_rules({rule(true, 'c', 1, 3, "rwx")}));
  EXPECT_FALSE(plain_rules({rule(true, 'c', 5000, 3, "r")}));
  EXPECT_FALSE(plain_rules({rule(true, 'c', 1, 1 << 20, "r")}));
  EXPECT_FALSE(plain_rules(std::vector<DeviceRule>(5000, deny_all)));
}

TEST(DeviceList, IsWhatTheRulesSay) {
  std::mt19937 random(7);
  int held = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto rules = random_rules(random);
    const auto plain = plain_rules(rules).value();
    const auto list = device_list(rules);
    if (!list) continue;  // a hole
    ++held;
    for (const char type : {'b', 'c'}) {
      for (const i64 major : {0, 1, 5, 7}) {
        for (const i64 minor : {0, 2, 3, 5, 7, 11}) {
          for (u8 access = 1; access <= access_all; ++access) {
            ASSERT_EQ(list_allows(*list, type, major, minor, access), allowed(plain, type, major, minor, access))
                << fmt::format("round {}: {} {}:{} access {}", round, type, major, minor, access);
          }
        }
      }
    }
  }
  EXPECT_GT(held, 500);
}

TEST(DeviceList, AHoleIsRefused) {
  const auto list = device_list({deny_all, rule(true, 'c', 10, -1, "rw"), rule(false, 'c', 10, 200, "w")});
  ASSERT_FALSE(list);
  EXPECT_THAT(list.error().message(), HasSubstr("10:200"));
}

TEST(DeviceList, OfPrivilegedContainersIsOneWrite) {
  EXPECT_THAT(device_writes(device_list({deny_all, allow_all}).value()),
              testing::ElementsAre(Write{.file = "devices.allow", .value = "a", .may_refuse = true}));
}

/// Opens and makes nodes as a member of real groups; every access is compared with the model.
class DeviceGroup : public testing::Test {
 protected:
  /// What a child in the group may do, by a letter each, in the order of `accesses`.
  static std::string tried(const std::string& folder, const std::string& scratch) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      std::string out;
      if (put(folder, "cgroup.procs", "0") != 0) ::_exit(1);
      for (const auto& [minor, name] : nodes) {
        for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
          const int fd = ::open((scratch + "/" + name).c_str(), flags | O_CLOEXEC);
          out += fd >= 0 ? 'y' : errno == EPERM ? 'n' : '?';
          if (fd >= 0) ::close(fd);
        }
        const std::string fresh = scratch + "/fresh";
        const int made = ::mknod(fresh.c_str(), S_IFCHR | 0600, ::makedev(1, static_cast<unsigned>(minor)));
        out += made == 0 ? 'y' : errno == EPERM ? 'n' : '?';
        ::unlink(fresh.c_str());
      }
      [[maybe_unused]] const auto done = ::write(ends[1], out.data(), out.size());
      ::_exit(0);
    }
    ::close(ends[1]);
    std::string out(64, ' ');
    const ssize_t got = ::read(ends[0], out.data(), out.size());
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    ::close(ends[0]);
    ::waitpid(pid, nullptr, 0);
    return out;
  }
  static std::string expected(const std::vector<PlainRule>& rules) {
    std::string out;
    for (const auto& [minor, name] : nodes) {
      for (const u8 access : {u8{access_read}, u8{access_write}, u8{access_read | access_write}, u8{access_mknod}})
        out += allowed(rules, 'c', 1, minor, access) ? 'y' : 'n';
    }
    return out;
  }
  void SetUp() override {
    const auto layout = read_layout();
    if (::getuid() != 0 || !layout) GTEST_SKIP() << "needs root";
    layout_ = *layout;
    char name[] = "/dev/shm/nagaya-devices-XXXXXX";
    if (::mkdtemp(name) == nullptr) GTEST_SKIP() << "no place for nodes";
    scratch_ = name;
    for (const auto& [minor, node] : nodes) {
      if (::mknod((scratch_ + "/" + node).c_str(), S_IFCHR | 0600, ::makedev(1, static_cast<unsigned>(minor))) != 0)
        GTEST_SKIP() << "no node can be made here";
      const int fd = ::open((scratch_ + "/" + node).c_str(), O_RDWR | O_CLOEXEC);
      if (fd < 0) GTEST_SKIP() << "nodes cannot be opened here";
      ::close(fd);
    }
  }
  void TearDown() override {
    if (!folder_.empty()) ::rmdir(folder_.c_str());
    if (!scratch_.empty()) std::filesystem::remove_all(scratch_);
  }
  bool make(const Hierarchy* hierarchy) {
    if (hierarchy == nullptr || !hierarchy->writable) return false;
    folder_ = fmt::format("{}/nagaya-devices-{}", hierarchy->mount_point, ::getpid());
    return ::mkdir(folder_.c_str(), 0755) == 0;
  }

  static constexpr std::pair<i64, const char*> nodes[] = {{3, "null"}, {5, "zero"}, {7, "full"}, {11, "kmsg"}};
  Layout layout_;
  std::string scratch_, folder_;
};

TEST_F(DeviceGroup, TheListOfV1) {
  const Hierarchy* devices = layout_.find("devices");
  if (!make(devices)) GTEST_SKIP() << "no v1 hierarchy of devices";
  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {
    const auto rules = random_rules(random);
    const auto list = device_list(rules);
    if (!list) continue;
    const auto set = carry_out(folder_, device_writes(*list));
    ASSERT_TRUE(set) << set.error().message();
    ASSERT_EQ(tried(folder_, scratch_), expected(plain_rules(rules).value())) << round;
  }
}

TEST_F(DeviceGroup, TheProgramOfV2) {
  const Hierarchy* v2 = nullptr;
  for (const auto& hierarchy : layout_.hierarchies) {
    if (hierarchy.v2) v2 = &hierarchy;
  }
  if (!make(v2)) GTEST_SKIP() << "no cgroup v2";
  std::mt19937 random(13);
  for (int round = 0; round < 60; ++round) {
    const auto rules = plain_rules(random_rules(random)).value();
    const auto attached = attach_device_program(folder_, rules);  // replaces the one before
    if (!attached && attached.error().code == EPERM) GTEST_SKIP() << attached.error().message();
    ASSERT_TRUE(attached) << attached.error().message();
    ASSERT_EQ(tried(folder_, scratch_), expected(rules)) << round;
  }
  const auto all = plain_rules(std::vector<DeviceRule>(4096, rule(false, 'c', 200, 7, "r"))).value();
  const auto attached = attach_device_program(folder_, all);
  EXPECT_TRUE(attached) << attached.error().message();
}

}  // namespace
}  // namespace nagaya::cgroup
