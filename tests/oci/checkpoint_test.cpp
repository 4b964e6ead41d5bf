// Containers saved to files and made again from them, through CRIU; and moved over a stream. What a worker inside writes shows that nothing of
// it was lost: memory, pipes, processes, files with and without a name, TCP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>

#include "oci/bundle.hpp"

namespace nagaya::oci_test {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

void pause_ms(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

/// Why containers cannot be saved here; empty: they can.
std::string no_criu() {
  const char* criu = std::getenv("NAGAYA_CRIU");
  if (criu == nullptr || ::access(criu, X_OK) != 0) return "no CRIU of 4.1 or newer: scripts/fetch-criu fetches one";
  const Outcome checked = run_program({criu, "check"});
  return checked.code == 0 ? "" : "CRIU cannot work on this kernel: " + checked.err;
}

#define NEEDS_CRIU()  \
  NEEDS_CONTAINERS(); \
  if (const std::string lack = no_criu(); !lack.empty()) GTEST_SKIP() << lack

class OciCheckpoint : public ::testing::Test {
 protected:
  void SetUp() override {
    NEEDS_CRIU();
    fs::copy_file(std::getenv("NAGAYA_OCI_WORKER"), bundle_.rootfs + "/bin/worker");
    bundle_.config["root"]["readonly"] = false;
    bundle_.process({"/bin/worker", "/tmp/out", "16"});
    images_ = bundle_.path + "/images";
  }

  void begin() {
    bundle_.write_config();
    const Outcome outcome = bundle_.oci({"run", "-d", "-b", bundle_.path, "c"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    ASSERT_TRUE(wait_beyond(2));
  }
  Outcome save(const Words& more = {}) {
    Words words{"checkpoint", "--image-path", images_, "--work-path", bundle_.path + "/work"};
    words.insert(words.end(), more.begin(), more.end());
    words.push_back("c");
    return bundle_.oci(words);
  }
  Outcome again(const Words& more = {}) {
    Words words{"restore", "--image-path", images_, "--work-path", bundle_.path + "/work", "-b", bundle_.path, "-d"};
    words.insert(words.end(), more.begin(), more.end());
    words.push_back("c");
    return bundle_.oci(words);
  }
  /// How many lines a worker has written; -1 and a failure when one of them tells of damage.
  int lines(const std::string& name = "out") const {
    std::istringstream text(bundle_.read("rootfs/tmp/" + name));
    int count = 0;
    for (std::string line; std::getline(text, line); ++count) {
      if (line == std::to_string(count) + " ok") continue;
      ADD_FAILURE() << "line " << count << " of " << name << ": " << line;
      return -1;
    }
    return count;
  }
  bool wait_beyond(int count, const std::string& name = "out") const {
    for (int i = 0; i < 300 && lines(name) >= 0; ++i, pause_ms(50)) {
      if (lines(name) > count) return true;
    }
    return false;
  }

  Bundle bundle_;
  std::string images_;
};

TEST_F(OciCheckpoint, ContinuesWhereItWas) {
  ASSERT_NO_FATAL_FAILURE(begin());
  const Outcome saved = save();
  ASSERT_EQ(saved.code, 0) << saved.err;
  EXPECT_TRUE(bundle_.state("c").is_null());
  const int before = lines();
  pause_ms(300);
  EXPECT_EQ(lines(), before);
  EXPECT_TRUE(bundle_.cgroups().empty());

  const std::string pid_file = bundle_.path + "/pid";
  const Outcome restored = again({"--pid-file", pid_file});
  ASSERT_EQ(restored.code, 0) << restored.err;
  EXPECT_TRUE(wait_beyond(before + 2));
  const Json state = bundle_.state("c");
  EXPECT_EQ(state["status"], "running");
  EXPECT_EQ(bundle_.read("pid"), std::to_string(state["pid"].get<int>()));
  // It is a container like others.
  EXPECT_THAT(bundle_.oci({"exec", "c", "/bin/ps"}).out, HasSubstr("/bin/worker /tmp/out"));
  EXPECT_EQ(bundle_.oci({"pause", "c"}).code, 0);
  EXPECT_EQ(bundle_.state("c")["status"], "paused");
  EXPECT_EQ(bundle_.oci({"resume", "c"}).code, 0);
  EXPECT_EQ(bundle_.oci({"kill", "c", "KILL"}).code, 0);
  EXPECT_TRUE(bundle_.wait_status("c", "stopped"));
  EXPECT_EQ(bundle_.oci({"delete", "c"}).code, 0);
  EXPECT_TRUE(bundle_.cgroups().empty());
}

TEST_F(OciCheckpoint, LeftRunningItGoesOnAndIsNotMadeTwice) {
  ASSERT_NO_FATAL_FAILURE(begin());
  const Outcome saved = save({"--leave-running"});
  ASSERT_EQ(saved.code, 0) << saved.err;
  EXPECT_EQ(bundle_.state("c")["status"], "running");
  EXPECT_TRUE(wait_beyond(lines() + 2));
  const Outcome twice = again();
  EXPECT_NE(twice.code, 0);
  EXPECT_THAT(twice.err, HasSubstr("already exists"));
  EXPECT_EQ(bundle_.state("c")["status"], "running");
}

TEST_F(OciCheckpoint, PreDumpsBuildOnEachOtherOrSayWhatIsMissing) {
  ASSERT_NO_FATAL_FAILURE(begin());
  const Outcome first = bundle_.oci({"checkpoint", "--image-path", bundle_.path + "/first", "--pre-dump", "c"});
  EXPECT_EQ(bundle_.state("c")["status"], "running");
  EXPECT_TRUE(wait_beyond(lines() + 1));
  if (first.code != 0) {
    EXPECT_THAT(first.err, HasSubstr("CONFIG_MEM_SOFT_DIRTY"));
    return;
  }
  ASSERT_EQ(save({"--parent-path", "../first"}).code, 0);
  const int before = lines();
  ASSERT_EQ(again().code, 0);
  EXPECT_TRUE(wait_beyond(before + 2));
}

TEST_F(OciCheckpoint, AFailedDumpChangesNothingAndSaysWhy) {
  for (const char* set : {"bounding", "effective", "permitted"}) bundle_.config["process"]["capabilities"][set].push_back("CAP_NET_ADMIN");
  bundle_.script("ip link set lo up; worker listen /tmp/heard 99 & exec worker talk /tmp/out 127.0.0.1 99");
  ASSERT_NO_FATAL_FAILURE(begin());
  const Outcome refused = save();
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.err, HasSubstr("--tcp-established"));
  EXPECT_EQ(bundle_.state("c")["status"], "running");
  EXPECT_TRUE(wait_beyond(lines() + 2));
  // With the connection named both its ends go along.
  fs::remove_all(images_);
  const Outcome saved = save({"--tcp-established"});
  ASSERT_EQ(saved.code, 0) << saved.err;
  const int before = lines();
  const Outcome restored = again({"--tcp-established"});
  ASSERT_EQ(restored.code, 0) << restored.err;
  EXPECT_TRUE(wait_beyond(before + 2));
  EXPECT_TRUE(wait_beyond(before, "heard"));
}

TEST_F(OciCheckpoint, NoImagesNoContainer) {
  bundle_.write_config();
  fs::create_directories(images_);
  const Outcome outcome = again();
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("inventory.img"));
  EXPECT_TRUE(bundle_.state("c").is_null());
}

TEST_F(OciCheckpoint, DamagedImagesLeaveNothing) {
  ASSERT_NO_FATAL_FAILURE(begin());
  ASSERT_EQ(save().code, 0);
  std::string victim;
  for (const auto& entry : fs::directory_iterator(images_)) {
    if (entry.path().filename().string().starts_with("mm-")) victim = entry.path();
  }
  fs::resize_file(victim, 20);
  const Outcome outcome = again();
  EXPECT_NE(outcome.code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("log: "));
  EXPECT_TRUE(bundle_.state("c").is_null());
  EXPECT_TRUE(bundle_.cgroups().empty());
}

/// Starts the runtime and kills it after a while; what it started finishes or undoes its work by itself.
void kill_midway(const Words& words, int milliseconds) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  pause_ms(milliseconds);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST_F(OciCheckpoint, KilledInTheMiddleOfADump) {
  ASSERT_NO_FATAL_FAILURE(begin());
  for (const int after : {20, 60, 120, 200}) {
    SCOPED_TRACE(after);
    fs::remove_all(images_);
    kill_midway({runtime(), "--root", bundle_.root, "checkpoint", "--image-path", images_, "c"}, after);
    pause_ms(1000);
    if (const Json state = bundle_.state("c"); state.is_object() && state["status"] == "running") {
      EXPECT_TRUE(wait_beyond(lines() + 1));
      continue;
    }
    // It was saved before the kill: it goes on from there.
    ASSERT_EQ(bundle_.oci({"delete", "-f", "c"}).code, 0);
    const int before = lines();
    const Outcome restored = again();
    ASSERT_EQ(restored.code, 0) << restored.err;
    EXPECT_TRUE(wait_beyond(before + 1));
  }
}

TEST_F(OciCheckpoint, KilledInTheMiddleOfARestore) {
  ASSERT_NO_FATAL_FAILURE(begin());
  ASSERT_EQ(save().code, 0);
  for (const int after : {20, 60, 120, 200}) {
    SCOPED_TRACE(after);
    // The worker's file is of the images' time again, so that its lines can be counted.
    kill_midway({runtime(), "--root", bundle_.root, "restore", "--image-path", images_, "-b", bundle_.path, "-d", "c"}, after);
    pause_ms(1000);
    const Outcome removed = bundle_.oci({"delete", "-f", "c"});
    EXPECT_EQ(removed.code, 0) << removed.err;
    EXPECT_TRUE(bundle_.state("c").is_null());
    EXPECT_TRUE(bundle_.cgroups().empty());
  }
  const Outcome outcome = again();
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(bundle_.state("c")["status"], "running");
}

}  // namespace
}  // namespace nagaya::oci_test
