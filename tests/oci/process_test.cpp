// What config.json says of the process, seen from inside.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;
using ::testing::Not;

TEST(OciProcess, EnvironmentAndArguments) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["env"] = {"PATH=/bin", "WORDS=with space", "EMPTY="};
  b.process({"/bin/env"});
  b.write_config();
  EXPECT_EQ(b.oci({"run", "-b", b.path, "c"}).out, "PATH=/bin\nWORDS=with space\nEMPTY=\nHOME=/root\n");
  b.process({"sh", "-c", "for a; do echo \"<$a>\"; done", "x", "one two", "", "*"});
  b.write_config();
  EXPECT_EQ(b.oci({"run", "-b", b.path, "c"}).out, "<one two>\n<>\n<*>\n");
}

TEST(OciProcess, WorkingDirectory) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["cwd"] = "/tmp";
  EXPECT_EQ(b.run("pwd").out, "/tmp\n");
  b.config["root"]["readonly"] = false;
  b.config["process"]["cwd"] = "/made/for/it";
  EXPECT_EQ(b.run("pwd").out, "/made/for/it\n");
  b.config["process"]["cwd"] = "relative";
  EXPECT_NE(b.run("pwd").code, 0);
  b.config["process"]["cwd"] = "/etc/passwd";
  EXPECT_THAT(b.run("pwd").err, HasSubstr("Not a directory"));
}

TEST(OciProcess, UserGroupsAndUmask) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["user"] = {{"uid", 1000}, {"gid", 1001}, {"additionalGids", {7, 8}}, {"umask", 027}};
  EXPECT_EQ(b.run("id -u; id -g; id -G; umask; echo $HOME").out, "1000\n1001\n1001 7 8\n0027\n/home/user\n");
  b.config["process"]["user"] = {{"uid", 0}, {"gid", 0}};
  EXPECT_EQ(b.run("id -G; umask").out, "0\n0022\n");
}

TEST(OciProcess, PrivateWorkingDirectoryOfTheUser) {
  NEEDS_CONTAINERS();
  Bundle b;
  run_program({"sh", "-c",
               "mkdir -p " + b.rootfs + "/home/user && chown 1000:1000 " + b.rootfs + "/home/user && chmod 700 " +
                   b.rootfs + "/home/user"});
  b.config["process"]["user"] = {{"uid", 1000}, {"gid", 1000}};
  b.config["process"]["cwd"] = "/home/user";
  EXPECT_EQ(b.run("pwd").out, "/home/user\n");
}

TEST(OciProcess, Capabilities) {
  NEEDS_CONTAINERS();
  Bundle b;
  const Json two = {"CAP_CHOWN", "CAP_KILL"};
  b.config["process"]["capabilities"] = {{"bounding", two},
                                         {"effective", two},
                                         {"permitted", two},
                                         {"inheritable", Json::array()},
                                         {"ambient", Json::array()}};
  EXPECT_EQ(b.run("grep Cap /proc/self/status").out,
            "CapInh:\t0000000000000000\nCapPrm:\t0000000000000021\nCapEff:\t0000000000000021\nCapBnd:"
            "\t0000000000000021\nCapAmb:\t0000000000000000\n");
  b.config["process"]["capabilities"] = {
      {"bounding", two}, {"effective", two}, {"permitted", two}, {"inheritable", two}, {"ambient", two}};
  b.config["process"]["user"] = {{"uid", 1000}, {"gid", 1000}};
  EXPECT_THAT(b.run("grep Cap /proc/self/status").out, HasSubstr("CapAmb:\t0000000000000021"));
  b.config["process"].erase("capabilities");
  b.config["process"]["user"] = {{"uid", 0}, {"gid", 0}};
  EXPECT_THAT(b.run("grep Cap /proc/self/status").out, HasSubstr("CapBnd:\t0000000000000000"));
}

TEST(OciProcess, NoNewPrivileges) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["noNewPrivileges"] = true;
  EXPECT_THAT(b.run("grep NoNewPrivs /proc/self/status").out, HasSubstr("\t1"));
  b.config["process"]["noNewPrivileges"] = false;
  EXPECT_THAT(b.run("grep NoNewPrivs /proc/self/status").out, HasSubstr("\t0"));
}

TEST(OciProcess, Limits) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["rlimits"] = {{{"type", "RLIMIT_NOFILE"}, {"soft", 100}, {"hard", 200}},
                                    {{"type", "RLIMIT_CORE"}, {"soft", 0}, {"hard", 0}}};
  EXPECT_EQ(b.run("ulimit -Sn; ulimit -Hn; ulimit -c").out, "100\n200\n0\n");
  b.config["process"]["rlimits"] = {{{"type", "RLIMIT_NONSENSE"}, {"soft", 1}, {"hard", 1}}};
  EXPECT_NE(b.run("true").code, 0);
}

TEST(OciProcess, OutOfMemoryScoreAndPriorities) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["process"]["oomScoreAdj"] = 321;
  EXPECT_EQ(b.run("cat /proc/self/oom_score_adj").out, "321\n");
  b.config["process"]["scheduler"] = {{"policy", "SCHED_BATCH"}, {"nice", 5}};
  b.config["process"]["ioPriority"] = {{"class", "IOPRIO_CLASS_IDLE"}, {"priority", 0}};
  // Fields 19 (nice) and 41 (policy; 3: batch) of /proc/PID/stat.
  EXPECT_EQ(b.run("cut -d' ' -f19,41 /proc/self/stat").out, "5 3\n");
}

TEST(OciProcess, DescriptorsAreClosedAndPreserved) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("for f in /proc/$$/fd/*; do readlink $f; done; cat <&3 2>/dev/null");
  b.write_config();
  const std::string call = runtime() + " --root " + b.root + " run -b " + b.path;
  b.write("secret", "secret\n");
  const std::string folder = " 3<" + b.path + "/secret 5<" + b.path + " 0</dev/null";
  const Outcome closed = run_program({"bash", "-c", call + " c" + folder});
  EXPECT_THAT(closed.out, Not(HasSubstr(b.path)));
  EXPECT_THAT(closed.out, Not(HasSubstr("secret")));
  const Outcome kept = run_program({"bash", "-c", call + " --preserve-fds 1 c" + folder});
  EXPECT_THAT(kept.out, HasSubstr("secret\n"));
  const Outcome absent =
      run_program({"bash", "-c", call + " --preserve-fds 2 c 3<" + b.path + "/secret 4<&- 0</dev/null"});
  EXPECT_NE(absent.code, 0);
  EXPECT_THAT(absent.err, HasSubstr("descriptor 4"));
  b.script("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4 2>/dev/null");
  b.write_config();
  const Outcome listening = run_program(
      {"bash", "-c",
       "export LISTEN_FDS=1 LISTEN_PID=$$; exec " + call + " c 3<" + b.path + "/secret 4<" + b.path + "/secret"});
  EXPECT_EQ(listening.out, "1 1\nsecret\n") << listening.err;
}

TEST(OciProcess, SignalsHaveDefaultMeanings) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.process({"grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"});
  b.write_config();
  const Outcome outcome = run_program(
      {"bash", "-c", "trap '' USR1 PIPE HUP; " + runtime() + " --root " + b.root + " run -b " + b.path + " c"});
  EXPECT_EQ(outcome.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST(OciProcess, WithoutProcessThereIsNothingToStart) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config.erase("process");
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0);
  EXPECT_NE(b.oci({"start", "c"}).code, 0);
}

}  // namespace
}  // namespace nagaya::oci_test
