// Each step in a child process, which it changes for good.
#include "container/security/security.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "container/security/procfs.hpp"
#include "host/in_child.hpp"

namespace nagaya::container {
namespace {

using host::in_child;

std::string said(const Result<>& done) { return done ? "" : done.error().message(); }

std::string status_line(const char* name) {
  const auto bytes = host::read_file("/proc/self/status", 1 << 16);
  if (!bytes) return bytes.error().message();
  const std::string text(bytes->begin(), bytes->end());
  const std::size_t at = text.find(std::string("\n") + name + ":");
  if (at == std::string::npos) return "no such line";
  const std::size_t from = text.find('\t', at) + 1;
  return text.substr(from, text.find('\n', from) - from);
}

class AsRoot : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST(Limits, AreSetAndErrorsSayWhatIsMissing) {
  EXPECT_EQ(in_child([]() -> std::string {
    if (auto done = set_rlimits({{"RLIMIT_NOFILE", 64, 65}, {"RLIMIT_CORE", 0, 0}}); !done) return done.error().message();
    rlimit now{};
    ::getrlimit(RLIMIT_NOFILE, &now);
    return now.rlim_cur == 64 && now.rlim_max == 65 ? "" : "other limits";
  }),
            "");
  EXPECT_NE(in_child([] { return said(set_rlimits({{"RLIMIT_NOFILE", 65, 64}})); }).find("above the hard one"), std::string::npos);
  EXPECT_NE(in_child([] { return said(set_rlimits({{"RLIMIT_TEA", 1, 1}})); }).find("no limit"), std::string::npos);
}

TEST_F(AsRoot, LimitsAboveOursNeedACapability) {
  const std::string text = in_child([]() -> std::string {
    if (!set_rlimits({{"RLIMIT_NOFILE", 64, 64}})) return "cannot lower";
    if (!become_user({.uid = 65534, .gid = 65534}, {}, nullptr)) return "cannot become somebody else";
    return said(set_rlimits({{"RLIMIT_NOFILE", 64, 128}}));
  });
  EXPECT_NE(text.find("CAP_SYS_RESOURCE"), std::string::npos) << text;
  EXPECT_NE(text.find("from 64 to 128"), std::string::npos) << text;
}

TEST(Schedule, TakesPoliciesByName) {
  EXPECT_EQ(in_child([]() -> std::string {
    if (auto done = set_scheduler({.policy = "SCHED_BATCH", .nice = 5, .flags = {"SCHED_FLAG_RESET_ON_FORK"}}); !done) return done.error().message();
    return ::getpriority(PRIO_PROCESS, 0) == 5 ? "" : "another nice value";
  }),
            "");
  EXPECT_NE(said(set_scheduler({.policy = "SCHED_NICELY"})).find("no scheduler policy"), std::string::npos);
  EXPECT_NE(said(set_scheduler({.policy = "SCHED_OTHER", .flags = {"X"}})).find("no scheduler flag"), std::string::npos);
  EXPECT_EQ(in_child([]() -> std::string {
    if (auto done = set_io_priority({"IOPRIO_CLASS_BE", 6}); !done) return done.error().message();
    return ::syscall(SYS_ioprio_get, 1, 0) == (2 << 13 | 6) ? "" : "another I/O priority";
  }),
            "");
  EXPECT_FALSE(set_io_priority({"IOPRIO_CLASS_BE", 8}));
  EXPECT_FALSE(set_io_priority({"IOPRIO_CLASS_LAST", 0}));
}

TEST(Personality, IsOneOfTwo) {
  EXPECT_EQ(in_child([]() -> std::string {
    if (auto done = set_personality({.domain = "LINUX32"}); !done) return done.error().message();
    return ::personality(0xffffffff) == PER_LINUX32 ? "" : "another personality";
  }),
            "");
  EXPECT_FALSE(set_personality({.domain = "BSD"}));
  EXPECT_FALSE(set_personality({.domain = "LINUX", .flags = {"X"}}));
}

TEST(MemoryPolicy, TakesListsOfNodes) {
  const std::string set = in_child([] { return said(set_memory_policy({.mode = "MPOL_BIND", .nodes = "0"})); });
  EXPECT_TRUE(set.empty() || set.find(std::strerror(ENOSYS)) != std::string::npos) << set;
  for (const char* bad : {"0-", "a", "3-1", "1024", "0;1", "-1"}) {
    EXPECT_NE(said(set_memory_policy({.mode = "MPOL_BIND", .nodes = bad})).find("not a list"), std::string::npos) << bad;
  }
  EXPECT_FALSE(set_memory_policy({.mode = "MPOL_ALL", .nodes = "0"}));
}

TEST(Sysctl, OnlyOfNamespacesOfOnesOwn) {
  const std::vector<Namespace> all = {{NamespaceKind::ipc, ""}, {NamespaceKind::network, ""}, {NamespaceKind::uts, ""}};
  for (const char* key : {"kernel.core_pattern", "vm.overcommit_memory", "kernel/../vm/swappiness", "net/../kernel/core_pattern", "net..ipv4",
                          "fs.file-max", "kernel.shm_rmid_forcedx", "net.", "", "net/ipv4/../../kernel/core_pattern", "user.max_user_namespaces"}) {
    EXPECT_FALSE(set_sysctls({{key, "1"}}, all)) << key;
  }
  for (const char* key : {"net.ipv4.ip_forward", "kernel.shmmax", "fs.mqueue.msg_max", "kernel.hostname"}) {
    EXPECT_NE(said(set_sysctls({{key, "1"}}, {{NamespaceKind::mount, ""}})).find("would change the host"), std::string::npos) << key;
  }
}

TEST_F(AsRoot, SysctlsAreWrittenInTheirNamespaces) {
  if (!host::can_unshare(CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET)) GTEST_SKIP() << "needs the right to make namespaces";
  EXPECT_EQ(in_child([]() -> std::string {
    if (::unshare(CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) != 0) return "unshare";
    const std::vector<Namespace> own = {{NamespaceKind::ipc, ""}, {NamespaceKind::network, ""}, {NamespaceKind::uts, ""}};
    if (auto done = set_sysctls({{"kernel.msgmax", "4321"}, {"net.ipv4.ip_forward", "1"}, {"kernel/domainname", "example"}}, own); !done) return done.error().message();
    const auto text = host::read_file("/proc/sys/kernel/msgmax", 64);
    return text && std::string(text->begin(), text->end()) == "4321\n" ? "" : "it was not written";
  }),
            "");
}

// CVE-2019-16884, CVE-2025-52881: what looks like procfs is something else.
TEST_F(AsRoot, WritesToProcfsAreNotLedAway) {
  if (!host::can_unshare(CLONE_NEWNS)) GTEST_SKIP() << "needs the right to make namespaces";
  const auto with = [](const std::function<int()>& forge) {
    return in_child([&]() -> std::string {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "unshare";
      if (forge() != 0) return "cannot forge";
      return said(set_oom_score(500));
    });
  };
  EXPECT_NE(with([] { return ::mount("/dev/null", "/proc/self/oom_score_adj", nullptr, MS_BIND, nullptr); }).find("mounted over"), std::string::npos);
  EXPECT_NE(with([] { return ::mount("tmpfs", "/proc/self", "tmpfs", 0, nullptr); }).find("mounted over"), std::string::npos);
  EXPECT_EQ(in_child([]() -> std::string {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "unshare";
    if (::mount("tmpfs", "/proc", "tmpfs", 0, nullptr) != 0 || ::mkdir("/proc/self", 0755) != 0) return "cannot forge";
    if (::mknod("/proc/self/oom_score_adj", S_IFREG | 0644, 0) != 0) return "cannot forge";
    if (auto done = set_oom_score(500); !done) return done.error().message();
    const auto forged = host::read_file("/proc/self/oom_score_adj", 64);
    if (!forged || !forged->empty()) return "the forgery was written to";
    if (::umount2("/proc", MNT_DETACH) != 0) return "umount";
    const auto text = host::read_file("/proc/self/oom_score_adj", 64);
    return text && std::string(text->begin(), text->end()) == "500\n" ? "" : "the score was not written";
  }),
            "");
}

TEST_F(AsRoot, CapabilitiesAreExactlyThoseAsked) {
  EXPECT_EQ(in_child([]() -> std::string {
    Capabilities some;
    some.bounding = {"CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"};
    some.permitted = some.effective = {"CAP_CHOWN", "CAP_KILL"};
    some.inheritable = some.ambient = {"CAP_CHOWN"};
    if (auto done = drop_bounding_set(some); !done) return done.error().message();
    std::vector<std::string> missing;
    if (auto done = become_user({.uid = 1000, .gid = 1001, .umask = 027, .additional_gids = {7, 8}}, some, &missing); !done) return done.error().message();
    if (!missing.empty()) return "missing " + missing[0];
    if (status_line("CapBnd") != "0000000000002021") return "bounding " + status_line("CapBnd");
    if (status_line("CapPrm") != "0000000000000021" || status_line("CapEff") != status_line("CapPrm")) return "permitted";
    if (status_line("CapInh") != "0000000000000001" || status_line("CapAmb") != "0000000000000001") return "inheritable or ambient";
    if (status_line("Uid") != "1000\t1000\t1000\t1000" || status_line("Gid") != "1001\t1001\t1001\t1001") return "user";
    if (status_line("Groups") != "7 8 ") return "groups " + status_line("Groups");
    return ::umask(0) == 027 ? "" : "umask";
  }),
            "");
}

// CVE-2022-29162: inheritable ones only when asked for; nothing is left of root's.
TEST_F(AsRoot, NoCapabilitiesWhenNoneAreAsked) {
  EXPECT_EQ(in_child([]() -> std::string {
    if (auto done = drop_bounding_set({}); !done) return done.error().message();
    if (auto done = become_user({}, {}, nullptr); !done) return done.error().message();
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
      if (status_line(set) != "0000000000000000") return set;
    }
    return ::prctl(PR_GET_KEEPCAPS) == 0 ? "" : "kept";
  }),
            "");
}

TEST_F(AsRoot, CapabilitiesNobodyHasAreTold) {
  EXPECT_EQ(in_child([]() -> std::string {
    Capabilities some;
    some.bounding = some.permitted = {"CAP_CHOWN", "CAP_FLY"};
    some.ambient = {"CAP_KILL"};
    std::vector<std::string> missing;
    if (auto done = become_user({}, some, &missing); !done) return done.error().message();
    std::ranges::sort(missing);
    return missing == std::vector<std::string>{"CAP_FLY", "CAP_KILL"} ? "" : "others are missing";
  }),
            "");
  EXPECT_EQ(missing_capabilities({.bounding = {"CAP_CHOWN", "CAP_FLY"}, .ambient = {"CAP_FLY", "CAP_SWIM"}}),
            (std::vector<std::string>{"CAP_FLY", "CAP_SWIM"}));
  const auto known = known_capabilities();
  ASSERT_FALSE(known.empty());
  EXPECT_EQ(known.front(), "CAP_CHOWN");
  EXPECT_GE(known.size(), 38u);
}

TEST(UserNamespace, WithoutTheRightToDropGroups) {
  if (!host::can_unshare(CLONE_NEWUSER)) GTEST_SKIP() << "needs user namespaces";
  const auto enter = [] {
    const uid_t uid = ::geteuid();
    const gid_t gid = ::getegid();
    if (::unshare(CLONE_NEWUSER) != 0) return false;
    const auto put = [](const char* path, const std::string& text) {
      const host::Fd fd(::open(path, O_WRONLY | O_CLOEXEC));
      return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    };
    return put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1") &&
           put("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
  };
  EXPECT_EQ(in_child([&]() -> std::string { return enter() ? said(become_user({}, {}, nullptr)) : "cannot enter"; }), "");
  EXPECT_NE(in_child([&]() -> std::string { return enter() ? said(become_user({.additional_gids = {5}}, {}, nullptr)) : ""; }).find("forbids it"), std::string::npos);
  EXPECT_NE(in_child([&]() -> std::string { return enter() ? said(become_user({.uid = 77}, {}, nullptr)) : ""; }).find("no number in the user namespace"),
            std::string::npos);
}

TEST(Labels, NeedTheirModules) {
  if (!apparmor_enabled()) {
    EXPECT_NE(said(set_apparmor_profile("some")).find("no AppArmor"), std::string::npos);
    EXPECT_EQ(said(set_apparmor_profile("unconfined")), "");
  }
  if (!selinux_enabled()) {
    EXPECT_NE(said(set_selinux_label("a:b:c:d")).find("no SELinux"), std::string::npos);
  }
}

}  // namespace
}  // namespace nagaya::container
