// A host without space pauses a guest that writes; once there is space it goes on, and nothing is lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "disk_util.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t MiB = 1 << 20;
const char* const status = R"({"command":"status"})";

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++found;
  return found;
}

/// A file system of `megabytes` that only this process and its children see, so that it goes with them. Empty: not possible
/// here.
std::string small_file_system(unsigned megabytes) {
  static const bool apart = [] {
    const uid_t user = ::geteuid();
    const gid_t group = ::getegid();
    if (::unshare(CLONE_NEWNS | (user == 0 ? 0 : CLONE_NEWUSER)) != 0) return false;
    if (user != 0) {
      std::ofstream("/proc/self/setgroups") << "deny";
      std::ofstream("/proc/self/uid_map") << user << " " << user << " 1";
      std::ofstream("/proc/self/gid_map") << group << " " << group << " 1";
    }
    return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }();
  if (!apart) return {};
  static int number = 0;
  const std::string path = scratch("small-" + std::to_string(++number));
  std::filesystem::create_directories(path);
  const std::string size = "size=" + std::to_string(megabytes) + "m";
  return ::mount("tmpfs", path.c_str(), "tmpfs", 0, size.c_str()) == 0 ? path : std::string();
}

void write_ballast(const std::string& path, std::uint64_t bytes) {
  std::ofstream(path, std::ios::binary) << std::string(bytes, 'b');
  ASSERT_EQ(std::filesystem::file_size(path), bytes);
}

class DiskSpace : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Formats, DiskSpace, ::testing::Values("raw", "qcow2"), [](const auto& info) { return info.param; });

TEST_P(DiskSpace, GuestWaitsAndGoesOnByItself) {
  const std::string folder = small_file_system(80);
  if (folder.empty()) GTEST_SKIP() << "no file system of our own here";
  const std::string disk = folder + "/disk", ballast = folder + "/ballast", socket = scratch("space-" + GetParam());
  make_disk(disk, GetParam(), 64 * MiB);
  write_ballast(ballast, 50 * MiB);
  Command command(disk_run("D=/dev/vda; /test/disktool fill $D 0 $((48 << 20)) 7; /test/disktool check $D 0 $((48 << 20)) 7; echo finished",
                           {"--disk", disk_option(disk, GetParam()), "--control", socket, "-q"}));
  ASSERT_TRUE(wait_status(socket, "\"paused\"", 120)) << command.errors();
  EXPECT_THAT(control(socket, status), HasSubstr("disk0: no space left for '" + disk + "'"));
  sleep_for(1.5);
  EXPECT_THAT(control(socket, status), HasSubstr("\"paused\""));
  // A resume without space ends in the same pause.
  EXPECT_THAT(control(socket, R"({"command":"resume"})"), HasSubstr("\"ok\":true"));
  ASSERT_TRUE(wait_status(socket, "\"paused\"", 120));

  std::filesystem::remove(ballast);
  ASSERT_TRUE(command.wait_end(120));
  EXPECT_EQ(command.exit_code(), 0);
  EXPECT_THAT(command.output(), HasSubstr("fill good"));
  EXPECT_THAT(command.output(), HasSubstr("check good"));
  EXPECT_THAT(command.output(), HasSubstr("finished"));
  EXPECT_THAT(command.errors(), HasSubstr("disk0: no space left for '" + disk + "': the machine is paused; make space, then resume"));
  EXPECT_EQ(count(command.errors(), "no space left"), 2u) << command.errors();
  if (GetParam() == "qcow2") { EXPECT_EQ(image_check(disk), 0); }
  EXPECT_TRUE(holds_pattern(raw_copy(disk, GetParam()), 0, 48 * MiB, 7));
  ::umount2(folder.c_str(), MNT_DETACH);
}

TEST_P(DiskSpace, ResumeGoesOnAtOnce) {
  const std::string folder = small_file_system(80);
  if (folder.empty()) GTEST_SKIP() << "no file system of our own here";
  const std::string disk = folder + "/disk", ballast = folder + "/ballast", socket = scratch("resume-" + GetParam());
  make_disk(disk, GetParam(), 64 * MiB);
  write_ballast(ballast, 50 * MiB);
  // Two writers, and more requests in flight than one.
  Command command(disk_run("D=/dev/vda; /test/disktool fill $D 0 $((24 << 20)) 3 & /test/disktool fill $D $((24 << 20)) $((24 << 20)) 3; wait; "
                           "/test/disktool check $D 0 $((48 << 20)) 3",
                           {"--disk", disk_option(disk, GetParam()), "--control", socket, "-c", "2"}));
  ASSERT_TRUE(wait_status(socket, "\"paused\"", 120)) << command.errors();
  // A user's pause is not undone by space.
  EXPECT_THAT(control(socket, R"({"command":"pause"})"), Not(HasSubstr("reason")));
  std::filesystem::remove(ballast);
  sleep_for(1.2);
  EXPECT_THAT(control(socket, status), HasSubstr("\"paused\""));
  EXPECT_THAT(control(socket, R"({"command":"resume"})"), HasSubstr("\"running\""));
  ASSERT_TRUE(command.wait_end(120));
  EXPECT_EQ(count(command.output(), "fill good"), 2u) << command.output();
  EXPECT_THAT(command.output(), HasSubstr("check good"));
  if (GetParam() == "qcow2") { EXPECT_EQ(image_check(disk), 0); }
  EXPECT_TRUE(holds_pattern(raw_copy(disk, GetParam()), 0, 48 * MiB, 3));
  ::umount2(folder.c_str(), MNT_DETACH);
}

// A machine saved while it waits for space takes its requests along. A qcow2 image cannot always be written back then: an
// error, and the machine still waits.
TEST_P(DiskSpace, WaitingRequestsAreSaved) {
  const std::string folder = small_file_system(80);
  if (folder.empty()) GTEST_SKIP() << "no file system of our own here";
  const std::string disk = folder + "/disk", ballast = folder + "/ballast", socket = scratch("saved-" + GetParam()), file = scratch("state-" + GetParam());
  make_disk(disk, GetParam(), 64 * MiB);
  write_ballast(ballast, 50 * MiB);
  {
    Command command(disk_run("D=/dev/vda; /test/disktool fill $D 0 $((48 << 20)) 9; /test/disktool check $D 0 $((48 << 20)) 9",
                             {"--disk", disk_option(disk, GetParam()), "--control", socket}));
    ASSERT_TRUE(wait_status(socket, "no space", 120)) << command.errors();
    const std::string answer = control_save(socket, file, true);
    if (answer.find("\"ok\":true") == std::string::npos) {
      EXPECT_EQ(GetParam(), "qcow2");
      EXPECT_THAT(answer, HasSubstr("cannot write back disk0"));
      std::filesystem::remove(ballast);
      ASSERT_TRUE(command.wait_end(120));
      EXPECT_THAT(command.output(), HasSubstr("check good"));
      return;
    }
    ASSERT_TRUE(command.wait_end(60));
    EXPECT_EQ(command.exit_code(), 0) << command.errors();
  }
  std::filesystem::remove(ballast);
  const Outcome outcome = run({"run", "--restore", file, "--engine", "soft", "--no-reboot"}, 120);
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("check good"));
  EXPECT_TRUE(holds_pattern(raw_copy(disk, GetParam()), 0, 48 * MiB, 9));
  ::umount2(folder.c_str(), MNT_DETACH);
}

TEST(DiskSpace, SaveToAFullDiskFailsAndTheMachineGoesOn) {
  const std::string folder = small_file_system(8);
  if (folder.empty()) GTEST_SKIP() << "no file system of our own here";
  const std::string socket = scratch("full-save");
  Command command(disk_run("echo up; sleep 2; echo still here", {"--control", socket}));
  ASSERT_TRUE(command.wait_for("up")) << command.errors();
  EXPECT_THAT(control_save(socket, folder + "/state", false), HasSubstr("No space left"));
  EXPECT_THAT(control(socket, status), HasSubstr("\"running\""));
  ASSERT_TRUE(command.wait_end(60));
  EXPECT_THAT(command.output(), HasSubstr("still here"));
  ::umount2(folder.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace nagaya::system_test
