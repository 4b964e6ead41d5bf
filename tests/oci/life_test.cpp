// The life cycle as the specification states it (runtime.md), command by command.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;
namespace fs = std::filesystem;

TEST(OciLife, CreateStartStateDelete) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("echo started >/out; sleep 100");
  b.config["root"]["readonly"] = false;
  b.config["annotations"] = {{"org.example.key", "value"}};
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "--pid-file", b.path + "/pid", "c"}).code, 0);
  Json state = b.state("c");
  EXPECT_EQ(state["status"], "created");
  EXPECT_EQ(state["id"], "c");
  EXPECT_EQ(state["bundle"], b.path);
  EXPECT_EQ(state["annotations"]["org.example.key"], "value");
  EXPECT_TRUE(state["ociVersion"].is_string());
  EXPECT_EQ(b.read("pid"), std::to_string(state["pid"].get<int>()));
  EXPECT_FALSE(fs::exists(b.rootfs + "/out")) << "the program ran before start";
  ASSERT_EQ(b.oci({"start", "c"}).code, 0);
  EXPECT_EQ(b.state("c")["status"], "running");
  EXPECT_NE(b.oci({"start", "c"}).code, 0) << "started twice";
  EXPECT_THAT(b.oci({"delete", "c"}).err, HasSubstr("not stopped"));
  EXPECT_EQ(b.state("c")["status"], "running") << "a refused delete has no effect";
  ASSERT_EQ(b.oci({"kill", "c", "KILL"}).code, 0);
  ASSERT_TRUE(b.wait_status("c", "stopped"));
  ASSERT_EQ(b.oci({"delete", "c"}).code, 0);
  EXPECT_TRUE(b.state("c").is_null());
  EXPECT_TRUE(fs::is_empty(b.root));
  EXPECT_TRUE(b.cgroups().empty());
}

TEST(OciLife, CreateRefusesWhatIsWrong) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.process({"true"});
  b.write_config();
  for (const char* id : {"", ".", "..", "a/b", "../x", "a b", "a\nb", "-x/"}) {
    EXPECT_NE(b.oci({"create", "-b", b.path, "--", id}).code, 0) << id;
  }
  EXPECT_NE(b.oci({"create", "-b", b.path, std::string(1025, 'a')}).code, 0);
  EXPECT_NE(b.oci({"create", "-b", b.path}).code, 0) << "no id";
  EXPECT_NE(b.oci({"create", "-b", b.path + "/nowhere", "c"}).code, 0);
  ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0);
  EXPECT_THAT(b.oci({"create", "-b", b.path, "c"}).err, HasSubstr("already exists"));
  EXPECT_EQ(b.state("c")["status"], "created") << "the first one is untouched";
  for (const char* text :
       {"{", "[]", R"({"ociVersion":"2.0.0","root":{"path":"rootfs"}})", R"({"ociVersion":"1.0.0"})"}) {
    b.write("config.json", text);
    EXPECT_NE(b.oci({"create", "-b", b.path, "d"}).code, 0) << text;
    EXPECT_FALSE(fs::exists(b.root + "/d"));
  }
}

TEST(OciLife, CommandsOnNothing) {
  NEEDS_CONTAINERS();
  Bundle b;
  for (const Words& words : {Words{"state", "c"},
                             {"start", "c"},
                             {"kill", "c", "KILL"},
                             {"delete", "c"},
                             {"exec", "c", "true"},
                             {"pause", "c"},
                             {"resume", "c"},
                             {"update", "--pids-limit", "5", "c"},
                             {"ps", "c"},
                             {"events", "--stats", "c"}}) {
    const Outcome outcome = b.oci(words);
    EXPECT_NE(outcome.code, 0) << words[0];
    EXPECT_THAT(outcome.err, HasSubstr("does not exist")) << words[0];
  }
  EXPECT_EQ(b.oci({"delete", "-f", "c"}).code, 0);
  EXPECT_NE(b.oci({"nonsense"}).code, 0);
  EXPECT_NE(b.oci({"state", "--nonsense", "c"}).code, 0);
}

TEST(OciLife, KillNeedsALivingContainer) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("true");
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0);
  ASSERT_EQ(b.oci({"start", "c"}).code, 0);
  ASSERT_TRUE(b.wait_status("c", "stopped"));
  EXPECT_NE(b.oci({"kill", "c", "KILL"}).code, 0);
  EXPECT_EQ(b.state("c")["status"], "stopped");
  EXPECT_NE(b.oci({"start", "c"}).code, 0);
  EXPECT_NE(b.oci({"kill", "c", "NOSUCH"}).code, 0);
}

TEST(OciLife, KillSendsTheSignal) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["root"]["readonly"] = false;
  b.script("trap 'echo usr1 >>/got' USR1; trap 'exit 0' TERM; echo ready >/ready; while :; do sleep 0.05; done");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  for (int i = 0; i < 500 && !fs::exists(b.rootfs + "/ready"); ++i) ::usleep(20'000);
  for (const char* name : {"USR1", "SIGUSR1", "10"}) {
    fs::remove(b.rootfs + "/got");
    ASSERT_EQ(b.oci({"kill", "c", name}).code, 0) << name;
    for (int i = 0; i < 500 && !fs::exists(b.rootfs + "/got"); ++i) ::usleep(20'000);
    EXPECT_TRUE(fs::exists(b.rootfs + "/got")) << name;
  }
  ASSERT_EQ(b.oci({"kill", "c"}).code, 0);
  EXPECT_TRUE(b.wait_status("c", "stopped")) << "TERM is what kill sends unless told otherwise";
}

TEST(OciLife, KillAllReachesEveryProcess) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.without_namespace("pid");
  b.script("sleep 1000 & sleep 1000 & wait");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  Json pids;
  for (int i = 0; i < 500; ++i) {
    pids = Json::parse(b.oci({"ps", "-f", "json", "c"}).out);
    if (pids.size() == 3) break;
    ::usleep(20'000);
  }
  ASSERT_EQ(pids.size(), 3u);
  ASSERT_EQ(b.oci({"kill", "-a", "c", "KILL"}).code, 0);
  ASSERT_TRUE(b.wait_status("c", "stopped"));
  EXPECT_EQ(b.oci({"delete", "c"}).code, 0);
  EXPECT_TRUE(b.cgroups().empty());
}

TEST(OciLife, DeleteForcedKillsWhatRuns) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("trap '' TERM INT; sleep 1000 & wait; sleep 1000");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  const pid_t pid = b.state("c")["pid"];
  ASSERT_EQ(b.oci({"delete", "--force", "c"}).code, 0);
  EXPECT_TRUE(b.state("c").is_null());
  EXPECT_TRUE(b.cgroups().empty());
  // Dead, though perhaps not waited for yet by the first process of this host.
  const Outcome stat =
      run_program({"sh", "-c", "grep State: /proc/" + std::to_string(pid) + "/status 2>/dev/null | grep -v zombie"});
  EXPECT_EQ(stat.out, "");
}

TEST(OciLife, ListShowsAll) {
  NEEDS_CONTAINERS();
  Bundle b;
  EXPECT_EQ(b.oci({"list", "-q"}).out, "");
  b.script("sleep 100");
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "one"}).code, 0);
  b.config["linux"]["cgroupsPath"] = b.config["linux"]["cgroupsPath"].get<std::string>() + "-two";
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "two"}).code, 0);
  EXPECT_EQ(b.oci({"list", "-q"}).out, "one\ntwo\n");
  const Json all = Json::parse(b.oci({"list", "-f", "json"}).out);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]["status"], "created");
  EXPECT_EQ(all[1]["status"], "running");
  EXPECT_EQ(all[1]["owner"], "root");
  const std::string table = b.oci({"list"}).out;
  EXPECT_THAT(table, HasSubstr("ID "));
  EXPECT_THAT(table, HasSubstr("running"));
}

TEST(OciLife, PauseAndResume) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.script("sleep 100");
  b.write_config();
  ASSERT_EQ(b.oci({"run", "-d", "-b", b.path, "c"}).code, 0);
  EXPECT_NE(b.oci({"resume", "c"}).code, 0) << "it is not paused";
  ASSERT_EQ(b.oci({"pause", "c"}).code, 0);
  EXPECT_EQ(b.state("c")["status"], "paused");
  EXPECT_THAT(b.oci({"exec", "c", "true"}).err, HasSubstr("paused"));
  EXPECT_NE(b.oci({"pause", "c"}).code, 0);
  ASSERT_EQ(b.oci({"resume", "c"}).code, 0);
  EXPECT_EQ(b.state("c")["status"], "running");
  EXPECT_EQ(b.oci({"exec", "c", "true"}).code, 0);
  ASSERT_EQ(b.oci({"pause", "c"}).code, 0);
  EXPECT_EQ(b.oci({"delete", "-f", "c"}).code, 0) << "a paused container can be removed";
  EXPECT_TRUE(b.cgroups().empty());
}

TEST(OciLife, RunGivesTheExitStatus) {
  NEEDS_CONTAINERS();
  Bundle b;
  const Outcome seven = b.run("echo out; echo err >&2; exit 7");
  EXPECT_EQ(seven.code, 7);
  EXPECT_EQ(seven.out, "out\n");
  EXPECT_EQ(seven.err, "err\n");
  EXPECT_EQ(b.run("kill -9 $$; exec /bin/sh -c 'kill -9 1'").code, 0)
      << "the first process of a PID namespace cannot kill itself";
  EXPECT_TRUE(fs::is_empty(b.root));
  b.script("exit 3");
  b.write_config();
  EXPECT_EQ(b.oci({"run", "--keep", "-b", b.path, "c"}).code, 3);
  EXPECT_EQ(b.state("c")["status"], "stopped");
  EXPECT_EQ(b.oci({"delete", "c"}).code, 0);
}

TEST(OciLife, FailedCreateLeavesNothing) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.process({"nosuch"});
  b.write_config();
  const Outcome missing_program = b.oci({"create", "-b", b.path, "c"});
  EXPECT_NE(missing_program.code, 0);
  EXPECT_THAT(missing_program.err, HasSubstr("not found in $PATH"));
  EXPECT_TRUE(fs::is_empty(b.root));
  EXPECT_TRUE(b.cgroups().empty());
  b.process({"/etc/passwd"});
  b.write_config();
  EXPECT_THAT(b.oci({"create", "-b", b.path, "c"}).err, HasSubstr("Permission denied"));
  b.config["root"]["path"] = "nowhere";
  b.write_config();
  EXPECT_NE(b.oci({"create", "-b", b.path, "c"}).code, 0);
  EXPECT_TRUE(fs::is_empty(b.root));
  EXPECT_TRUE(b.cgroups().empty());
}

TEST(OciLife, StartTellsThatExecveFailed) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["root"]["readonly"] = false;
  b.write("rootfs/bin/broken",
          "\x7f"
          "ELFnot really");
  ::chmod((b.rootfs + "/bin/broken").c_str(), 0755);
  b.process({"/bin/broken"});
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0);
  const Outcome outcome = b.oci({"start", "c"});
  EXPECT_EQ(outcome.code, 126);
  EXPECT_THAT(outcome.err, HasSubstr("Exec format error"));
  EXPECT_TRUE(b.wait_status("c", "stopped"));
}

TEST(OciLife, ErrorsGoToTheLog) {
  NEEDS_CONTAINERS();
  Bundle b;
  EXPECT_NE(b.oci({"--log", b.path + "/log", "--log-format", "json", "start", "c"}).code, 0);
  const Json line = Json::parse(b.read("log"));
  EXPECT_EQ(line["level"], "error");
  EXPECT_THAT(line["msg"].get<std::string>(), HasSubstr("does not exist"));
  EXPECT_TRUE(line["time"].is_string());
  EXPECT_NE(b.oci({"--log=" + b.path + "/text", "start", "c"}).code, 0);
  EXPECT_THAT(b.read("text"), HasSubstr("level=error msg="));
}

TEST(OciLife, SpecAndFeatures) {
  NEEDS_CONTAINERS();
  Bundle b;
  fs::create_directory(b.path + "/new");
  ASSERT_EQ(b.oci({"spec", "-b", b.path + "/new"}).code, 0);
  EXPECT_NE(b.oci({"spec", "-b", b.path + "/new"}).code, 0) << "never over another one";
  EXPECT_EQ(Json::parse(b.read("new/config.json"))["process"]["args"][0], "sh");
  const Json features = Json::parse(b.oci({"features"}).out);
  EXPECT_THAT(features["hooks"].dump(), HasSubstr("startContainer"));
  EXPECT_THAT(features["linux"]["namespaces"].dump(), HasSubstr("time"));
  EXPECT_THAT(features["linux"]["capabilities"].dump(), HasSubstr("CAP_CHOWN"));
  EXPECT_THAT(b.oci({"--version"}).out, HasSubstr("spec: 1."));
}

}  // namespace
}  // namespace nagaya::oci_test
