// Two qcow2 images from a stranger, one over the other, as files: opened as a machine opens its disk, read, written. Whatever
// the upper one names as its backing file, nothing outside its folder is ever read.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "block/bytes.hpp"
#include "block/create.hpp"
#include "block/open_image.hpp"
#include "fuzz.hpp"
#include "host/fd.hpp"

namespace {

using namespace nagaya;
using namespace nagaya::block;

constexpr u64 max_input = 256 * KiB;
constexpr u8 secret = 0xd7;  // what lies outside is full of it

void write_file(const std::string& path, const u8* data, std::size_t size) {
  ::unlink(path.c_str());
  auto file = File::create(path);
  if (!file || file->write(0, data, size) != 0) std::abort();
}

/// Folders ROOT/images, where the images are, and ROOT/outside, with links to it.
struct Place {
  std::string root, top, base;
  Place() {
    char name[] = "/tmp/nagaya-fuzz-overlay-XXXXXX";
    if (::mkdtemp(name) == nullptr) std::abort();
    root = name;
    top = root + "/images/top";
    base = root + "/images/base";
    ::mkdir((root + "/images").c_str(), 0700);
    ::mkdir((root + "/outside").c_str(), 0700);
    const std::vector<u8> bytes(8192, secret);
    write_file(root + "/outside/secret", bytes.data(), bytes.size());
    if (::symlink("../outside/secret", (root + "/images/link").c_str()) != 0) std::abort();
    if (::symlink("../outside", (root + "/images/dir").c_str()) != 0) std::abort();
  }
  ~Place() {
    for (const char* name : {"/images/top", "/images/base", "/images/link", "/images/dir", "/outside/secret"}) ::unlink((root + name).c_str());
    for (const char* name : {"/images", "/outside", ""}) ::rmdir((root + name).c_str());
  }
};
const Place& place() {
  static const Place one;
  return one;
}

/// A small image, closed, as bytes. `below` and `format` go into the header as they are, sensible or not.
std::vector<u8> image(u64 cluster, u64 at, const std::string& below, const std::string& format) {
  const std::string path = place().root + "/seed";
  ::unlink(path.c_str());
  if (!create_image({.path = path, .size = 64 * KiB, .cluster_size = cluster})) std::abort();
  auto opened = open_image({.path = path, .format = Format::qcow2});
  const std::vector<u8> data(3000, 7);
  if (!opened || (*opened)->write(at, OneBuffer(data.data(), data.size())) != 0 || !(*opened)->close()) std::abort();
  opened = std::unexpected(Error{});
  auto bytes = host::read_file(path, 1 * MiB);
  if (!bytes) std::abort();
  ::unlink(path.c_str());
  std::vector<u8> out = std::move(*bytes);
  if (below.empty()) return out;
  // Backing file name and its format (qcow2 specification, header and header extensions).
  const u32 header = load_be<u32>(&out[100]);
  u64 end = header;
  store_be<u32>(&out[end], 0xe2792aca);
  store_be<u32>(&out[end + 4], static_cast<u32>(format.size()));
  std::memcpy(&out[end + 8], format.data(), format.size());
  end += 8 + round_up(format.size(), 8);
  std::memset(&out[end], 0, 8);
  end += 8;
  std::memcpy(&out[end], below.data(), below.size());
  store_be<u64>(&out[8], end);
  store_be<u32>(&out[16], static_cast<u32>(below.size()));
  return out;
}

/// Length of the upper image in four bytes, both images.
std::vector<u8> pair(const std::vector<u8>& top, const std::vector<u8>& base) {
  std::vector<u8> out(4);
  store_be<u32>(out.data(), static_cast<u32>(top.size()));
  out.insert(out.end(), top.begin(), top.end());
  out.insert(out.end(), base.begin(), base.end());
  return out;
}

void use(Image& image) {
  std::vector<u8> buffer(16 * KiB);
  const u64 size = image.size();
  for (u64 i = 0; i <= 8; ++i) {
    const u64 at = size / 8 * i / 512 * 512, length = std::min<u64>(buffer.size(), size - at);
    if (length == 0 || image.read(at, OneBuffer(buffer.data(), length)) != 0) continue;
    for (u64 j = 0; j + 64 <= length; j += 64) {
      if (std::all_of(&buffer[j], &buffer[j + 64], [](u8 byte) { return byte == secret; })) std::abort();
    }
    (void)image.map(at, length);
  }
  if (image.capabilities().read_only) return;
  for (const u64 at : {u64{0}, size / 2 / 512 * 512}) {
    if (!in_range(at, 1000, size)) continue;
    (void)image.write(at, OneBuffer(buffer.data(), 1000));
    (void)image.discard(at, std::min<u64>(size - at, 8 * KiB));
    (void)image.write_zeroes(at, std::min<u64>(size - at, 4 * KiB), true);
  }
  (void)image.resize(96 * KiB);
  (void)image.flush();
}

}  // namespace

std::vector<std::vector<nagaya::u8>> nagaya::fuzz::seeds() {
  const auto base = image(4096, 9000, {}, {});
  std::vector<std::vector<u8>> out;
  const std::string outside = place().root + "/outside/secret";
  for (const std::string& below : {std::string("base"), std::string("./base"), std::string("top"), std::string("../outside/secret"), outside,
                                   std::string("link"), std::string("dir/secret"), "file:" + outside, std::string("/proc/self/mem")}) {
    for (const char* format : {"qcow2", "raw"}) out.push_back(pair(image(512, 500, below, format), base));
  }
  // A ring of two.
  out.push_back(pair(image(4096, 500, "base", "qcow2"), image(512, 9000, "top", "qcow2")));
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const nagaya::u8* data, std::size_t size) {
  log::set_level(log::Level::off);
  if (size < 4 || size > max_input) return 0;
  const std::size_t first = std::min<std::size_t>(load_be<u32>(data), size - 4);
  for (const bool read_only : {true, false}) {
    write_file(place().top, data + 4, first);
    write_file(place().base, data + 4 + first, size - 4 - first);
    if (auto image = open_image({.path = place().top, .format = Format::qcow2, .read_only = read_only})) use(**image);
  }
  return 0;
}
