// Linux's own driver uses everything the virtio disk has, on raw and qcow2 images; what it wrote is checked outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <ostream>

#include "disk_util.hpp"

namespace nagaya::system_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::uint64_t MiB = 1 << 20;

struct Shape {
  std::string name, format, options;
  bool backed = false;
};
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

std::uint64_t allocated(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_blocks) * 512 : 0;
}

class Disk : public ::testing::TestWithParam<Shape> {
 protected:
  /// A disk of 96 MiB; behind a backed one lies an image whose first 32 MiB hold the pattern of seed 1.
  void make() {
    const Shape& shape = GetParam();
    path = scratch(shape.name + "." + shape.format);
    std::filesystem::remove(path);
    if (!shape.backed) return make_disk(path, shape.format, 96 * MiB);
    const std::string base = scratch("base.qcow2");
    std::filesystem::remove(base);
    make_disk(base, "qcow2", 96 * MiB);
    const Outcome filled = run(disk_run("/test/disktool fill /dev/vda 0 $((32 << 20)) 1", {"--disk", disk_option(base, "qcow2")}), 120);
    ASSERT_THAT(filled.output, HasSubstr("fill good"));
    // A relative name lies in the image's own folder.
    make_disk(path, "qcow2", 96 * MiB, "backing_file=base.qcow2,backing_fmt=qcow2");
  }
  std::string option() const { return disk_option(path, GetParam().format, GetParam().options); }
  void check_outside(std::uint64_t offset, std::uint64_t length, std::uint64_t seed) const {
    if (GetParam().format == "qcow2") { EXPECT_EQ(image_check(path), 0); }
    EXPECT_TRUE(holds_pattern(raw_copy(path, GetParam().format), offset, length, seed));
  }
  std::string path;
};
INSTANTIATE_TEST_SUITE_P(Images, Disk,
                         ::testing::Values(Shape{"raw", "raw", ""}, Shape{"raw_threads_split", "raw", "io=threads,ring=split"},
                                           Shape{"qcow2", "qcow2", ""}, Shape{"qcow2_split", "qcow2", "ring=split"},
                                           Shape{"overlay", "qcow2", "", true}),
                         [](const auto& info) { return info.param.name; });

TEST_P(Disk, EveryFeature) {
  make();
  const std::string work =
      "D=/dev/vda; M=$((1 << 20)); Q=/sys/block/vda; T=/test/disktool; "
      "echo queues=$(ls $Q/mq | wc -l) serial=$(cat $Q/serial) cache=$(cat $Q/queue/write_cache); "
      "[ $(cat $Q/queue/discard_max_bytes) -gt 0 ] && [ $(cat $Q/queue/write_zeroes_max_bytes) -gt 0 ] && echo has discard and zeroes; "
      // The ring kind is bit 34 of the features that driver and device agreed upon.
      "echo packed=$(cut -c35 /sys/bus/virtio/devices/virtio0/features); "
      "$T fill $D $((40*M)) $((16*M)) 5 & $T fill $D $((56*M)) $((16*M)) 5; wait; $T check $D $((40*M)) $((32*M)) 5; "
      // Reads past the page cache, in pieces that make long chains.
      "dd if=$D of=/dev/null bs=4M skip=10 count=8 2>/dev/null && echo read; "
      "$T discard $D $((48*M)) $((4*M)); $T zero $D $((52*M)) $((2*M)); $T zeroed $D $((52*M)) $((2*M)); "
      "$T punch $D $((54*M)) $((2*M)); $T zeroed $D $((54*M)) $((2*M)); "
      "$T check $D $((40*M)) $((8*M)) 5; $T check $D $((56*M)) $((16*M)) 5; blkdiscard -o $((80*M)) -l $((4*M)) $D && echo blkdiscard; "
      // With its cache off every write is stable by itself.
      "echo write through >$Q/queue/write_cache; $T fill $D $((72*M)) $((4*M)) 5; $T check $D $((72*M)) $((4*M)) 5; "
      "echo errors=$(dmesg | grep -c -e 'I/O erro[r]'); echo finished";
  const Outcome outcome = run(disk_run(work, {"--disk", option() + ",serial=red-disk", "-c", "2"}), 240);
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  EXPECT_THAT(outcome.output, HasSubstr("queues=2 serial=red-disk cache=write back"));
  EXPECT_THAT(outcome.output, HasSubstr("has discard and zeroes"));
  EXPECT_THAT(outcome.output, HasSubstr(GetParam().options.find("split") == std::string::npos ? "packed=1" : "packed=0"));
  for (const char* word : {"read\r", "discard good", "zero good", "punch good", "blkdiscard", "errors=0", "finished"}) {
    EXPECT_THAT(outcome.output, HasSubstr(word));
  }
  EXPECT_THAT(outcome.output, Not(HasSubstr("bad")));
  if (GetParam().backed) check_outside(0, 32 * MiB, 1);
  check_outside(40 * MiB, 8 * MiB, 5);
  check_outside(56 * MiB, 20 * MiB, 5);
}

TEST_P(Disk, ReadOnlyStaysAsItIs) {
  make();
  const std::string before = run_tool({"sha256sum", path}).output;
  const Outcome outcome = run(disk_run("echo ro=$(blockdev --getro /dev/vda); /test/disktool fill /dev/vda 0 4096 1; cat /dev/vda >/dev/null && echo read",
                                       {"--disk", option() + ",readonly=on"}), 120);
  EXPECT_THAT(outcome.output, HasSubstr("ro=1"));
  EXPECT_THAT(outcome.output, HasSubstr("fill bad"));
  EXPECT_THAT(outcome.output, HasSubstr("read"));
  EXPECT_EQ(run_tool({"sha256sum", path}).output, before);
}

TEST_P(Disk, GrowsWhileTheGuestRuns) {
  make();
  const std::string socket = scratch("grow-" + GetParam().name);
  Command command(disk_run("B=/dev/vda; echo ready; while [ $(blockdev --getsize64 $B) = $((96 << 20)) ]; do sleep 0.1; done; "
                           "echo now $(blockdev --getsize64 $B); /test/disktool fill $B $((120 << 20)) $((8 << 20)) 2; /test/disktool check $B $((120 << 20)) $((8 << 20)) 2",
                           {"--disk", option(), "--control", socket}));
  ASSERT_TRUE(command.wait_for("ready")) << command.errors();
  EXPECT_THAT(control(socket, R"({"command":"resize_disk","disk":"disk7","size":134217728})"), HasSubstr("no disk 'disk7'"));
  EXPECT_THAT(control(socket, R"({"command":"resize_disk","disk":"disk0","size":67108864})"), HasSubstr("only grows"));
  EXPECT_THAT(control(socket, R"({"command":"resize_disk","disk":"disk0","size":134217728})"), HasSubstr("\"ok\":true"));
  ASSERT_TRUE(command.wait_end(120));
  EXPECT_THAT(command.output(), HasSubstr("now 134217728"));
  EXPECT_THAT(command.output(), HasSubstr("check good"));
  check_outside(120 * MiB, 8 * MiB, 2);
  if (GetParam().backed) check_outside(0, 32 * MiB, 1);
}

// fio writes with its own checksums and reads everything back.
TEST_P(Disk, FioVerifies) {
  make();
  const std::string common = "--filename=/dev/vda --direct=1 --ioengine=libaio --verify=crc32c --verify_fatal=1 --thread --minimal --randseed=3";
  const std::string work =
      "fio --name=a " + common + " --rw=randwrite --bs=4k --iodepth=16 --size=12m --offset=0 >/dev/null && echo random writes verified; "
      "fio --name=b " + common + " --rw=write --bs=256k --iodepth=4 --size=24m --offset=16m --fsync=16 >/dev/null && echo sequential writes verified; "
      "fio --name=c " + common + " --rw=randwrite --bsrange=512-64k --blockalign=512 --iodepth=8 --numjobs=2 --size=8m --offset=48m --offset_increment=16m >/dev/null && echo odd writes verified";
  const Outcome outcome = run(disk_run(work, {"--disk", option(), "-c", "2"}, "initrd-amd64-fio"), 300);
  EXPECT_EQ(outcome.code, 0) << outcome.errors;
  for (const char* word : {"random writes verified", "sequential writes verified", "odd writes verified"}) {
    EXPECT_THAT(outcome.output, HasSubstr(word));
  }
  if (GetParam().format == "qcow2") { EXPECT_EQ(image_check(path), 0); }
}

TEST(Disk, DiscardGivesSpaceBack) {
  for (const std::string format : {"raw", "qcow2"}) {
    const std::string path = scratch("discard." + format);
    make_disk(path, format, 64 * MiB);
    const std::string socket = scratch("discard-" + format);
    Command command(disk_run("/test/disktool fill /dev/vda 0 $((32 << 20)) 1; echo filled; read line; blkdiscard -o 0 -l $((24 << 20)) /dev/vda; /test/disktool fill /dev/vda $((31 << 20)) 4096 1; echo emptied; read line",
                             {"--disk", disk_option(path, format)}), Command::Input::pipe);
    ASSERT_TRUE(command.wait_for("filled")) << command.errors();
    EXPECT_GE(allocated(path), 32 * MiB);
    command.send("\n");
    ASSERT_TRUE(command.wait_for("emptied"));
    EXPECT_LE(allocated(path), 9 * MiB) << format;
    command.send("\n");
    ASSERT_TRUE(command.wait_end(60));
    EXPECT_TRUE(holds_pattern(raw_copy(path, format), 24 * MiB, 8 * MiB, 1));
  }
}

// A limit is a limit: 40 requests of 64 KiB take about two seconds at 20 a second.
TEST(Disk, LimitsHold) {
  const std::string path = scratch("limited.raw");
  make_disk(path, "raw", 16 * MiB);
  const Outcome outcome = run(disk_run("A=$(cut -d. -f1 /proc/uptime); dd if=/dev/zero of=/dev/vda bs=64k count=80 oflag=direct 2>/dev/null; "
                                       "B=$(cut -d. -f1 /proc/uptime); echo took=$((B - A))",
                                       {"--disk", disk_option(path, "raw", "iops=20,iops-burst=1")}), 120);
  const std::size_t at = outcome.output.find("took=");
  ASSERT_NE(at, std::string::npos) << outcome.output;
  EXPECT_GE(std::atoi(outcome.output.c_str() + at + 5), 3);
}

}  // namespace
}  // namespace nagaya::system_test
