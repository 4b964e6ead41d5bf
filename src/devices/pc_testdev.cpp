#include "devices/pc_testdev.hpp"

#include <algorithm>

#include "bus/bytes.hpp"

namespace nagaya::devices {

PcTestdev::PcTestdev(bus::IrqSink& irqs) : irqs_(irqs), memory_(mmio_size) {}

void PcTestdev::read_io(u64 offset, std::span<u8> data) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = offset + i < io_size ? io_[offset + i] : u8{0};
}

void PcTestdev::write_io(u64 offset, std::span<const u8> data) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size() && offset + i < io_size; ++i) io_[offset + i] = data[i];
}

// The guest asks for its page at the written address to be unmapped from the host and back. Whether that happened is
// not visible to it, and no engine of ours needs it.
void PcTestdev::read_flush(u64, std::span<u8> data) { bus::read_ones(data); }
void PcTestdev::write_flush(u64, std::span<const u8>) {}

void PcTestdev::read_irq(u64, std::span<u8> data) { bus::read_ones(data); }

void PcTestdev::write_irq(u64 offset, std::span<const u8> data) {
  if (offset >= irq_size) return;
  std::lock_guard lock(mutex_);
  lines_[offset] = bus::load_le(data) != 0;
  irqs_.set_line(static_cast<unsigned>(offset), lines_[offset]);
}

void PcTestdev::read_mmio(u64 offset, std::span<u8> data) {
  bus::read_ones(data);
  if (offset >= mmio_size) return;
  std::lock_guard lock(mutex_);
  std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(offset), std::min<u64>(data.size(), mmio_size - offset),
              data.begin());
}

void PcTestdev::write_mmio(u64 offset, std::span<const u8> data) {
  if (offset >= mmio_size) return;
  std::lock_guard lock(mutex_);
  std::copy_n(data.begin(), std::min<u64>(data.size(), mmio_size - offset),
              memory_.begin() + static_cast<std::ptrdiff_t>(offset));
}

void PcTestdev::reset() {
  std::lock_guard lock(mutex_);
  io_.fill(0);
  std::ranges::fill(memory_, u8{0});
  for (unsigned i = 0; i < irq_size; ++i) {
    if (lines_[i]) irqs_.set_line(i, false);
    lines_[i] = false;
  }
}

void PcTestdev::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  out.put_bytes(io_);
  for (bool level : lines_) out.put(level);
  out.put_bytes(memory_);
}

Result<> PcTestdev::restore(state::Reader& in) {
  std::array<u8, io_size> io{};
  std::array<bool, irq_size> lines{};
  std::vector<u8> memory(mmio_size);
  in.get_bytes(io);
  for (bool& level : lines) in.get(level);
  in.get_bytes(memory);
  reset();
  TRY(in.finish());
  std::lock_guard lock(mutex_);
  io_ = io;
  lines_ = lines;
  memory_ = std::move(memory);
  for (unsigned i = 0; i < irq_size; ++i) {
    if (lines_[i]) irqs_.set_line(i, true);
  }
  return {};
}

}  // namespace nagaya::devices
