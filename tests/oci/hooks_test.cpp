// Hooks: order, state on standard input, environment, failures, time limits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;

Json hook(const std::string& script) {
  return {{"path", "/bin/sh"}, {"args", {"sh", "-c", script}}, {"env", {"PATH=/usr/bin:/bin", "MARK=m"}}};
}

/// Appends "NAME STATUS" to the bundle's log.
std::string note(const Bundle& b, const std::string& name) {
  return "s=$(cat); echo " + name + " $(echo \"$s\" | sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/') >>" + b.path +
         "/log";
}

TEST(OciHooks, EachAtItsMoment) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["root"]["readonly"] = false;
  b.config["mounts"].push_back(
      {{"destination", "/bundle"}, {"source", b.path}, {"type", "bind"}, {"options", {"bind"}}});
  for (const char* name : {"prestart", "createRuntime", "createContainer", "poststart", "poststop"})
    b.config["hooks"][name] = {hook(note(b, name))};
  // In the container's namespaces and root, as the specification has it.
  b.config["hooks"]["startContainer"] = {
      {{"path", "/bin/sh"},
       {"args", {"sh", "-c", "echo startContainer >>/bundle/log; cat >/bundle/state"}},
       {"env", {"PATH=/bin"}}}};
  b.script("echo program >>/bundle/log; sleep 0.3");
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0);
  EXPECT_EQ(b.read("log"), "prestart creating\ncreateRuntime creating\ncreateContainer creating\n");
  const pid_t pid = b.state("c")["pid"];
  ASSERT_EQ(b.oci({"start", "c"}).code, 0);
  ASSERT_TRUE(b.wait_status("c", "stopped"));
  EXPECT_THAT(b.read("log"), HasSubstr("startContainer\n"));
  EXPECT_THAT(b.read("log"), HasSubstr("poststart running\n"));
  EXPECT_THAT(b.read("log"), HasSubstr("program\n"));
  const Json state = Json::parse(b.read("state"));
  EXPECT_EQ(state["status"], "created");
  EXPECT_EQ(state["pid"], pid);
  EXPECT_EQ(state["id"], "c");
  EXPECT_EQ(state["bundle"], b.path);
  ASSERT_EQ(b.oci({"delete", "c"}).code, 0);
  EXPECT_THAT(b.read("log"), HasSubstr("poststop stopped\n"));
}

TEST(OciHooks, NamespacesTheyRunIn) {
  NEEDS_CONTAINERS();
  Bundle b;
  const auto where = [&b](const char* name) {
    return hook("cat >/dev/null; readlink /proc/self/ns/net >>" + b.path + "/" + name);
  };
  b.config["hooks"]["createRuntime"] = {where("runtime")};
  b.config["hooks"]["createContainer"] = {where("container")};
  const Outcome outcome = b.run("readlink /proc/self/ns/net");
  EXPECT_EQ(b.read("runtime"), std::filesystem::read_symlink("/proc/self/ns/net").string() + "\n");
  EXPECT_EQ(b.read("container"), outcome.out) << outcome.err;
}

TEST(OciHooks, FailureEndsTheCreation) {
  NEEDS_CONTAINERS();
  for (const char* name : {"prestart", "createRuntime", "createContainer"}) {
    Bundle b;
    b.config["hooks"][name] = {hook("exit 3")};
    b.config["hooks"]["poststop"] = {hook("echo gone >" + b.path + "/gone")};
    b.script("true");
    b.write_config();
    const Outcome outcome = b.oci({"create", "-b", b.path, "c"});
    EXPECT_NE(outcome.code, 0) << name;
    EXPECT_THAT(outcome.err, HasSubstr(std::string(name) + " hook"));
    EXPECT_THAT(outcome.err, HasSubstr("exit status 3"));
    EXPECT_TRUE(b.state("c").is_null());
    EXPECT_EQ(b.read("gone"), "gone\n") << "the life cycle goes on with its end";
    EXPECT_TRUE(b.cgroups().empty());
  }
}

TEST(OciHooks, FailureOfStartContainerEndsTheStart) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["hooks"]["startContainer"] = {{{"path", "/bin/false"}}};
  b.script("true");
  b.write_config();
  ASSERT_EQ(b.oci({"create", "-b", b.path, "c"}).code, 0);
  EXPECT_THAT(b.oci({"start", "c"}).err, HasSubstr("startContainer hook"));
  EXPECT_TRUE(b.wait_status("c", "stopped"));
}

TEST(OciHooks, LateFailuresAreWarnings) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["hooks"]["poststart"] = {hook("exit 1"), hook("echo second >>" + b.path + "/log")};
  b.config["hooks"]["poststop"] = {hook("exit 1"), hook("echo last >>" + b.path + "/log")};
  const Outcome outcome = b.run("sleep 0.2");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("warning: poststart hook"));
  EXPECT_THAT(outcome.err, HasSubstr("warning: poststop hook"));
  EXPECT_EQ(b.read("log"), "second\nlast\n");
}

TEST(OciHooks, TimeLimitEndsThemWithTheirChildren) {
  NEEDS_CONTAINERS();
  Bundle b;
  Json slow = hook("sleep 300 & echo $! >" + b.path + "/child; wait");
  slow["timeout"] = 1;
  b.config["hooks"]["createRuntime"] = {slow};
  b.script("true");
  b.write_config();
  const Outcome outcome = b.oci({"create", "-b", b.path, "c"});
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("longer than its 1 s"));
  for (int i = 0;
       i < 100 && run_program({"kill", "-0", b.read("child").substr(0, b.read("child").find('\n'))}).code == 0 &&
       run_program({"grep", "State:.Z", "/proc/" + b.read("child").substr(0, b.read("child").find('\n')) + "/status"})
               .code != 0;
       ++i) {
    ::usleep(20'000);
    ASSERT_LT(i, 99) << "the hook's child lives";
  }
}

TEST(OciHooks, OnlyTheEnvironmentAndDescriptorsTheyAreGiven) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["hooks"]["createRuntime"] = {
      hook("cat >/dev/null; { env | grep -v -E '^(PWD|SHLVL|_|OLDPWD)=' | sort; ls /proc/self/fd | wc -l; } >" +
           b.path + "/seen")};
  EXPECT_EQ(b.run("true").code, 0);
  // 0, 1, 2 and the one by which ls reads the folder.
  EXPECT_EQ(b.read("seen"), "MARK=m\nPATH=/usr/bin:/bin\n4\n");
}

}  // namespace
}  // namespace nagaya::oci_test
