#include <fmt/format.h>

#include "bus/bytes.hpp"
#include "bus/pci_msi.hpp"

namespace nagaya::bus {
namespace {

// Offsets in the capability (PCI 3.0, 6.8.2).
constexpr u16 control = 2, table_offset = 4, pba_offset = 8, length = 12;
constexpr u16 control_enable = 1 << 15, control_mask = 1 << 14;

}  // namespace

Result<> PciMsix::add_to(PciConfig& config, unsigned vectors, unsigned bar, u32 table, u32 pba) {
  if (present() || vectors == 0 || vectors > 2048 || bar > 5 || table % 8 || pba % 8) {
    return fail("cannot add MSI-X", fmt::format("{} vectors in BAR {} at {:#x} and {:#x}", vectors, bar, table, pba));
  }
  entries_.resize(vectors);
  pending_.resize((vectors + 63) / 64);
  if (table < pba ? pba - table < table_size() : table - pba < pba_size()) {
    return fail("cannot add MSI-X", fmt::format("table at {:#x} and pending bits at {:#x} overlap", table, pba));
  }
  TRY_ASSIGN(at_, config.add_capability(pci::cap_msix, length));
  bar_ = bar;
  table_ = table;
  pba_ = pba;
  config.set16(at_ + control, static_cast<u16>(vectors - 1));
  config.writable16(at_ + control, control_enable | control_mask);
  config.set32(at_ + table_offset, table | bar);
  config.set32(at_ + pba_offset, pba | bar);
  return {};
}

bool PciMsix::covers(u16 offset, std::size_t bytes) const {
  return present() && offset < at_ + length && offset + bytes > at_;
}

bool PciMsix::enabled() const {
  std::lock_guard lock(mutex_);
  return enabled_;
}

void PciMsix::sync(const PciConfig& config, IrqSink* sink) {
  if (!present()) return;
  std::lock_guard lock(mutex_);
  const u16 word = config.get16(at_ + control);
  enabled_ = word & control_enable;
  function_masked_ = word & control_mask;
  send_pending(sink);
}

void PciMsix::send_pending(IrqSink* sink) {
  if (!enabled_ || function_masked_ || !sink) return;
  for (unsigned i = 0; i < entries_.size(); ++i) {
    u64& word = pending_[i / 64];
    const u64 bit = u64{1} << i % 64;
    if (!(word & bit) || entries_[i].masked) continue;
    word &= ~bit;
    sink->send_msi(entries_[i].address, entries_[i].data);
  }
}

PciMsix::Vector PciMsix::vector(unsigned index) const {
  std::lock_guard lock(mutex_);
  if (index >= entries_.size()) return {};
  Vector vector = entries_[index];
  vector.masked |= function_masked_ || !enabled_;
  return vector;
}

void PciMsix::notify(unsigned index, IrqSink* sink) {
  std::lock_guard lock(mutex_);
  if (!enabled_ || index >= entries_.size() || !sink) return;
  const Vector& vector = entries_[index];
  if (function_masked_ || vector.masked) {
    pending_[index / 64] |= u64{1} << index % 64;
  } else {
    sink->send_msi(vector.address, vector.data);
  }
}

u32 PciMsix::table_word(u64 index) const {
  const Vector& vector = entries_[index / 4];
  switch (index % 4) {
    case 0:
      return static_cast<u32>(vector.address);
    case 1:
      return static_cast<u32>(vector.address >> 32);
    case 2:
      return vector.data;
    default:
      return vector.masked;
  }
}

bool PciMsix::bar_read(unsigned bar, u64 offset, std::span<u8> data) const {
  if (!present() || bar != bar_) return false;
  const bool in_table = offset >= table_ && offset - table_ < table_size();
  const bool in_pba = offset >= pba_ && offset - pba_ < pba_size();
  if (!in_table && !in_pba) return false;
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const u64 at = offset + i - (in_table ? table_ : pba_);
    if (at >= (in_table ? table_size() : pba_size())) {
      data[i] = 0;
    } else if (in_table) {
      data[i] = static_cast<u8>(table_word(at / 4) >> (8 * (at % 4)));
    } else {
      data[i] = static_cast<u8>(pending_[at / 8] >> (8 * (at % 8)));
    }
  }
  return true;
}

bool PciMsix::bar_write(unsigned bar, u64 offset, std::span<const u8> data, IrqSink* sink, bool& changed) {
  changed = false;
  if (!present() || bar != bar_) return false;
  if (offset >= pba_ && offset - pba_ < pba_size()) return true;  // read-only
  if (offset < table_ || offset - table_ >= table_size()) return false;
  const u64 at = offset - table_;
  if ((data.size() != 4 && data.size() != 8) || at % data.size()) return true;
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size(); i += 4) {
    Vector& vector = entries_[(at + i) / 16];
    const u32 value = static_cast<u32>(load_le(data.subspan(i, 4)));
    switch ((at + i) / 4 % 4) {
      case 0:
        vector.address = (vector.address & ~u64{0xffff'ffff}) | (value & ~u32{3});
        break;
      case 1:
        vector.address = (vector.address & 0xffff'ffff) | u64{value} << 32;
        break;
      case 2:
        vector.data = value;
        break;
      default:
        vector.masked = value & 1;
        break;
    }
  }
  send_pending(sink);
  changed = true;
  return true;
}

void PciMsix::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  out.put(static_cast<u16>(entries_.size()));
  for (const Vector& vector : entries_) {
    out.put(vector.address);
    out.put(vector.data);
    out.put(vector.masked);
  }
  for (u64 word : pending_) out.put(word);
}

void PciMsix::restore(state::Reader& in) {
  std::lock_guard lock(mutex_);
  if (in.get<u16>() != entries_.size()) {
    in.reject("the number of MSI-X vectors differs");
    return;
  }
  for (Vector& vector : entries_) {
    vector.address = in.get<u64>() & ~u64{3};
    in.get(vector.data);
    in.get(vector.masked);
  }
  for (u64& word : pending_) in.get(word);
  if (entries_.size() % 64 && !pending_.empty()) pending_.back() &= (u64{1} << entries_.size() % 64) - 1;
}

void PciMsix::reset() {
  std::lock_guard lock(mutex_);
  enabled_ = function_masked_ = false;
  std::ranges::fill(entries_, Vector{});
  std::ranges::fill(pending_, u64{0});
}

}  // namespace nagaya::bus
