// What a hostile or unlucky image meets: formats that are stated, backing files that are confined, kills, repair.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <random>

#include "block/block_test_util.hpp"
#include "block/bytes.hpp"

namespace nagaya::block {
namespace {

using test::Folder;

void poke(const std::string& path, u64 offset, u64 value) {
  auto file = File::open(path, Access::read_write);
  ASSERT_FINE(file);
  std::array<u8, 8> raw{};
  store_be<u64>(raw.data(), value);
  ASSERT_EQ(file->write(offset, raw.data(), raw.size()), 0);
}

TEST(Formats, ARawDiskStaysRawWhateverTheGuestWrites) {
  Folder folder;
  ASSERT_FINE(create_image({.path = folder / "secret", .format = Format::raw, .size = 1 * MiB}));
  ASSERT_FINE(create_image({.path = folder / "d", .format = Format::raw, .size = 1 * MiB}));
  ASSERT_FINE(create_image({.path = folder / "evil", .size = 1 * MiB, .backing_path = "secret", .backing_format = Format::raw}));
  auto evil = File::open(folder / "evil", Access::read_only);
  ASSERT_FINE(evil);
  std::vector<u8> header(4096);
  ASSERT_EQ(evil->read(0, header.data(), header.size()), 0);
  for (int i = 0; i < 2; ++i) {
    auto disk = open_image({.path = folder / "d"});
    ASSERT_FINE(disk);
    EXPECT_EQ((*disk)->size(), 1 * MiB);
    EXPECT_EQ((*disk)->backing(), nullptr);
    ASSERT_EQ(test::write_at(**disk, 0, header), 0);
    EXPECT_EQ(test::read_at(**disk, 0, 4096), header);
  }
}

TEST(Backing, StaysInTheFolderUnlessAllowed) {
  Folder folder, other;
  ASSERT_EQ(::mkdir((folder / "in").c_str(), 0755), 0);
  for (const auto& path : {folder / "in/base", folder / "up", other / "far"}) {
    ASSERT_FINE(create_image({.path = path, .format = Format::raw, .size = 1 * MiB}));
  }
  ASSERT_EQ(::symlink((other / "far").c_str(), (folder / "in/link").c_str()), 0);
  auto create = [&](const std::string& backing, std::vector<std::string> allowed = {}) {
    ::unlink((folder / "in/top").c_str());
    return create_image({.path = folder / "in/top", .backing_path = backing, .backing_format = Format::raw, .allowed_backing = std::move(allowed)});
  };
  EXPECT_TRUE(create("base"));
  for (const std::string& bad : {std::string("../up"), other / "far", std::string("link"), std::string("nbd:host:1"),
                                 std::string("json:{}"), std::string("/dev/zero"), std::string("missing"), std::string(".")}) {
    EXPECT_FALSE(create(bad)) << bad;
  }
  EXPECT_TRUE(create("../up", {folder / "up"}));
  EXPECT_TRUE(create(other / "far", {other.path()}));
  EXPECT_TRUE(create("link", {other.path()}));
  EXPECT_FALSE(create(other / "far", {other / "fa"}));
  // What was allowed when it was made is asked again when it is opened.
  ASSERT_TRUE(create("../up", {folder / "up"}));
  EXPECT_FALSE(open_image({.path = folder / "in/top", .format = Format::qcow2}));
  EXPECT_TRUE(open_image({.path = folder / "in/top", .format = Format::qcow2, .allowed_backing = {folder / "up"}}));
}

TEST(Backing, RingsAndUnstatedFormatsAreRefused) {
  Folder folder;
  ASSERT_FINE(create_image({.path = folder / "b", .size = 1 * MiB}));
  ASSERT_FINE(create_image({.path = folder / "a", .backing_path = "b", .backing_format = Format::qcow2}));
  ::unlink((folder / "b").c_str());
  ASSERT_EQ(::symlink("a", (folder / "b").c_str()), 0);
  auto ring = open_image({.path = folder / "a", .format = Format::qcow2, .read_only = true});
  ASSERT_FALSE(ring);
  EXPECT_NE(ring.error().message().find("ring"), std::string::npos);

  ASSERT_FINE(create_image({.path = folder / "c", .size = 1 * MiB}));
  ASSERT_FINE(create_image({.path = folder / "d", .backing_path = "c", .backing_format = Format::qcow2}));
  poke(folder / "d", 112, 0);  // the extension that states the format ends the list instead
  EXPECT_FALSE(open_image({.path = folder / "d", .format = Format::qcow2}));
  EXPECT_TRUE(open_image({.path = folder / "d", .format = Format::qcow2, .backing_format = Format::qcow2}));
}

// An image with some data, snapshot and compressed clusters, in 4 KiB clusters.
void fill(const std::string& path) {
  ASSERT_FINE(create_image({.path = path, .size = 1 * MiB, .cluster_size = 4096}));
  auto image = open_qcow2({.path = path, .format = Format::qcow2});
  ASSERT_FINE(image);
  ASSERT_EQ(test::write_at(**image, 0, std::vector<u8>(256 * KiB, 1)), 0);
  ASSERT_FINE((*image)->create_snapshot("one"));
  ASSERT_EQ(test::write_at(**image, 64 * KiB, std::vector<u8>(64 * KiB, 2)), 0);
  ASSERT_EQ((*image)->write_compressed(512 * KiB, std::vector<u8>(4096, 3)), 0);
  ASSERT_FINE((*image)->close());
}

TEST(Repair, MendsRefcountsAndFlags) {
  Folder folder;
  std::mt19937_64 random(5);
  for (int i = 0; i < 30; ++i) {
    const std::string path = folder / fmt::format("d{}", i);
    fill(path);
    u64 refblock;
    {
      auto image = open_qcow2({.path = path, .format = Format::qcow2, .read_only = true});
      ASSERT_FINE(image);
      refblock = 2 * 4096;
      ASSERT_EQ((*image)->header().reftable_offset, 4096u);
    }
    poke(path, refblock + random() % 100 * 2 / 8 * 8, random());
    auto image = open_qcow2({.path = path, .format = Format::qcow2}, true);
    ASSERT_FINE(image);
    auto found = (*image)->check(false);
    ASSERT_FINE(found);
    EXPECT_FALSE(found->clean());
    auto mended = (*image)->check(true);
    ASSERT_FINE(mended);
    EXPECT_TRUE(mended->clean());
    EXPECT_EQ(test::read_at(**image, 64 * KiB, 64 * KiB), std::vector<u8>(64 * KiB, 2));
    image->reset();
    if (i % 10 == 0 && test::have_qemu_img()) {
      EXPECT_EQ(test::shell("qemu-img check -q -f qcow2 " + path), 0);
    }
    image = open_qcow2({.path = path, .format = Format::qcow2});
    ASSERT_FINE(image);
    EXPECT_EQ((*image)->check(false)->corruptions, 0u);
    EXPECT_EQ(test::read_at(**image, 512 * KiB, 4096), std::vector<u8>(4096, 3));
    ASSERT_FINE((*image)->apply_snapshot("one"));
    EXPECT_EQ(test::read_at(**image, 0, 256 * KiB), std::vector<u8>(256 * KiB, 1));
  }
}

TEST(Repair, DropsWhatPointsNowhere) {
  Folder folder;
  const std::string path = folder / "d";
  fill(path);
  u64 l2;
  {
    auto image = open_qcow2({.path = path, .format = Format::qcow2, .read_only = true});
    ASSERT_FINE(image);
    u8 raw[8];
    ASSERT_EQ((*image)->file().read((*image)->header().l1_offset, raw, 8), 0);
    l2 = load_be<u64>(raw) & qcow2::offset_mask;
  }
  poke(path, l2 + 16 * 8, qcow2::flag_copied | u64{1} << 40);  // past the end
  poke(path, l2 + 17 * 8, qcow2::flag_copied | 4096);          // the refcount table
  poke(path, l2 + 18 * 8, qcow2::flag_copied | 0x1200);        // not a cluster
  auto image = open_qcow2({.path = path, .format = Format::qcow2}, true);
  ASSERT_FINE(image);
  auto report = (*image)->check(true);
  ASSERT_FINE(report);
  EXPECT_GE(report->corruptions, 3u);
  EXPECT_TRUE(report->clean());
  EXPECT_EQ(test::read_at(**image, 16 * 4096, 3 * 4096), std::vector<u8>(3 * 4096));
  EXPECT_EQ(test::read_at(**image, 19 * 4096, 4096), std::vector<u8>(4096, 2));
}

TEST(Corrupt, AWriteNeverHitsATable) {
  Folder folder;
  const std::string path = folder / "d";
  fill(path);
  u64 l2;
  {
    auto image = open_qcow2({.path = path, .format = Format::qcow2, .read_only = true});
    ASSERT_FINE(image);
    u8 raw[8];
    ASSERT_EQ((*image)->file().read((*image)->header().l1_offset, raw, 8), 0);
    l2 = load_be<u64>(raw) & qcow2::offset_mask;
  }
  poke(path, l2 + 16 * 8, qcow2::flag_copied | 4096);
  {
    auto image = open_qcow2({.path = path, .format = Format::qcow2});
    ASSERT_FINE(image);
    EXPECT_EQ(test::write_at(**image, 16 * 4096, std::vector<u8>(512, 1)), EIO);
    EXPECT_EQ(test::write_at(**image, 0, std::vector<u8>(512, 1)), EIO);  // it is not written any more
  }
  EXPECT_FALSE(open_image({.path = path, .format = Format::qcow2}));
  EXPECT_TRUE(open_image({.path = path, .format = Format::qcow2, .read_only = true}));
}

// A child writes and tells after each flush how far it came; it is killed at any instant.
class Killed : public testing::TestWithParam<bool> {};

TEST_P(Killed, LeavesLeaksAtMostAndEveryFlushedByte) {
  const bool lazy = GetParam();
  Folder folder;
  std::mt19937_64 random(11);
  for (int round = 0; round < 12; ++round) {
    const std::string path = folder / fmt::format("d{}", round);
    ASSERT_FINE(create_image({.path = path, .size = 64 * MiB, .cluster_size = 4096, .lazy_refcounts = lazy}));
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto image = open_qcow2({.path = path, .format = Format::qcow2});
      if (!image) ::_exit(1);
      // Block b holds b's number; it is written once, and some blocks are zeroed and written again before.
      for (u32 b = 0; b < 8192; ++b) {
        const u64 at = u64{b} * 5 % 8192 * 8192;
        std::vector<u8> data(6144);
        std::memcpy(data.data(), &b, sizeof b);
        if (b % 3 == 0 && test::write_at(**image, at, data) != 0) ::_exit(2);
        if (b % 6 == 0 && (*image)->discard(at, 8192) != 0) ::_exit(2);
        if (test::write_at(**image, at, data) != 0) ::_exit(2);
        if (b % 8 == 7) {
          if ((*image)->flush() != 0) ::_exit(3);
          if (::write(ends[1], &b, sizeof b) != sizeof b) ::_exit(4);
        }
      }
      ::pause();
    }
    ::close(ends[1]);
    u32 flushed = 0, got = 0;
    const u32 stop = static_cast<u32>(random() % 300);
    for (u32 i = 0; i <= stop && ::read(ends[0], &got, sizeof got) == sizeof got; ++i) flushed = got + 1;
    ::kill(child, SIGKILL);
    int status;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    while (::read(ends[0], &got, sizeof got) == sizeof got) flushed = got + 1;
    ::close(ends[0]);

    if (!lazy) {
      auto look = open_qcow2({.path = path, .format = Format::qcow2, .read_only = true});
      ASSERT_FINE(look);
      auto report = (*look)->check(false);
      ASSERT_FINE(report);
      EXPECT_EQ(report->corruptions, 0u) << (report->messages.empty() ? "" : report->messages.front());
      if (test::have_qemu_img()) {
        const int verdict = test::shell("qemu-img check -q -f qcow2 " + path + " >/dev/null 2>&1");
        EXPECT_TRUE(verdict == 0 || verdict == 3) << verdict;
      }
    }
    auto image = open_qcow2({.path = path, .format = Format::qcow2});  // a lazy image is mended here
    ASSERT_FINE(image);
    for (u32 b = 0; b < flushed; ++b) {
      const auto data = test::read_at(**image, u64{b} * 5 % 8192 * 8192, 4);
      u32 value;
      std::memcpy(&value, data.data(), 4);
      ASSERT_EQ(value, b);
    }
    auto mended = (*image)->check(true);
    ASSERT_FINE(mended);
    EXPECT_TRUE(mended->clean());
  }
}

INSTANTIATE_TEST_SUITE_P(Refcounts, Killed, testing::Bool(), [](const auto& info) { return info.param ? "lazy" : "strict"; });

}  // namespace
}  // namespace nagaya::block
