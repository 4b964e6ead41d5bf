#include "devices/fw_cfg.hpp"

#include <algorithm>
#include <array>

#include "bus/bytes.hpp"

namespace nagaya::devices {
namespace {

constexpr u16 write_channel = 0x4000;  // bit of a key that once meant writing; ignored
constexpr u32 id_traditional = 1, id_dma = 2;

// The DMA descriptor in guest memory, all big-endian: control, length, address.
constexpr u64 descriptor_size = 16;
constexpr u32 dma_error = 1, dma_read = 2, dma_skip = 4, dma_select = 8, dma_write = 16;

/// What the DMA register reads as.
constexpr std::array<u8, 8> dma_signature{'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G'};

u64 big_endian(std::span<const u8> data) {
  u64 value = 0;
  for (u8 byte : data) value = value << 8 | byte;
  return value;
}

void append_be(std::vector<u8>& to, u64 value, unsigned size) {
  for (unsigned i = size; i-- > 0;) to.push_back(static_cast<u8>(value >> (8 * i)));
}

}  // namespace

FwCfg::FwCfg(memory::GuestMemory& memory, FwCfgItems items) : memory_(memory) {
  items.set(FwCfgKey::signature, {'Q', 'E', 'M', 'U'});
  items.set_u32(FwCfgKey::id, id_traditional | id_dma);
  items_ = std::move(items.numbered_);
  build_directory(std::move(items.files_));
  select(0);
}

void FwCfg::build_directory(std::map<std::string, std::vector<u8>> files) {
  std::vector<u8> directory;
  append_be(directory, files.size(), 4);
  u16 key = static_cast<u16>(FwCfgKey::file_first);
  for (auto& [name, data] : files) {
    append_be(directory, data.size(), 4);
    append_be(directory, key, 2);
    append_be(directory, 0, 2);
    const std::size_t end = directory.size() + 56;
    directory.insert(directory.end(), name.begin(), name.end());
    directory.resize(end);
    items_[key++] = std::move(data);
  }
  items_[static_cast<u16>(FwCfgKey::file_directory)] = std::move(directory);
}

void FwCfg::select(u16 key) {
  key_ = key & static_cast<u16>(~write_channel);
  offset_ = 0;
  const auto found = items_.find(key_);
  item_ = found == items_.end() ? nullptr : &found->second;
}

u8 FwCfg::read_byte() {
  if (!item_ || offset_ >= item_->size()) return 0;
  return (*item_)[offset_++];
}

void FwCfg::io_read(u64 offset, std::span<u8> data) {
  std::lock_guard lock(mutex_);
  bus::read_ones(data);
  if (offset < 2) {
    if (data.size() == 1) data[0] = read_byte();  // both ports of the pair read data
  } else if (offset >= 4) {
    for (std::size_t i = 0; i < data.size() && offset + i < io_size; ++i) data[i] = dma_signature[offset - 4 + i];
  }
}

void FwCfg::io_write(u64 offset, std::span<const u8> data) {
  std::lock_guard lock(mutex_);
  if (offset == 0 && data.size() == 2) {
    select(static_cast<u16>(bus::load_le(data)));
  } else if (offset == 4 && data.size() == 4) {
    dma_high_ = static_cast<u32>(big_endian(data));
  } else if (offset == 8 && data.size() == 4) {
    const u64 at = u64{dma_high_} << 32 | big_endian(data);
    dma_high_ = 0;
    run_dma(at);
  } else if (offset == 4 && data.size() == 8) {
    run_dma(big_endian(data));
  }
}

void FwCfg::run_dma(u64 at) {
  std::array<u8, descriptor_size> descriptor{};
  if (at > ~u64{0} - descriptor_size || !memory_.read(Gpa(at), descriptor)) return;  // nowhere to report to
  const u32 control = static_cast<u32>(big_endian(std::span(descriptor).first(4)));
  const u32 length = static_cast<u32>(big_endian(std::span(descriptor).subspan(4, 4)));
  const u64 address = big_endian(std::span(descriptor).subspan(8));
  if (control & dma_select) select(static_cast<u16>(control >> 16));
  bool good = true;
  if (control & dma_read) {
    good = copy_out(address, length);
  } else if (control & dma_write) {
    good = false;  // nothing here can be written
  } else if (control & dma_skip) {
    const u64 size = item_ ? item_->size() : 0;
    offset_ = static_cast<u32>(std::min<u64>(u64{offset_} + length, size));
  }
  std::vector<u8> answer;
  append_be(answer, good ? 0 : dma_error, 4);
  (void)memory_.write(Gpa(at), answer);
}

bool FwCfg::copy_out(u64 gpa, u32 length) {
  if (length == 0) return true;
  if (gpa > ~u64{0} - length) return false;
  const u64 size = item_ ? item_->size() : 0;
  const u64 have = offset_ < size ? std::min<u64>(size - offset_, length) : 0;
  if (have > 0 && !memory_.write(Gpa(gpa), std::span(*item_).subspan(offset_, have))) return false;
  offset_ += static_cast<u32>(have);
  return have == length || memory_.fill(Gpa(gpa + have), length - have, 0).has_value();
}

void FwCfg::reset() {
  std::lock_guard lock(mutex_);
  select(0);
  dma_high_ = 0;
}

void FwCfg::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  out.put(key_);
  out.put(offset_);
  out.put(dma_high_);
}

Result<> FwCfg::restore(state::Reader& in) {
  const u16 key = in.get<u16>();
  const u32 offset = in.get<u32>(), high = in.get<u32>();
  if (auto done = in.finish(); !done) {
    reset();
    return done;
  }
  std::lock_guard lock(mutex_);
  select(key);
  offset_ = offset;  // every read checks it against the item's size
  dma_high_ = high;
  return {};
}

}  // namespace nagaya::devices
