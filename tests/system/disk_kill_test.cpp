// kill -9 of a machine's process while its guest writes: images stay sound, and what the guest was told is safe is there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>
#include <random>

#include "disk_util.hpp"
#include "programs/pattern.h"

namespace nagaya::system_test {
namespace {

constexpr unsigned threads = 4;
constexpr std::uint64_t disk_bytes = std::uint64_t{threads} * record_slots * pattern_block + (1 << 20);

/// The last number each thread of the guest reported as safe, by lines "safe THREAD NUMBER".
std::map<unsigned, std::uint64_t> reported(const std::string& output) {
  std::map<unsigned, std::uint64_t> last;
  for (std::size_t at = 0, end; (end = output.find('\n', at)) != std::string::npos; at = end + 1) {
    unsigned thread;
    unsigned long long number;
    // Only whole lines: the kill may cut one.
    if (std::sscanf(output.c_str() + at, "safe %u %llu", &thread, &number) == 2 && thread < threads) last[thread] = number;
  }
  return last;
}

/// What must be on the disk, slot by slot.
void verify(const std::string& raw, std::uint64_t seed, const std::map<unsigned, std::uint64_t>& safe) {
  std::ifstream in(raw, std::ios::binary);
  std::vector<char> block(pattern_block);
  const std::vector<char> zeroes(pattern_block, 0);
  for (const auto& [thread, last] : safe) {
    std::map<std::uint32_t, std::uint64_t> wanted;  // slot → number of the last safe write
    for (std::uint64_t n = 1; n <= last; ++n) {
      const record_op op = record_operation(seed + thread, n);
      if (op.discard == 0 && op.slot < record_slots / 2) wanted[op.slot] = n;
    }
    for (std::uint32_t slot = 0; slot < record_slots; ++slot) {
      in.seekg(static_cast<std::streamoff>((std::uint64_t{thread} * record_slots + slot) * pattern_block));
      ASSERT_TRUE(in.read(block.data(), pattern_block));
      std::uint64_t words[2];
      std::memcpy(words, block.data(), sizeof words);
      const bool whole = pattern_is(block.data(), words[0], words[1]) != 0;
      // Nothing but whole records or zeroes anywhere, also from earlier lives and where it was discarded.
      ASSERT_TRUE(whole || block == zeroes) << "thread " << thread << " slot " << slot;
      if (!wanted.contains(slot)) continue;
      ASSERT_EQ(words[0], seed + thread) << "slot " << slot;
      ASSERT_GE(words[1], wanted[slot]) << "thread " << thread << " slot " << slot << " is older than what was safe";
      const record_op op = record_operation(seed + thread, words[1]);
      ASSERT_TRUE(op.discard == 0 && op.slot == slot) << "thread " << thread << " slot " << slot << " holds another's record";
    }
  }
}

struct Shape {
  std::string name, options;
  bool backed;
};
void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

/// Sound as it lies there. With lazy refcounts an image that was not closed has refcounts that are too low, says so by its
/// dirty bit, and must be whole after a repair.
bool sound(const std::string& disk, const Shape& shape) {
  if (shape.options.find("lazy") == std::string::npos) {
    const int opinion = image_check(disk);
    return opinion == 0 || opinion == 3;
  }
  const std::string copy = disk + ".repaired";
  std::filesystem::copy_file(disk, copy, std::filesystem::copy_options::overwrite_existing);
  (void)run_tool({"qemu-img", "check", "-q", "-f", "qcow2", "-r", "all", copy});
  return image_check(copy) == 0;
}

class DiskKill : public ::testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(Images, DiskKill,
                         ::testing::Values(Shape{"plain", "", false}, Shape{"lazy", "lazy_refcounts=on", false},
                                           Shape{"small_clusters", "cluster_size=4096", false}, Shape{"overlay", "", true}),
                         [](const auto& info) { return info.param.name; });

TEST_P(DiskKill, NothingSafeIsLost) {
  const Shape& shape = GetParam();
  const std::string disk = scratch("kill-" + shape.name + ".qcow2"), elsewhere = scratch("elsewhere"), base = elsewhere + "/base.qcow2";
  std::string options = shape.options, more;
  if (shape.backed) {
    std::filesystem::create_directories(elsewhere);
    make_disk(base, "qcow2", disk_bytes);
    more = "backing=" + elsewhere;
    options = "backing_file=" + base + ",backing_fmt=qcow2";
  }
  make_disk(disk, "qcow2", disk_bytes, options);
  std::mt19937 random(static_cast<unsigned>(std::hash<std::string>()(shape.name)));
  std::uniform_real_distribution<double> life(0.05, 0.9);
  std::uint64_t safe_records = 0;
  for (std::uint64_t round = 0; round < 8; ++round) {
    const std::uint64_t seed = (round + 1) * 1000;
    Command command(disk_run("echo begin; /test/disktool records /dev/vda " + std::to_string(threads) + " " + std::to_string(seed),
                             {"--disk", disk_option(disk, "qcow2", more), "-c", "2"}));
    ASSERT_TRUE(command.wait_for("begin")) << command.errors();
    sleep_for(life(random));
    ASSERT_GT(command.vmm_pid(), 0);
    ASSERT_EQ(::kill(command.vmm_pid(), SIGKILL), 0);
    ASSERT_TRUE(command.wait_end(30));
    EXPECT_NE(command.exit_code(), 0);
    const auto safe = reported(command.output());
    for (const auto& [thread, last] : safe) safe_records += last;
    ASSERT_TRUE(sound(disk, shape)) << "round " << round;
    ASSERT_NO_FATAL_FAILURE(verify(raw_copy(disk, "qcow2"), seed, safe)) << "round " << round;
  }
  // The kills came in the middle of work.
  EXPECT_GT(safe_records, 100u);
}

}  // namespace
}  // namespace nagaya::system_test
