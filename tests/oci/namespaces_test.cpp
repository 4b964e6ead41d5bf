// Namespaces: new, kept and joined; id maps; what belongs to one (host name, sysctls, clocks).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
using ::testing::HasSubstr;

std::string ours(const std::string& kind) {
  return std::filesystem::read_symlink("/proc/self/ns/" + kind).string() + "\n";
}

struct Kind {
  const char *name, *file;
};
const Kind kinds[] = {{"pid", "pid"},   {"network", "net"},   {"ipc", "ipc"},  {"uts", "uts"},
                      {"mount", "mnt"}, {"cgroup", "cgroup"}, {"time", "time"}};

TEST(OciNamespaces, NewOnesAreNew) {
  NEEDS_CONTAINERS();
  for (const Kind& kind : kinds) {
    Bundle b;
    b.add_namespace(kind.name);
    const Outcome outcome = b.run("readlink /proc/self/ns/" + std::string(kind.file));
    EXPECT_EQ(outcome.code, 0) << kind.name << outcome.err;
    EXPECT_NE(outcome.out, ours(kind.file)) << kind.name;
  }
}

TEST(OciNamespaces, AbsentOnesAreTheCallers) {
  NEEDS_CONTAINERS();
  for (const Kind& kind : kinds) {
    if (kind.name == std::string("mount")) continue;
    Bundle b;
    b.without_namespace(kind.name);
    if (kind.name == std::string("uts")) b.config.erase("hostname");
    const Outcome outcome = b.run("readlink /proc/self/ns/" + std::string(kind.file));
    EXPECT_EQ(outcome.out, ours(kind.file)) << kind.name << outcome.err;
  }
}

TEST(OciNamespaces, JoinedByPath) {
  NEEDS_CONTAINERS();
  Bundle first;
  first.script("sleep 100");
  first.add_namespace("time");
  first.write_config();
  ASSERT_EQ(first.oci({"run", "-d", "-b", first.path, "c"}).code, 0);
  const std::string folder = "/proc/" + std::to_string(first.state("c")["pid"].get<int>()) + "/ns/";
  for (const Kind& kind : kinds) {
    if (kind.name == std::string("mount")) continue;
    Bundle b;
    b.add_namespace(kind.name, folder + kind.file);
    if (kind.name == std::string("uts")) b.config.erase("hostname");
    const Outcome outcome = b.run("readlink /proc/self/ns/" + std::string(kind.file));
    EXPECT_EQ(outcome.out, std::filesystem::read_symlink(folder + kind.file).string() + "\n")
        << kind.name << outcome.err;
  }
  Bundle wrong;
  wrong.add_namespace("network", folder + "ipc");
  EXPECT_THAT(wrong.run("true").err, HasSubstr("is no network namespace"));
  wrong.add_namespace("network", "/proc/nowhere");
  EXPECT_NE(wrong.run("true").code, 0);
  wrong.add_namespace("network");
  wrong.config["linux"]["namespaces"].push_back({{"type", "network"}});
  EXPECT_THAT(wrong.run("true").err, HasSubstr("two of 'network'"));
}

TEST(OciNamespaces, ProcessesSeeOnlyTheirOwn) {
  NEEDS_CONTAINERS();
  Bundle b;
  EXPECT_EQ(b.run("echo $$; ls /proc | grep -c '^[0-9]'").out.substr(0, 2), "1\n");
}

TEST(OciNamespaces, UserNamespaceMapsIds) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.with_user_namespace();
  const Outcome outcome = b.run("id -u; cat /proc/self/uid_map /proc/self/gid_map; stat -c %u:%g /bin");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("0\n         0     100000      65536\n         0     100000      65536\n0:0\n"));
  b.config["process"]["user"] = {{"uid", 1000}, {"gid", 1000}};
  EXPECT_EQ(b.run("id -u").out, "1000\n");
  b.config["linux"].erase("uidMappings");
  EXPECT_THAT(b.run("true").err, HasSubstr("uidMappings"));
}

TEST(OciNamespaces, UserNamespaceIsJoinedWithTheOthers) {
  NEEDS_CONTAINERS();
  Bundle first;
  first.with_user_namespace();
  first.script("sleep 100");
  first.write_config();
  ASSERT_EQ(first.oci({"run", "-d", "-b", first.path, "c"}).code, 0);
  const std::string folder = "/proc/" + std::to_string(first.state("c")["pid"].get<int>()) + "/ns/";
  Bundle b;
  b.with_user_namespace();
  b.config["linux"].erase("uidMappings");
  b.config["linux"].erase("gidMappings");
  b.config.erase("hostname");
  b.add_namespace("user", folder + "user");
  b.add_namespace("network", folder + "net");
  b.add_namespace("ipc", folder + "ipc");
  b.add_namespace("uts", folder + "uts");
  const Outcome outcome = b.run("readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u; hostname");
  EXPECT_EQ(outcome.out, std::filesystem::read_symlink(folder + "user").string() + "\n" +
                             std::filesystem::read_symlink(folder + "net").string() + "\n0\nnagaya\n")
      << outcome.err;
  // A namespace of the outside beside a new user namespace: joined while there is still the right to.
  Bundle mixed;
  mixed.with_user_namespace();
  mixed.add_namespace("ipc", "/proc/self/ns/ipc");
  mixed.without_mounts("mqueue");  // one of the outside's IPC namespace may not be mounted inside
  const Outcome both = mixed.run("readlink /proc/self/ns/ipc");
  EXPECT_EQ(both.out, ours("ipc")) << both.err;
}

TEST(OciNamespaces, NamesOfTheHost) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["hostname"] = "inside";
  b.config["domainname"] = "example.org";
  EXPECT_EQ(b.run("hostname; cat /proc/sys/kernel/domainname").out, "inside\nexample.org\n");
  b.without_namespace("uts");
  EXPECT_THAT(b.run("true").err, HasSubstr("UTS namespace")) << "it would be the host's name";
}

TEST(OciNamespaces, Sysctls) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.config["linux"]["sysctl"] = {{"net.ipv4.ip_forward", "1"}, {"kernel.shm_rmid_forced", "1"}};
  EXPECT_EQ(b.run("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shm_rmid_forced").out, "1\n1\n");
  b.without_namespace("network");
  EXPECT_NE(b.run("true").code, 0) << "net.* would be the host's";
  b.add_namespace("network");
  b.config["linux"]["sysctl"] = {{"vm.swappiness", "1"}};
  EXPECT_NE(b.run("true").code, 0) << "no namespace has vm.*";
}

TEST(OciNamespaces, ClocksWithOffsets) {
  NEEDS_CONTAINERS();
  Bundle b;
  b.add_namespace("time");
  b.config["linux"]["timeOffsets"] = {{"boottime", {{"secs", 1000000000}, {"nanosecs", 0}}},
                                      {"monotonic", {{"secs", 86400}, {"nanosecs", 0}}}};
  const Outcome outcome = b.run("cut -d. -f1 /proc/uptime");
  EXPECT_GT(std::atol(outcome.out.c_str()), 1000000000L) << outcome.err;
  b.without_namespace("time");
  EXPECT_THAT(b.run("true").err, HasSubstr("time namespace"));
}

TEST(OciNamespaces, WithoutRoot) {
  NEEDS_CONTAINERS();
  Bundle b;
  // An ordinary user with no id maps but its own: no cgroup, the caller's network.
  run_program({"chown", "-R", "12345:12345", b.path + "/.."});
  std::filesystem::remove(b.path + "/config.json");
  const auto as_user = [](const std::string& command) {
    return run_program({"setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "sh", "-c", command});
  };
  ASSERT_EQ(as_user("cd " + b.path + " && " + runtime() + " spec --rootless").code, 0);
  b.config = Json::parse(b.read("config.json"));
  b.config["process"]["terminal"] = false;
  b.script("id -u; hostname; ps | wc -l");
  b.write_config();
  const Outcome outcome = as_user(runtime() + " --root " + b.path + "/state run -b " + b.path + " c");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("0\nnagaya\n"));
  const Outcome detached =
      as_user("cd " + b.path + "; sed -i 's/\"id -u.*\"/\"sleep 100\"/' config.json; " + runtime() + " --root " +
              b.path + "/state run -d c && " + runtime() + " --root " + b.path + "/state exec c id -u; " + runtime() +
              " --root " + b.path + "/state delete -f c");
  EXPECT_EQ(detached.out, "0\n") << detached.err;
}

}  // namespace
}  // namespace nagaya::oci_test
