// Saved state. The input is taken twice: as an archive, which its checksums mostly reject, and as the payload of a
// section in a sound archive, read as a device would read it.
#include "state/archive.hpp"

#include <cstdlib>

#include "fuzz.hpp"

namespace {

using namespace nagaya;

void read_like_a_device(state::Reader& in) {
  (void)in.version();
  if (in.get<bool>()) (void)in.get_string();
  const u8 count = in.get<u8>();
  for (u8 i = 0; i < count % 16; ++i) {
    (void)in.get<u16>();
    (void)in.get<i32>();
    (void)in.get<u64>();
  }
  std::vector<u8> bytes(in.get<u16>());
  in.get_bytes(bytes);
  if (count == 0) in.reject("a count of zero");
  (void)in.finish();
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  std::vector<std::vector<u8>> out;
  state::Writer device;
  device.put(true);
  device.put_string("state of a device");
  device.put(u8{2});
  for (int i = 0; i < 2; ++i) {
    device.put(u16{1});
    device.put(i32{-2});
    device.put(u64{3});
  }
  device.put(u16{4});
  device.put_bytes(std::vector<u8>(4, 9));
  out.push_back(device.bytes());
  state::ArchiveWriter archive;
  archive.add("cpu0", 1, device);
  archive.add("chipset.pic", 2, state::Writer());
  out.push_back(archive.finish());
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (auto archive = state::ArchiveReader::parse(std::vector<u8>(data, data + size))) {
    for (const char* name : {"cpu0", "chipset.pic", ""}) {
      (void)archive->has(name);
      if (auto section = archive->open(name, 1)) read_like_a_device(*section);
    }
  }
  state::Writer payload;
  payload.put_bytes(std::span(data, size));
  state::ArchiveWriter writer;
  writer.add("device", 1, payload);
  auto sound = state::ArchiveReader::parse(writer.finish());
  if (!sound) std::abort();
  auto section = sound->open("device", 1);
  if (!section) std::abort();
  read_like_a_device(*section);
  return 0;
}
