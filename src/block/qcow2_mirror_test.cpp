// Random operations on qcow2 images, each done to a plain array as well; contents must agree all the time, and the
// metadata must be consistent whenever the image is closed.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <random>

#include "block/block_test_util.hpp"

namespace nagaya::block {
namespace {

using test::Folder;

struct Shape {
  const char* name;
  u64 cluster;
  u32 version;
  bool overlay, lazy, discard;
  qcow2::Compression compression = qcow2::Compression::zlib;
};

class Mirror : public testing::TestWithParam<Shape> {
 protected:
  static constexpr u64 sectors = 4096;  // 2 MiB

  void SetUp() override {
    const Shape& shape = GetParam();
    model_.assign(sectors * 512, 0);
    CreateOptions create{.path = folder_ / "disk.qcow2", .size = model_.size(), .cluster_size = shape.cluster, .version = shape.version,
                         .lazy_refcounts = shape.lazy, .compression = shape.compression};
    if (shape.overlay) {
      // Shorter than the overlay, so that both sides of its end are seen.
      base_.resize(model_.size() * 3 / 4 + 512);
      for (u8& byte : base_) byte = static_cast<u8>(random_() | 1);
      ASSERT_FINE(create_image({.path = folder_ / "base.raw", .format = Format::raw, .size = base_.size()}));
      auto raw = open_image({.path = folder_ / "base.raw"});
      ASSERT_FINE(raw);
      ASSERT_EQ(test::write_at(**raw, 0, base_), 0);
      std::ranges::copy(base_, model_.begin());
      create.backing_path = "base.raw";
      create.backing_format = Format::raw;
    }
    ASSERT_FINE(create_image(create));
    reopen();
  }

  void reopen() {
    if (image_) ASSERT_FINE(image_->close());
    image_.reset();
    if (test::have_qemu_img() && checks_++ % 4 == 0) {
      EXPECT_EQ(test::shell("qemu-img check -q -f qcow2 " + (folder_ / "disk.qcow2")), 0);
    }
    auto opened = open_qcow2({.path = folder_ / "disk.qcow2", .format = Format::qcow2, .discard = GetParam().discard});
    ASSERT_FINE(opened);
    image_ = std::move(*opened);
    check();
  }

  void check() {
    auto report = image_->check(false);
    ASSERT_FINE(report);
    EXPECT_EQ(report->corruptions + report->leaks, 0u) << (report->messages.empty() ? "" : report->messages.front());
  }

  void compare() {
    ASSERT_EQ(image_->size(), model_.size());
    const auto now = test::read_at(*image_, 0, model_.size());
    const auto at = std::ranges::mismatch(now, model_);
    ASSERT_EQ(at.in1 - now.begin(), static_cast<std::ptrdiff_t>(model_.size()));
    // What is answered at once is the same.
    for (int i = 0; i < 20; ++i) {
      const auto [offset, length] = place();
      std::vector<u8> quick(length);
      if (image_->read_now(offset, OneBuffer(quick.data(), length)) != 0) continue;
      ++at_once_;
      ASSERT_TRUE(std::equal(quick.begin(), quick.end(), model_.begin() + static_cast<std::ptrdiff_t>(offset))) << offset;
    }
  }

  std::pair<u64, u64> place() {
    const u64 all = model_.size() / 512, first = random_() % all;
    const u64 most = std::min<u64>(all - first, random_() % 4 == 0 ? 600 : 20);
    return {first * 512, (1 + random_() % most) * 512};
  }

  void step() {
    const auto [offset, length] = place();
    const auto from = model_.begin() + static_cast<std::ptrdiff_t>(offset);
    switch (random_() % 16) {
      default: {
        std::vector<u8> data(length);
        for (u8& byte : data) byte = static_cast<u8>(random_());
        // In pieces of odd sizes.
        std::vector<iovec> parts;
        for (u64 done = 0; done < length;) {
          const u64 count = std::min<u64>(length - done, 1 + random_() % 5000);
          parts.push_back({data.data() + done, count});
          done += count;
        }
        ASSERT_EQ(image_->write(offset, parts), 0);
        std::ranges::copy(data, from);
        break;
      }
      case 0:
      case 1:
        ASSERT_EQ(image_->write_zeroes(offset, length, random_() % 2 == 0), 0);
        std::fill_n(from, length, u8{0});
        break;
      case 2: {
        ASSERT_EQ(image_->discard(offset, length), 0);
        // A discarded range reads as before or as zeroes; by clusters one or the other.
        const auto now = test::read_at(*image_, offset, length);
        for (u64 i = 0; i < length; ++i) ASSERT_TRUE(now[i] == 0 || now[i] == from[static_cast<std::ptrdiff_t>(i)]);
        std::ranges::copy(now, from);
        break;
      }
      case 3: {
        const u64 cluster = GetParam().cluster, at = offset / cluster * cluster;
        if (at + cluster > model_.size()) break;
        std::vector<u8> data(cluster);
        for (u64 i = 0; i < cluster; ++i) data[i] = static_cast<u8>(random_() % 3);
        ASSERT_EQ(image_->write_compressed(at, data), 0);
        std::ranges::copy(data, model_.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      }
      case 4: ASSERT_EQ(image_->flush(), 0); break;
      case 5: {
        const auto now = test::read_at(*image_, offset, length);
        ASSERT_TRUE(std::equal(now.begin(), now.end(), from));
        break;
      }
    }
  }

  void rare_step() {
    switch (random_() % 6) {
      case 0: reopen(); break;
      case 1: {
        const std::string name = fmt::format("s{}", counter_++);
        ASSERT_FINE(image_->create_snapshot(name));
        saved_[name] = model_;
        check();
        break;
      }
      case 2: {
        if (saved_.empty()) break;
        auto at = std::next(saved_.begin(), static_cast<std::ptrdiff_t>(random_() % saved_.size()));
        ASSERT_FINE(image_->apply_snapshot(at->first));
        model_ = at->second;
        compare();
        check();
        break;
      }
      case 3: {
        if (saved_.empty()) break;
        auto at = std::next(saved_.begin(), static_cast<std::ptrdiff_t>(random_() % saved_.size()));
        ASSERT_FINE(image_->delete_snapshot(at->first));
        saved_.erase(at);
        check();
        break;
      }
      default: {
        const u64 size = (sectors / 2 + random_() % (sectors * 2)) * 512;
        auto done = image_->resize(size);
        if (GetParam().version == 2 && !saved_.empty()) {
          EXPECT_FALSE(done);
          break;
        }
        ASSERT_FINE(done);
        model_.resize(size);
        check();
      }
    }
  }

  Folder folder_;
  std::mt19937_64 random_{7};
  std::vector<u8> model_, base_;
  std::map<std::string, std::vector<u8>> saved_;
  std::unique_ptr<qcow2::Qcow2Image> image_;
  int counter_ = 0, checks_ = 0, at_once_ = 0;
};

TEST_P(Mirror, AgreesWithAnArray) {
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 25; ++i) {
      step();
      if (HasFatalFailure()) return;
    }
    compare();
    rare_step();
    if (HasFatalFailure()) FAIL() << "round " << round;
    compare();
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
  reopen();
  compare();
  for (const auto& [name, content] : saved_) {
    ASSERT_FINE(image_->apply_snapshot(name));
    model_ = content;
    compare();
  }
  reopen();
  // Not every file system can answer without waiting (tmpfs cannot).
  u8 byte;
  if (image_->file().read_now(0, OneBuffer(&byte, 1)) == 0) { EXPECT_GT(at_once_, 0); }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Mirror,
                         testing::Values(Shape{"small", 512, 3, false, false, true}, Shape{"usual", 65536, 3, false, false, true},
                                         Shape{"overlay", 4096, 3, true, false, true}, Shape{"old", 4096, 2, false, false, true},
                                         Shape{"old_overlay", 1024, 2, true, false, false},
                                         Shape{"lazy", 4096, 3, true, true, false},
                                         Shape{"zstd", 16384, 3, true, false, true, qcow2::Compression::zstd}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace nagaya::block
