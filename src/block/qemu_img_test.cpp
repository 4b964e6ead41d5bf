// Our images in the hands of qemu-img, and its images in ours.
#include <fmt/format.h>

#include <cinttypes>
#include <cstdio>
#include <random>

#include "block/block_test_util.hpp"

namespace nagaya::block {
namespace {

using test::Folder;
using test::shell;

class QemuImg : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_qemu_img()) GTEST_SKIP() << "qemu-img (package qemu-utils) is not installed";
    // Content with holes, text-like parts that compress, and noise that does not; not a multiple of a cluster.
    content_.resize(5 * MiB + 3 * 512);
    std::mt19937_64 random(3);
    for (u64 at = 0; at < content_.size(); ++at) {
      const u64 kind = at / 100'000 % 4;
      if (kind == 1) content_[at] = static_cast<u8>(random());
      if (kind == 2) content_[at] = static_cast<u8>('a' + at % 17 * at / 1000 % 7);
    }
    ASSERT_FINE(create_image({.path = path("plain"), .format = Format::raw, .size = content_.size()}));
    auto image = open_image({.path = path("plain")});
    ASSERT_FINE(image);
    ASSERT_EQ(test::write_at(**image, 0, content_), 0);
  }

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ / name; }
  void expect_same(const std::string& name, const std::string& format = "qcow2") const {
    EXPECT_EQ(shell(fmt::format("qemu-img compare -q -f raw -F {} {} {}", format, path("plain"), path(name))), 0) << name;
    if (format == "qcow2") {
      EXPECT_EQ(shell(fmt::format("qemu-img check -q -f qcow2 {}", path(name))), 0) << name;
    }
  }
  void expect_we_read(const std::string& name, const std::vector<u8>& content) const {
    auto image = open_image({.path = path(name), .format = Format::qcow2, .read_only = true});
    ASSERT_FINE(image);
    ASSERT_EQ((*image)->size(), content.size());
    EXPECT_EQ(test::read_at(**image, 0, content.size()), content) << name;
  }

  Folder folder_;
  std::vector<u8> content_;
};

TEST_F(QemuImg, ReadsWhatWeConvert) {
  int number = 0;
  for (const u64 cluster : {512u, 4096u, 65536u, 2u << 20}) {
    for (const bool compress : {false, true}) {
      for (const u32 version : {2u, 3u}) {
        const std::string name = fmt::format("c{}", number++);
        ConvertOptions options{.from = {.path = path("plain")},
                               .to = {.path = path(name), .cluster_size = cluster, .version = version},
                               .compress = compress};
        if (version == 3 && cluster != 4096) options.to.compression = qcow2::Compression::zstd;
        ASSERT_FINE(convert_image(options));
        expect_same(name);
        ASSERT_FINE(convert_image({.from = {.path = path(name), .format = Format::qcow2},
                                   .to = {.path = path(name + ".raw"), .format = Format::raw}}));
        EXPECT_EQ(shell(fmt::format("cmp {} {}", path("plain"), path(name + ".raw"))), 0) << name;
      }
    }
  }
}

TEST_F(QemuImg, WritesWhatWeRead) {
  int number = 0;
  for (const char* options : {"-o cluster_size=512", "-o cluster_size=64k", "-c", "-c -o compression_type=zstd", "-o compat=0.10",
                              "-c -o compat=0.10,cluster_size=4k", "-o refcount_bits=1", "-o refcount_bits=64,lazy_refcounts=on",
                              "-o preallocation=metadata", "-c -o cluster_size=2M"}) {
    const std::string name = fmt::format("q{}", number++);
    ASSERT_EQ(shell(fmt::format("qemu-img convert -q -f raw -O qcow2 {} {} {}", options, path("plain"), path(name))), 0);
    expect_we_read(name, content_);
    // And we write into it.
    {
      auto image = open_qcow2({.path = path(name), .format = Format::qcow2});
      ASSERT_FINE(image);
      auto report = (*image)->check(false);
      ASSERT_FINE(report);
      EXPECT_EQ(report->corruptions + report->leaks, 0u) << options << (report->messages.empty() ? "" : report->messages.front());
      std::vector<u8> back(content_.rbegin(), content_.rend());
      ASSERT_EQ(test::write_at(**image, 0, back), 0);
      ASSERT_EQ(test::write_at(**image, 0, content_), 0);
      ASSERT_EQ((*image)->write_zeroes(0, 512, true), 0);
      ASSERT_EQ(test::write_at(**image, 0, {content_.begin(), content_.begin() + 512}), 0);
      ASSERT_FINE((*image)->close());
    }
    expect_same(name);
  }
}

TEST_F(QemuImg, AgreesAboutTheMap) {
  ASSERT_FINE(convert_image({.from = {.path = path("plain")}, .to = {.path = path("c"), .cluster_size = 4096}}));
  ASSERT_EQ(shell(fmt::format("qemu-img convert -q -f raw -O qcow2 -S 4k -o cluster_size=4k {} {}", path("plain"), path("q"))), 0);
  for (const char* name : {"c", "q"}) {
    auto ours = open_image({.path = path(name), .format = Format::qcow2, .read_only = true});
    ASSERT_FINE(ours);
    // "qemu-img map" lists the ranges that are data: start, length, place in the file, file.
    std::vector<bool> data(content_.size() / 512);
    FILE* list = ::popen(fmt::format("qemu-img map -f qcow2 {} | tail -n +2", path(name)).c_str(), "r");
    ASSERT_NE(list, nullptr);
    char line[4096];
    int ranges = 0;
    while (std::fgets(line, sizeof line, list) != nullptr) {
      u64 start = 0, length = 0;
      ASSERT_EQ(std::sscanf(line, "%" SCNx64 " %" SCNx64, &start, &length), 2) << line;
      for (u64 at = start; at < start + length && at < content_.size(); at += 512) data[at / 512] = true;
      ++ranges;
    }
    EXPECT_EQ(::pclose(list), 0);
    EXPECT_GT(ranges, 3);
    for (u64 at = 0; at < content_.size();) {
      const auto extent = (*ours)->map(at, content_.size() - at);
      ASSERT_TRUE(extent);
      for (const u64 end = at + extent->length; at < end; at += 512) {
        ASSERT_EQ(extent->kind == Extent::Kind::data, data[at / 512]) << name << " " << at;
      }
    }
  }
}

TEST_F(QemuImg, OtherFormatsAreImported) {
  struct Kind {
    Format format;
    const char* options;
  };
  const Kind kinds[] = {{Format::vmdk, "-O vmdk"},
                        {Format::vmdk, "-O vmdk -o subformat=streamOptimized"},
                        {Format::vmdk, "-O vmdk -o subformat=monolithicFlat"},
                        {Format::vhd, "-O vpc -o force_size=on"},
                        {Format::vhd, "-O vpc -o subformat=fixed,force_size=on"},
                        {Format::vhdx, "-O vhdx"}};
  int number = 0;
  for (const Kind& kind : kinds) {
    const std::string name = fmt::format("f{}", number++), raw = name + ".raw";
    ASSERT_EQ(shell(fmt::format("qemu-img convert -q -f raw {} {} {}", kind.options, path("plain"), path(name))), 0);
    ASSERT_FINE(convert_image({.from = {.path = path(name), .format = kind.format}, .to = {.path = path(raw), .format = Format::raw}}));
    expect_same(raw, "raw");
    EXPECT_FALSE(open_image({.path = path(name), .format = kind.format}));
    EXPECT_FALSE(open_disk({.path = path(name), .format = kind.format, .read_only = true}));
    // Cut short, it is an error or reads as something, but never a crash.
    ASSERT_EQ(shell(fmt::format("truncate -s 70000 {}", path(name))), 0);
    (void)convert_image({.from = {.path = path(name), .format = kind.format}, .to = {.path = path(raw + "2"), .format = Format::raw}});
  }
  // Data files elsewhere are not read.
  ASSERT_EQ(shell(fmt::format("qemu-img create -q -f vmdk -o subformat=monolithicFlat {} 1M", path("flat.vmdk"))), 0);
  ASSERT_TRUE(open_image({.path = path("flat.vmdk"), .format = Format::vmdk, .read_only = true}));
  ASSERT_EQ(shell(fmt::format("sed -i 's#\"flat-flat.vmdk\"#\"/etc/passwd\"#' {}", path("flat.vmdk"))), 0);
  EXPECT_FALSE(open_image({.path = path("flat.vmdk"), .format = Format::vmdk, .read_only = true}));
  ASSERT_EQ(shell(fmt::format("sed -i 's#/etc/passwd#link#' {0}/flat.vmdk && ln -s /etc/passwd {0}/link", folder_.path())), 0);
  EXPECT_FALSE(open_image({.path = path("flat.vmdk"), .format = Format::vmdk, .read_only = true}));
}

TEST_F(QemuImg, SharesSnapshots) {
  ASSERT_FINE(convert_image({.from = {.path = path("plain")}, .to = {.path = path("c")}}));
  {
    auto image = open_qcow2({.path = path("c"), .format = Format::qcow2});
    ASSERT_FINE(image);
    ASSERT_FINE((*image)->create_snapshot("ours"));
    ASSERT_EQ(test::write_at(**image, 4096, std::vector<u8>(200'000, 5)), 0);
  }
  EXPECT_EQ(shell(fmt::format("qemu-img check -q -f qcow2 {}", path("c"))), 0);
  EXPECT_EQ(shell(fmt::format("qemu-img snapshot -l {} | grep -q ours", path("c"))), 0);
  ASSERT_EQ(shell(fmt::format("qemu-img snapshot -c theirs {}", path("c"))), 0);
  ASSERT_EQ(shell(fmt::format("qemu-img snapshot -a ours {}", path("c"))), 0);
  expect_same("c");
  {
    auto image = open_qcow2({.path = path("c"), .format = Format::qcow2});
    ASSERT_FINE(image);
    ASSERT_EQ((*image)->snapshots().size(), 2u);
    ASSERT_FINE((*image)->apply_snapshot("theirs"));
    EXPECT_EQ(test::read_at(**image, 4096, 200'000), std::vector<u8>(200'000, 5));
    ASSERT_FINE((*image)->delete_snapshot("ours"));
    EXPECT_TRUE((*image)->check(false)->clean());
  }
  EXPECT_EQ(shell(fmt::format("qemu-img check -q -f qcow2 {}", path("c"))), 0);
}

TEST_F(QemuImg, OverlaysWorkBothWays) {
  ASSERT_FINE(convert_image({.from = {.path = path("plain")}, .to = {.path = path("base")}}));
  ASSERT_FINE(create_image({.path = path("top"), .backing_path = "base", .backing_format = Format::qcow2}));
  expect_same("top");
  ASSERT_EQ(shell(fmt::format("qemu-img create -q -f qcow2 -b top -F qcow2 {}", path("over"))), 0);
  expect_we_read("over", content_);
}

}  // namespace
}  // namespace nagaya::block
