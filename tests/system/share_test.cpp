// Folders of the host in a guest, and files as its persistent memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "disk_util.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

std::string new_folder(const std::string& name) {
  const std::string path = scratch(name);
  fs::remove_all(path);
  fs::create_directories(path);
  return path;
}

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const std::string& path, const std::string& data) { std::ofstream(path, std::ios::binary) << data; }

std::string noise(std::size_t size) {
  std::mt19937_64 random(size);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

/// The same program that runs in the guest.
std::string filetool() {
  const char* archive = std::getenv("NAGAYA_PROGRAMS");
  return fs::path(archive != nullptr ? archive : "").parent_path() / "programs/test/filetool";
}

/// What stands between two lines of a guest's output.
std::string between(const std::string& text, const std::string& from, const std::string& to) {
  std::string out;
  const std::size_t begin = text.find(from + "\r\n");
  if (begin == std::string::npos) return out;
  const std::size_t start = begin + from.size() + 2, end = text.find(to, start);
  for (std::size_t i = start; i < std::min(end, text.size()); ++i) {
    if (text[i] != '\r') out += text[i];
  }
  return out;
}

/// Mounts the share and runs `commands`.
Words share_run(const std::string& commands, const std::string& folder, const std::string& more = {}, const Words& options = {}) {
  Words words{"--share", "tag=home,path=" + folder + more};
  words.insert(words.end(), options.begin(), options.end());
  return disk_run("modprobe virtiofs; mkdir /m; mount -t virtiofs home /m; cd /m; " + commands, words);
}

TEST(Share, TheSameBytesOnBothSides) {
  const std::string folder = new_folder("bytes");
  write(folder + "/given", noise(3'000'001));
  fs::create_directories(folder + "/a/b");
  fs::create_symlink("../given", folder + "/a/link");
  const Outcome outcome = run(share_run("sha256sum given; cat a/link | sha256sum; dd if=/dev/urandom of=made bs=4097 count=700; sha256sum made; "
                                        "mkdir new; mv made new/moved; ln new/moved hard; chmod 4711 hard; ls -l hard; sync; grep -c virtiofs /proc/mounts; "
                                        "cd /; umount /m && echo unmounted", folder));
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  const auto sum = [](const std::string& path) { return run_tool({"sha256sum", path}).output.substr(0, 64); };
  EXPECT_THAT(outcome.output, HasSubstr(sum(folder + "/given") + "  given"));
  EXPECT_THAT(outcome.output, HasSubstr(sum(folder + "/given") + "  -"));
  EXPECT_THAT(outcome.output, HasSubstr(sum(folder + "/new/moved") + "  made"));
  EXPECT_EQ(fs::file_size(folder + "/hard"), 4097u * 700u);
  EXPECT_EQ(fs::hard_link_count(folder + "/hard"), 2u);
  EXPECT_THAT(outcome.output, HasSubstr("-rws--x--x"));
  EXPECT_THAT(outcome.output, HasSubstr("unmounted"));
}

TEST(Share, ChangesOfTheHostShow) {
  const std::string folder = new_folder("host");
  write(folder + "/file", "first");
  Command command(share_run("cat file; echo; echo go1; while [ ! -e next ]; do sleep 0.1; done; cat file; echo; ls; cat gone || echo no file", folder));
  write(folder + "/gone", "x");
  ASSERT_TRUE(command.wait_for("go1", 60)) << command.errors();
  write(folder + "/file", "second, longer");
  fs::remove(folder + "/gone");
  write(folder + "/next", "");
  ASSERT_TRUE(command.wait_end(60));
  EXPECT_THAT(command.output(), HasSubstr("first"));
  EXPECT_THAT(command.output(), HasSubstr("second, longer"));
  EXPECT_THAT(command.output(), HasSubstr("no file"));
}

TEST(Share, StressWithSeveralWriters) {
  const std::string folder = new_folder("stress");
  const Outcome outcome = run(share_run("/test/filetool stress /m 4 1500 7; sync; cd /; echo 3 >/proc/sys/vm/drop_caches; echo sums; /test/filetool sums /m; echo end of sums", folder,
                                        {}, {"-c", "2"}), 240);
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("stress good"));
  const std::string guest = between(outcome.output, "sums", "end of sums");
  EXPECT_GT(std::ranges::count(guest, '\n'), 50);
  EXPECT_EQ(run_tool({filetool(), "sums", folder}).output, guest);
}

TEST(Share, ReadOnlyIsReadOnly) {
  const std::string folder = new_folder("readonly");
  write(folder + "/file", "content");
  const Outcome outcome = run(share_run("cat file; echo; echo x >file; echo x >new; rm file; mkdir d; chmod 777 file; echo end", folder, ",readonly=on"));
  EXPECT_THAT(outcome.output, HasSubstr("content"));
  std::size_t refused = 0;
  for (std::size_t at = 0; (at = outcome.output.find("Read-only file system", at)) != std::string::npos; ++at) ++refused;
  EXPECT_EQ(refused, 5u) << outcome.output;
  EXPECT_EQ(content(folder + "/file"), "content");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), {}), 1);
}

TEST(Share, LinksStayInTheGuest) {
  const std::string folder = new_folder("links"), secret = scratch("links-secret");
  write(secret, "of the host");
  fs::create_symlink(secret, folder + "/absolute");
  fs::create_symlink("../../../../../../../../" + secret, folder + "/relative");
  const Outcome outcome = run(share_run("cat absolute relative; cat ../$(basename $(readlink absolute)); ls -l; mknod disk b 8 0 || echo no device; mkfifo pipe && (echo through >pipe & cat pipe)", folder));
  EXPECT_THAT(outcome.output, Not(HasSubstr("of the host")));
  EXPECT_THAT(outcome.output, HasSubstr("no device"));
  EXPECT_THAT(outcome.output, HasSubstr("through"));
}

TEST(Share, SavedWithOpenFiles) {
  const std::string folder = new_folder("saved"), file = scratch("share-state");
  {
    Command command(share_run("/test/filetool lines log 600", folder, {}, {"--save-on-signal", file, "--save-and-exit"}));
    ASSERT_TRUE(command.wait_for("under way", 60)) << command.errors();
    command.signal(SIGUSR1);
    ASSERT_TRUE(command.wait_end(60));
    ASSERT_EQ(command.exit_code(), 0) << command.errors();
  }
  EXPECT_LT(fs::file_size(folder + "/log"), 600u * 12u);
  const Outcome outcome = run({"run", "--restore", file, "--engine", "soft", "--no-reboot"}, 60);
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("lines good"));
  std::string wanted;
  char line[32];
  for (int i = 0; i < 600; ++i) wanted.append(line, static_cast<std::size_t>(std::snprintf(line, sizeof line, "line %06d\n", i)));
  EXPECT_EQ(content(folder + "/log"), wanted);
}

TEST(Share, WhatIsGoneAfterARestoreIsAnError) {
  const std::string folder = new_folder("lost"), file = scratch("lost-state");
  {
    Command command(share_run("/test/filetool lines log 600; echo on; cat other", folder, {}, {"--save-on-signal", file, "--save-and-exit"}));
    ASSERT_TRUE(command.wait_for("under way", 60)) << command.errors();
    command.signal(SIGUSR1);
    ASSERT_TRUE(command.wait_end(60));
  }
  fs::remove(folder + "/log");
  write(folder + "/other", "is there");
  const Outcome outcome = run({"run", "--restore", file, "--engine", "soft", "--no-reboot"}, 60);
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("lines bad"));
  EXPECT_THAT(outcome.output, HasSubstr("is there"));
  EXPECT_THAT(outcome.errors, HasSubstr("no longer there"));
  EXPECT_FALSE(fs::exists(folder + "/log"));
}

TEST(Share, BadFoldersAreErrors) {
  write(scratch("no-folder"), "x");
  for (const std::string& path : {scratch("none-there"), scratch("no-folder")}) {
    const Outcome outcome = run(small_run("counter", "soft", {}, {"--share", "tag=t,path=" + path}), 30);
    EXPECT_EQ(outcome.code, 125);
    EXPECT_THAT(outcome.errors, HasSubstr(path));
  }
}

// ---- Persistent memory ----

// Linux finds the name space on a thread of its own.
const std::string load_pmem = "modprobe virtio_pmem; modprobe nd_pmem; modprobe ext4; mkdir /m; while [ ! -b /dev/pmem0 ]; do sleep 0.1; done; ";

std::string new_memory(const std::string& name, unsigned megabytes) {
  const std::string path = scratch(name);
  fs::remove(path);
  write(path, "");
  fs::resize_file(path, std::uintmax_t{megabytes} << 20);
  const Outcome made = run_tool({"mkfs.ext4", "-q", "-b", "4096", path});
  EXPECT_EQ(made.code, 0) << made.output;
  return path;
}

class Pmem : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Mounts, Pmem, ::testing::Values("", "-o dax"), [](const auto& info) { return info.param.empty() ? "Blocks" : "Direct"; });

TEST_P(Pmem, WhatWasSyncedIsInTheFile) {
  const std::string path = new_memory("pmem", 64);
  const std::string mount = "mount -t ext4 " + GetParam() + " /dev/pmem0 /m; ";
  Outcome outcome = run(disk_run(load_pmem + mount + "dd if=/dev/urandom of=/m/file bs=64k count=100; sha256sum /m/file; sync; umount /m", {"--pmem", "path=" + path}));
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_EQ(run_tool({"e2fsck", "-fn", path}).code, 0);
  const Outcome read = run_tool({"debugfs", "-R", "dump /file " + path + ".out", path});
  EXPECT_EQ(read.code, 0) << read.output;
  const std::string sum = run_tool({"sha256sum", path + ".out"}).output.substr(0, 64);
  EXPECT_THAT(outcome.output, HasSubstr(sum + "  /m/file"));
  // And in the next machine, of another size.
  outcome = run(disk_run(load_pmem + mount + "sha256sum /m/file; umount /m", {"--pmem", "path=" + path, "-m", "400M"}));
  EXPECT_THAT(outcome.output, HasSubstr(sum + "  /m/file"));
}

TEST_P(Pmem, SavedMachinesGoOnWithIt) {
  const std::string path = new_memory("pmem-saved", 64), file = scratch("pmem-state");
  {
    Command command(disk_run(load_pmem + "mount -t ext4 " + GetParam() + " /dev/pmem0 /m; /test/filetool lines /m/log 600; umount /m",
                             {"--pmem", "path=" + path, "--save-on-signal", file, "--save-and-exit"}));
    ASSERT_TRUE(command.wait_for("under way", 60)) << command.errors();
    command.signal(SIGUSR1);
    ASSERT_TRUE(command.wait_end(60));
    ASSERT_EQ(command.exit_code(), 0) << command.errors();
  }
  const Outcome outcome = run({"run", "--restore", file, "--engine", "soft", "--no-reboot"}, 60);
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("lines good"));
  EXPECT_EQ(run_tool({"e2fsck", "-fn", path}).code, 0);
}

TEST(Pmem, ReadOnlyFilesAreNeverWritten) {
  const std::string path = new_memory("pmem-readonly", 32);
  const std::string before = run_tool({"sha256sum", path}).output;
  const Outcome outcome = run(disk_run(load_pmem + "mount -t ext4 -o ro /dev/pmem0 /m && ls -d /m/lost+found; umount /m; "
                                       "mount -t ext4 /dev/pmem0 /m && echo x >/m/new && sync && echo believed it; dd if=/dev/zero of=/dev/pmem0 bs=1M count=1 conv=fsync || echo refused",
                                       {"--pmem", "path=" + path + ",readonly=on"}));
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("/m/lost+found"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("believed it")));
  EXPECT_THAT(outcome.output, HasSubstr("refused"));
  EXPECT_EQ(run_tool({"sha256sum", path}).output, before);
}

TEST(Pmem, BadFilesAreErrors) {
  write(scratch("odd-memory"), "x");
  Outcome outcome = run(small_run("counter", "soft", {}, {"--pmem", "path=" + scratch("odd-memory")}), 30);
  EXPECT_EQ(outcome.code, 125);
  EXPECT_THAT(outcome.errors, HasSubstr("no multiple of 2 MiB"));
  outcome = run(small_run("counter", "soft", {}, {"--pmem", "path=" + scratch("none-there")}), 30);
  EXPECT_EQ(outcome.code, 125);
}

}  // namespace
}  // namespace nagaya::system_test
