// exec: a further process gets the container's namespaces, cgroup and limits of rights, and its own status comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;

class OciExec : public ::testing::Test {
 protected:
  void start(Bundle& b) {
    b.script("sleep 1000");
    b.write_config();
    const Outcome outcome = b.oci({"run", "-d", "-b", b.path, "c"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  }
};

TEST_F(OciExec, SameNamespacesAndCgroups) {
  NEEDS_CONTAINERS();
  for (const bool user : {false, true}) {
    Bundle b;
    if (user) b.with_user_namespace();
    b.add_namespace("time");
    start(b);
    const Outcome outcome = b.oci({"exec", "c", "sh", "-c",
                                   "for n in cgroup ipc mnt net pid time user uts; do [ $(readlink /proc/1/ns/$n) = "
                                   "$(readlink /proc/self/ns/$n) ] || echo other $n; done; id -u"});
    EXPECT_EQ(outcome.out, "0\n") << outcome.err;
    const std::string pid = std::to_string(b.state("c")["pid"].get<int>());
    ASSERT_EQ(b.oci({"exec", "-d", "--pid-file", b.path + "/pid", "c", "sleep", "1000"}).code, 0);
    EXPECT_EQ(run_program({"cmp", "/proc/" + pid + "/cgroup", "/proc/" + b.read("pid") + "/cgroup"}).code, 0);
  }
}

TEST_F(OciExec, StatusOutputAndErrors) {
  NEEDS_CONTAINERS();
  Bundle b;
  start(b);
  const Outcome outcome = b.oci({"exec", "c", "sh", "-c", "echo out; echo err >&2; cat; exit 42"}, "in\n");
  EXPECT_EQ(outcome.code, 42);
  EXPECT_EQ(outcome.out, "out\nin\n");
  EXPECT_EQ(outcome.err, "err\n");
  EXPECT_EQ(b.oci({"exec", "c", "sh", "-c", "kill -9 $$"}).code, 137);
  EXPECT_EQ(b.oci({"exec", "c", "nosuch"}).code, 127);
  EXPECT_EQ(b.oci({"exec", "c", "/etc/passwd"}).code, 126);
  EXPECT_EQ(b.oci({"exec", "--cwd", "/nowhere/at/all", "c", "true"}).code, 125) << "the root is read-only";
  EXPECT_EQ(b.oci({"exec", "none", "true"}).code, 125);
}

TEST_F(OciExec, Options) {
  NEEDS_CONTAINERS();
  Bundle b;
  start(b);
  EXPECT_EQ(b.oci({"exec", "-e", "A=1", "--env=B=2", "-u", "1000:7", "--cwd", "/tmp", "c", "sh", "-c",
                   "echo $A $B $(id -u) $(id -g) $(pwd) $HOME"})
                .out,
            "1 2 1000 7 /tmp /home/user\n");
  EXPECT_THAT(b.oci({"exec", "--cap", "CAP_NET_RAW", "c", "grep", "CapEff", "/proc/self/status"}).out,
              HasSubstr("0000000020002420"));
  EXPECT_THAT(b.oci({"exec", "--no-new-privs", "c", "grep", "NoNew", "/proc/self/status"}).out, HasSubstr("1"));
  EXPECT_EQ(b.oci({"exec", "-u", "name", "c", "true"}).code, 125) << "names are the engine's matter";
}

TEST_F(OciExec, ProcessFile) {
  NEEDS_CONTAINERS();
  Bundle b;
  start(b);
  Json process = {{"args", {"sh", "-c", "echo $V; pwd; ulimit -n; grep CapEff /proc/self/status"}},
                  {"env", {"PATH=/bin", "V=v"}},
                  {"cwd", "/tmp"},
                  {"user", {{"uid", 0}, {"gid", 0}}},
                  {"rlimits", {{{"type", "RLIMIT_NOFILE"}, {"soft", 99}, {"hard", 99}}}}};
  b.write("process.json", process.dump());
  EXPECT_EQ(b.oci({"exec", "--process", b.path + "/process.json", "c"}).out,
            "v\n/tmp\n99\nCapEff:\t0000000000000000\n");
  b.write("process.json", "{\"args\":5}");
  EXPECT_EQ(b.oci({"exec", "-p", b.path + "/process.json", "c"}).code, 125);
}

TEST_F(OciExec, InACreatedContainerAndNotInAStoppedOne) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("true");
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0);
  EXPECT_EQ(b.oci({"exec", "c", "sh", "-c", "echo here"}).out, "here\n");
  EXPECT_EQ(b.state("c")["status"], "created");
  ASSERT_EQ(b.oci({"start", "c"}).code, 0);
  ASSERT_TRUE(b.wait_status("c", "stopped"));
  EXPECT_THAT(b.oci({"exec", "c", "true"}).err, HasSubstr("stopped"));
}

TEST_F(OciExec, PreservedDescriptors) {
  NEEDS_CONTAINERS();
  Bundle b;
  start(b);
  b.write("secret", "secret\n");
  const Outcome outcome =
      run_program({"bash", "-c",
                   runtime() + " --root " + b.root + " exec --preserve-fds 1 c sh -c 'cat <&3; cat <&4' 3<" + b.path +
                       "/secret 4<" + b.path + "/secret"});
  EXPECT_EQ(outcome.out, "secret\n");
}

TEST_F(OciExec, UpdateChangesLimits) {
  NEEDS_CONTAINERS();
  Bundle b;
  start(b);
  EXPECT_EQ(b.oci({"update", "--pids-limit", "77", "--cpu-share", "512", "--memory", "64M", "c"}).code, 0);
  const Json stats = Json::parse(b.oci({"events", "--stats", "c"}).out);
  EXPECT_EQ(stats["type"], "stats");
  EXPECT_EQ(stats["data"]["pids"]["limit"], 77);
  EXPECT_EQ(stats["data"]["pids"]["current"], 1);
  EXPECT_EQ(stats["data"]["memory"]["usage"]["limit"], 64 << 20);
  EXPECT_EQ(b.oci({"update", "--resources", "-", "c"}, R"({"pids":{"limit":78}})").code, 0);
  EXPECT_EQ(Json::parse(b.oci({"events", "--stats", "c"}).out)["data"]["pids"]["limit"], 78);
  EXPECT_NE(b.oci({"update", "--pids-limit", "many", "c"}).code, 0);
}

TEST_F(OciExec, InACgroupBelow) {
  NEEDS_CONTAINERS();
  Bundle b;
  start(b);
  const auto groups = b.cgroups();
  ASSERT_FALSE(groups.empty());
  EXPECT_NE(b.oci({"exec", "--cgroup", "sub", "c", "true"}).code, 0) << "it is not there";
  EXPECT_NE(b.oci({"exec", "--cgroup", "../..", "c", "true"}).code, 0);
  std::filesystem::create_directory(groups[0] + "/sub");
  b.oci({"exec", "-d", "--pid-file", b.path + "/pid", "--cgroup", "sub", "c", "sleep", "1000"});
  EXPECT_THAT(run_program({"cat", groups[0] + "/sub/cgroup.procs"}).out, HasSubstr(b.read("pid")));
  EXPECT_EQ(b.oci({"delete", "-f", "c"}).code, 0);
  EXPECT_TRUE(b.cgroups().empty());
}

TEST_F(OciExec, PsListsProcesses) {
  NEEDS_CONTAINERS();
  Bundle b;
  start(b);
  ASSERT_EQ(b.oci({"exec", "-d", "c", "sleep", "999"}).code, 0);
  EXPECT_EQ(Json::parse(b.oci({"ps", "--format", "json", "c"}).out).size(), 2u);
  const Outcome table = b.oci({"ps", "c"});
  EXPECT_THAT(table.out, HasSubstr("sleep 999")) << table.err;
  EXPECT_THAT(table.out, HasSubstr("PID"));
  EXPECT_THAT(b.oci({"ps", "c", "-o", "pid,args"}).out, HasSubstr("sleep 1000"));
}

}  // namespace
}  // namespace nagaya::oci_test
