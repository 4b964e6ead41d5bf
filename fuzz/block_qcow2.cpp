// A whole qcow2 image from a stranger: opened, checked, read, written, repaired. Nothing it says may hurt us, and what
// repair calls clean must be clean.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "block/create.hpp"
#include "block/qcow2_image.hpp"
#include "fuzz.hpp"
#include "host/fd.hpp"

namespace {

using namespace nagaya;
using namespace nagaya::block;

constexpr u64 max_input = 256 * KiB;

File memory_file(const u8* data, std::size_t size, Access access) {
  auto fd = host::Fd::memfd("fuzz", size);
  if (!fd) std::abort();
  auto file = File::adopt(std::move(*fd), "fuzz", access);
  if (!file || file->write(0, data, size) != 0) std::abort();
  return std::move(*file);
}

// Reads at the start, the end and some places between: images may claim to be petabytes.
void read_some(Image& image) {
  std::vector<u8> buffer(64 * KiB);
  const u64 size = image.size();
  for (u64 i = 0; i <= 8; ++i) {
    const u64 at = size / 8 * i / 512 * 512;
    const u64 length = std::min<u64>(buffer.size(), size - at);
    if (length == 0) continue;
    (void)image.read(at, OneBuffer(buffer.data(), length));
    if (auto extent = image.map(at, length); extent && (extent->length == 0 || extent->length > length)) std::abort();
  }
}

class Empty final : public Image {  // stands for a backing image
 public:
  u64 size() const override { return 1 * MiB; }
  Capabilities capabilities() const override { return {.read_only = true}; }
  int read(u64, Iov iov) override {
    iov_zero(iov, 0, iov_length(iov));
    return 0;
  }
  int write(u64, Iov) override { return EROFS; }
  int write_zeroes(u64, u64, bool) override { return EROFS; }
  int discard(u64, u64) override { return EROFS; }
  int flush() override { return 0; }
  Result<> resize(u64) override { return fail("read-only"); }
  Result<Extent> map(u64, u64 length) override { return Extent{length, Extent::Kind::zero}; }
  Result<> close() override { return {}; }
};

Result<std::unique_ptr<qcow2::Qcow2Image>> open(const u8* data, std::size_t size, Access access, bool for_check) {
  return qcow2::Qcow2Image::open(memory_file(data, size, access), std::make_unique<Empty>(), {.for_check = for_check});
}

std::vector<u8> seed(u64 cluster, u32 version, qcow2::Compression kind, bool snapshot) {
  const std::string path = "/tmp/nagaya-fuzz-seed-" + std::to_string(::getpid());
  ::unlink(path.c_str());
  if (!create_image({.path = path, .size = 512 * KiB, .cluster_size = cluster, .version = version, .compression = kind})) std::abort();
  std::vector<u8> out;
  {
    auto file = File::open(path, Access::read_write);
    if (!file) std::abort();
    auto image = qcow2::Qcow2Image::open(std::move(*file), nullptr, {});
    if (!image) std::abort();
    std::vector<u8> data(20000, 7);
    if ((*image)->write(1000, OneBuffer(data.data(), data.size())) != 0) std::abort();
    if ((*image)->write_compressed(128 * KiB, std::vector<u8>(cluster, 9)) != 0) std::abort();
    if ((*image)->write_zeroes(64 * KiB, 32 * KiB, false) != 0) std::abort();
    if (snapshot && !(*image)->create_snapshot("s")) std::abort();
    if ((*image)->write(5000, OneBuffer(data.data(), 3000)) != 0 || !(*image)->close()) std::abort();
  }
  auto bytes = host::read_file(path, 4 * MiB);
  if (!bytes) std::abort();
  ::unlink(path.c_str());
  return std::move(*bytes);
}

}  // namespace

std::vector<std::vector<nagaya::u8>> nagaya::fuzz::seeds() {
  return {seed(512, 3, qcow2::Compression::zlib, true), seed(4096, 3, qcow2::Compression::zstd, true),
          seed(4096, 2, qcow2::Compression::zlib, false), seed(512, 2, qcow2::Compression::zlib, true)};
}

extern "C" int LLVMFuzzerTestOneInput(const nagaya::u8* data, std::size_t size) {
  log::set_level(log::Level::off);
  if (size > max_input) return 0;
  if (auto image = open(data, size, Access::read_only, false)) {
    (void)(*image)->check(false);
    read_some(**image);
  }
  if (auto image = open(data, size, Access::read_write, false)) {
    const std::vector<u8> some(3000, 1);
    const u64 end = (*image)->size();
    for (const u64 at : {u64{0}, end / 2 / 512 * 512, end - std::min<u64>(end, 4096)}) {
      if (!in_range(at, some.size(), end)) continue;
      (void)(*image)->write(at, OneBuffer(some.data(), some.size()));
      (void)(*image)->write_zeroes(at, std::min<u64>(end - at, 16 * KiB), at == 0);
      (void)(*image)->discard(at, std::min<u64>(end - at, 8 * KiB));
    }
    (void)(*image)->create_snapshot("fuzz");
    if (!(*image)->snapshots().empty()) {
      (void)(*image)->apply_snapshot((*image)->snapshots().front().name);
      (void)(*image)->delete_snapshot((*image)->snapshots().front().name);
    }
    (void)(*image)->resize(1 * MiB);
  }
  if (auto image = open(data, size, Access::read_write, true)) {
    auto mended = (*image)->check(true);
    if (mended && mended->clean()) {
      auto again = (*image)->check(false);
      if (!again || again->leaks != 0 || again->corruptions != 0) std::abort();
      read_some(**image);
    }
  }
  return 0;
}
