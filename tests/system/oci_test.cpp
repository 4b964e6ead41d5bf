// OCI images as guests: one made here, brought in from a layout and from archives, run with what the image says and with what the user says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "runner.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Oci : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    root_ = scratch("oci");
    std::filesystem::create_directory(root_);
    ::setenv("NAGAYA_STATE_DIR", (root_ + "/state").c_str(), 1);
    ::setenv("NAGAYA_RUNTIME_DIR", (root_ + "/run").c_str(), 1);
    ASSERT_EQ(std::system(("'" NAGAYA_SOURCE "/scripts/oci-layout' '" + root_ + "/layout' '" + debian("busybox-amd64") + "'").c_str()), 0);
    const Outcome kernel = run({"build", "kernel"}, 300);
    ASSERT_EQ(kernel.code, 0) << kernel.errors;
    const Outcome pulled = run({"pull", "oci:" + root_ + "/layout:1.0", "--name", "box"}, 60);
    ASSERT_EQ(pulled.code, 0) << pulled.errors;
  }
  static void TearDownTestSuite() {
    std::filesystem::remove_all(root_);
    ::unsetenv("NAGAYA_STATE_DIR");
    ::unsetenv("NAGAYA_RUNTIME_DIR");
  }
  static Outcome box(Words options, const Words& command = {}) {
    Words words{"run", "--rm", "--engine", "soft", "-m", "256M"};
    // These programs need no network; whether one can be had is for other tests.
    static const bool networks = run({"help", "run"}).output.find("--network ") != std::string::npos;
    if (networks) words.insert(words.end(), {"--network", "none"});
    words.insert(words.end(), options.begin(), options.end());
    words.push_back("box");
    words.insert(words.end(), command.begin(), command.end());
    return run(words, 120);
  }

  static inline std::string root_;
};

TEST_F(Oci, RunsWhatTheImageSays) {
  const Outcome outcome = box({});
  EXPECT_EQ(outcome.output, "good day\nuid=1000(web) gid=1001(web) groups=2000(extra)\n");
  EXPECT_EQ(outcome.code, 7) << outcome.errors;
}

TEST_F(Oci, RunsWhatTheUserSays) {
  const Outcome outcome = box({"-e", "GREETING=bonjour", "-u", "root", "-w", "/dir", "--hostname", "boxed"},
                              {"echo $GREETING $(hostname) $(ls); test -e /gone || echo hidden; echo $$ $PWD; kill -9 $$"});
  EXPECT_THAT(outcome.output, HasSubstr("bonjour boxed new\nhidden\n"));
  EXPECT_EQ(outcome.code, 128 + 9) << outcome.errors;
}

TEST_F(Oci, AProgramThatIsNotThere) {
  const Outcome outcome = box({"--entrypoint", "/no/such/program"});
  EXPECT_EQ(outcome.code, 127);
  EXPECT_THAT(outcome.errors, HasSubstr("cannot start /no/such/program: No such file or directory"));
  EXPECT_EQ(box({"-u", "nobody-here"}).code, 126);
}

TEST_F(Oci, SharedFoldersAreThere) {
  std::filesystem::create_directory(root_ + "/shared");
  std::ofstream(root_ + "/shared/in") << "from the host\n";
  const Outcome outcome = box({"-u", "root", "-v", root_ + "/shared:/mnt/deep/shared"}, {"cat /mnt/deep/shared/in; echo back >/mnt/deep/shared/out"});
  EXPECT_EQ(outcome.output, "from the host\n") << outcome.errors;
  std::string back;
  std::getline(std::ifstream(root_ + "/shared/out") >> std::ws, back);
  EXPECT_EQ(back, "back");
}

TEST_F(Oci, ArchivesAreTheSameImage) {
  const std::string archive = root_ + "/archive.tar";
  if (std::system("command -v skopeo >/dev/null") != 0) GTEST_SKIP() << "no skopeo here";
  ASSERT_EQ(std::system(("skopeo --insecure-policy copy -q oci:" + root_ + "/layout:1.0 docker-archive:" + archive + ":box:1").c_str()), 0);
  const Outcome pulled = run({"pull", "docker-archive:" + archive, "--name", "again:2", "-q"}, 60);
  ASSERT_EQ(pulled.code, 0) << pulled.errors;
  EXPECT_EQ(pulled.errors, "");
  EXPECT_THAT(run({"images"}).output, AllOf(HasSubstr("again:2"), HasSubstr("box:latest"), HasSubstr("kernel:latest")));
  EXPECT_EQ(run({"rmi", "again:2"}).code, 0);
  EXPECT_THAT(run({"images"}).output, Not(HasSubstr("again")));
  EXPECT_EQ(run({"images", "--verify", "-q"}).code, 0);
}

TEST_F(Oci, RefusesWhatIsNoImage) {
  for (const Words& words : {Words{"pull", "oci:/proc/nowhere"}, Words{"pull", "--", "-x"}, Words{"pull", "A B"}, Words{"build", "fedora"}, Words{"rmi", "none-such"},
                             Words{"build", "debian", "--suite", "../etc"}, Words{"build", "debian", "--include", "a,--b"}, Words{"build", "debian", "--mirror", "x y"}}) {
    const Outcome outcome = run(words, 30);
    EXPECT_EQ(outcome.code, 125) << words[1];
    EXPECT_EQ(outcome.output, "");
  }
}

}  // namespace
}  // namespace nagaya::system_test
