// The asynchronous side: every way to run requests, errors, locks, throttling.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <condition_variable>
#include <csignal>
#include <latch>
#include <mutex>

#include "block/block_test_util.hpp"
#include "block/bucket.hpp"
#include "block/pool_disk.hpp"
#include "block/raw.hpp"
#include "block/uring_disk.hpp"

namespace nagaya::block {
namespace {

using test::Folder;

int wait_for(Disk& disk, Request request) {
  std::latch done(1);
  int error = -1;
  request.done = [&](int e) {
    error = e;
    done.count_down();
  };
  disk.submit(std::move(request));
  done.wait();
  return error;
}

class Disks : public testing::TestWithParam<IoMethod> {
 protected:
  std::unique_ptr<Disk> open(const std::string& name, Format format = Format::raw, ThrottleLimits limits = {}) {
    OpenOptions options{.path = folder_ / name, .format = format, .io = GetParam(), .throttle = limits};
    auto disk = open_disk(options);
    if (!disk && GetParam() == IoMethod::io_uring && (disk.error().code == EPERM || disk.error().code == ENOSYS)) return nullptr;
    EXPECT_TRUE(disk) << test::why(disk);
    return disk ? std::move(*disk) : nullptr;
  }
  Folder folder_;
};

TEST_P(Disks, ManyRequestsInFlight) {
  ASSERT_FINE(create_image({.path = folder_ / "d", .format = Format::raw, .size = 4 * MiB}));
  auto disk = open("d");
  if (!disk) GTEST_SKIP() << "this host forbids io_uring";
  constexpr u64 count = 1024, each = 4096;
  std::vector<u8> data(count * each), back(count * each);
  for (u64 i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(i / 4096 * 7 + i);
  std::vector<iovec> vectors(count * 2);
  for (const Op op : {Op::write, Op::read}) {
    auto& memory = op == Op::write ? data : back;
    std::latch left(count);
    for (u64 i = 0; i < count; ++i) {
      vectors[2 * i] = {&memory[i * each], 1000};
      vectors[2 * i + 1] = {&memory[i * each + 1000], each - 1000};
      disk->submit({.op = op, .offset = i * each, .length = each, .buffers = std::span(vectors).subspan(2 * i, 2),
                    .done = [&](int error) {
                      EXPECT_EQ(error, 0);
                      left.count_down();
                    }});
    }
    left.wait();
  }
  EXPECT_EQ(data, back);
  EXPECT_EQ(wait_for(*disk, {.op = Op::flush}), 0);
  EXPECT_EQ(wait_for(*disk, {.op = Op::write_zeroes, .offset = 4096, .length = 8192, .may_unmap = true}), 0);
  EXPECT_EQ(wait_for(*disk, {.op = Op::discard, .offset = 65536, .length = 65536}), 0);
  std::vector<u8> zeroes(8192, 1);
  const iovec one{zeroes.data(), zeroes.size()};
  EXPECT_EQ(wait_for(*disk, {.op = Op::read, .offset = 4096, .length = 8192, .buffers = {&one, 1}}), 0);
  EXPECT_EQ(zeroes, std::vector<u8>(8192));
}

TEST_P(Disks, WrongRequestsAreRefused) {
  ASSERT_FINE(create_image({.path = folder_ / "d", .format = Format::raw, .size = 1 * MiB}));
  auto disk = open("d");
  if (!disk) GTEST_SKIP() << "this host forbids io_uring";
  std::vector<u8> memory(8192);
  const iovec one{memory.data(), 4096};
  auto read = [&](u64 offset, u64 length) {
    return wait_for(*disk, {.op = Op::read, .offset = offset, .length = length, .buffers = {&one, 1}});
  };
  EXPECT_EQ(read(0, 4096), 0);
  EXPECT_EQ(read(1 * MiB, 4096), EINVAL);
  EXPECT_EQ(read(~u64{0} - 511, 4096), EINVAL);
  EXPECT_EQ(read(1, 4096), EINVAL);
  EXPECT_EQ(read(0, 8192), EINVAL);
  EXPECT_EQ(wait_for(*disk, {.op = Op::discard, .offset = 512, .length = ~u64{0} - 511}), EINVAL);
  ASSERT_FINE(disk->close());
  EXPECT_EQ(read(0, 4096), ESHUTDOWN);
}

TEST_P(Disks, PartialLastSectorReadsAsZeroes) {
  ASSERT_EQ(test::shell("printf hello > " + (folder_ / "d")), 0);
  auto disk = open("d");
  if (!disk) GTEST_SKIP() << "this host forbids io_uring";
  ASSERT_EQ(disk->size(), 512u);
  std::vector<u8> memory(512, 0xee);
  const iovec one{memory.data(), 512};
  EXPECT_EQ(wait_for(*disk, {.op = Op::read, .offset = 0, .length = 512, .buffers = {&one, 1}}), 0);
  EXPECT_EQ(memory[4], 'o');
  EXPECT_EQ(memory[5], 0);
  EXPECT_EQ(memory[511], 0);
}

TEST_P(Disks, ResizeIsSeen) {
  ASSERT_FINE(create_image({.path = folder_ / "d", .format = Format::raw, .size = 1 * MiB}));
  auto disk = open("d");
  if (!disk) GTEST_SKIP() << "this host forbids io_uring";
  ASSERT_FINE(disk->resize(2 * MiB));
  EXPECT_EQ(disk->size(), 2 * MiB);
  EXPECT_FALSE(disk->resize(1000));
  std::vector<u8> memory(512);
  const iovec one{memory.data(), 512};
  EXPECT_EQ(wait_for(*disk, {.op = Op::write, .offset = 2 * MiB - 512, .length = 512, .buffers = {&one, 1}, .fua = true}), 0);
}

INSTANTIATE_TEST_SUITE_P(Methods, Disks, testing::Values(IoMethod::threads, IoMethod::io_uring),
                         [](const auto& info) { return info.param == IoMethod::threads ? "threads" : "io_uring"; });

TEST(Qcow2Disk, RunsManyWritesAtOnce) {
  Folder folder;
  ASSERT_FINE(create_image({.path = folder / "d", .size = 16 * MiB, .cluster_size = 4096}));
  auto disk = open_disk({.path = folder / "d", .format = Format::qcow2, .threads = 4});
  ASSERT_FINE(disk);
  constexpr u64 count = 2048;
  std::vector<u8> data(count * 512);
  for (u64 i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(1 + i / 512);
  std::vector<iovec> vectors(count);
  for (u64 i = 0; i < count; ++i) {
    vectors[i] = {&data[i * 512], 512};
    (*disk)->submit({.op = Op::write, .offset = i * 7 % count * 512, .length = 512, .buffers = {&vectors[i], 1},
                     .done = [](int error) { EXPECT_EQ(error, 0); }});
    if (i % 100 == 0) (*disk)->submit({.op = Op::flush, .done = [](int error) { EXPECT_EQ(error, 0); }});
  }
  (*disk)->drain();
  ASSERT_FINE((*disk)->close());
  disk->reset();
  auto image = open_qcow2({.path = folder / "d", .format = Format::qcow2});
  ASSERT_FINE(image);
  for (u64 i = 0; i < count; ++i) {
    ASSERT_EQ(test::read_at(**image, i * 7 % count * 512, 512), std::vector<u8>(512, data[i * 512]));
  }
  EXPECT_TRUE((*image)->check(false)->clean());
}

TEST(Locks, OneWriterOrManyReaders) {
  Folder folder;
  const std::string path = folder / "d";
  ASSERT_FINE(create_image({.path = path, .format = Format::raw, .size = 1 * MiB}));
  {
    auto writer = open_image({.path = path});
    ASSERT_FINE(writer);
    auto second = open_image({.path = path});
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message().find("in use"), std::string::npos);
    EXPECT_FALSE(open_image({.path = path, .read_only = true}));
  }
  auto reader = open_image({.path = path, .read_only = true});
  ASSERT_FINE(reader);
  EXPECT_TRUE(open_image({.path = path, .read_only = true}));
  EXPECT_FALSE(open_image({.path = path}));
  EXPECT_EQ((*reader)->capabilities().read_only, true);
}

TEST(Locks, BackingFilesAreNotWrittenWhileInUse) {
  Folder folder;
  ASSERT_FINE(create_image({.path = folder / "base", .size = 1 * MiB}));
  ASSERT_FINE(create_image({.path = folder / "top", .backing_path = "base", .backing_format = Format::qcow2}));
  auto top = open_image({.path = folder / "top", .format = Format::qcow2});
  ASSERT_FINE(top);
  EXPECT_FALSE(open_image({.path = folder / "base", .format = Format::qcow2}));
  EXPECT_TRUE(open_image({.path = folder / "base", .format = Format::qcow2, .read_only = true}));
}

// Runs `body` in a process whose files cannot grow beyond `limit` bytes; EFBIG then stands for ENOSPC.
template <class F>
int limited(u64 limit, F body) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit value{limit, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &value);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

TEST(NoSpace, NothingIsLostAndWorkGoesOn) {
  Folder folder;
  const std::string path = folder / "d";
  ASSERT_FINE(create_image({.path = path, .size = 8 * MiB, .cluster_size = 4096}));
  const int outcome = limited(1 * MiB, [&] {
    auto image = open_qcow2({.path = path, .format = Format::qcow2});
    if (!image) return 1;
    const std::vector<u8> data(4096, 7);
    u64 done = 0;
    while (done < 8 * MiB && test::write_at(**image, done, data) == 0) done += 4096;
    if (done < 512 * KiB || done >= 8 * MiB) return 2;
    const rlimit more{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &more);
    for (; done < 2 * MiB; done += 4096)
      if (test::write_at(**image, done, data) != 0) return 3;
    if (test::read_at(**image, 0, 2 * MiB) != std::vector<u8>(2 * MiB, 7)) return 4;
    return (*image)->close() ? 0 : 5;
  });
  EXPECT_EQ(outcome, 0);
  auto image = open_qcow2({.path = path, .format = Format::qcow2});
  ASSERT_FINE(image);
  EXPECT_TRUE((*image)->check(false)->clean());
}

TEST(Bucket, GivesItsRateAndItsBurst) {
  Bucket bucket({.rate = 100, .burst = 10});
  double now = 5;
  int passed = 0;
  for (int i = 0; i < 100; ++i) {
    if (bucket.wait(now) > 0) break;
    bucket.take(1, now);
    ++passed;
  }
  EXPECT_EQ(passed, 10);
  for (int i = 0; i < 1000; ++i) {
    now += bucket.wait(now);
    ASSERT_EQ(bucket.wait(now), 0);
    bucket.take(1, now);
  }
  EXPECT_NEAR(now, 15, 0.1);  // a thousand at a hundred a second
  bucket.take(1000, now);     // more than the burst: a debt
  EXPECT_NEAR(bucket.wait(now), 10, 0.1);
  EXPECT_EQ(Bucket({}).wait(0), 0);
}

TEST(Throttle, HoldsBackButLosesNothing) {
  Folder folder;
  ASSERT_FINE(create_image({.path = folder / "d", .format = Format::raw, .size = 1 * MiB}));
  auto disk = open_disk({.path = folder / "d", .throttle = {.iops = {2000, 5}, .write_bps = {4 * MiB, 4096}}});
  ASSERT_FINE(disk);
  std::vector<u8> memory(4096, 9);
  const iovec one{memory.data(), memory.size()};
  std::atomic<int> done = 0;
  for (u64 i = 0; i < 100; ++i) {
    (*disk)->submit({.op = i % 3 == 0 ? Op::flush : Op::write, .offset = i * 4096, .length = 4096, .buffers = {&one, 1},
                     .done = [&](int error) {
                       EXPECT_EQ(error, 0);
                       ++done;
                     }});
  }
  (*disk)->drain();
  EXPECT_EQ(done, 100);
}

}  // namespace
}  // namespace nagaya::block
