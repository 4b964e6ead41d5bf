#include "engine/soft/decode_memo.hpp"

#include <cstring>

namespace nagaya::engine::soft {
namespace {

constexpr u64 first_bytes(u64 v, unsigned n) { return n >= 8 ? v : v & ((1ull << (8 * n)) - 1); }

u64 read_bytes(const u8* p, unsigned size, bool sign) {
  u64 v = 0;
  std::memcpy(&v, p, size);
  if (!sign || size == 8 || size == 0) return v;
  const unsigned shift = 64 - 8 * size;
  return static_cast<u64>(static_cast<i64>(v << shift) >> shift);
}

unsigned head_size_of(const Decoded& d) {
  unsigned n = d.insn.length;
  if (d.disp_size && d.disp_offset < n) n = d.disp_offset;
  if (d.imm_size && d.imm_offset < n) n = d.imm_offset;
  return n;
}

/// Takes displacement and immediate from `d.bytes`.
void fill_in(Decoded& d) {
  if (d.disp_size) d.insn.disp = static_cast<i64>(read_bytes(d.bytes + d.disp_offset, d.disp_size, true));
  if (d.imm_size) d.insn.imm = read_bytes(d.bytes + d.imm_offset, d.imm_size, d.imm_signed);
}

}  // namespace

DecodeMemo::DecodeMemo() : tables_(std::make_unique<Tables>()) {}

unsigned DecodeMemo::slot(u64 head, unsigned mode) { return static_cast<unsigned>((head + mode) * 0x9e3779b97f4a7c15ull >> (64 - bits)); }

void DecodeMemo::remember(unsigned mode, u64 first, const Decoded& d) {
  const unsigned n = head_size_of(d);
  if (!d.varies || n > 8 || n == 0) return;
  Decoded again = d;
  fill_in(again);
  if (again.insn.disp != d.insn.disp || again.insn.imm != d.insn.imm) return;  // not read the plain way
  u8& shortest = tables_->head_size[mode][first & 0xffff];
  if (shortest == 0 || n < shortest) shortest = static_cast<u8>(n);
  Entry& e = tables_->entries[slot(first_bytes(first, shortest), mode)];
  e.head = first_bytes(first, n);
  e.head_size = static_cast<u8>(n);
  e.mode = static_cast<u8>(mode);
  e.decoded = d;
}

DecodeStatus DecodeMemo::operator()(CodeSize size, bool stack32, std::span<const u8> bytes, Decoded& out) {
  if (bytes.size() < 8) return decode(size, stack32, bytes, out);
  const unsigned mode = static_cast<unsigned>(size) * 2 + (stack32 ? 1 : 0);
  u64 first;
  std::memcpy(&first, bytes.data(), 8);
  if (const unsigned shortest = tables_->head_size[mode][first & 0xffff]) {
    const Entry& e = tables_->entries[slot(first_bytes(first, shortest), mode)];
    if (e.head_size && e.mode == mode && e.head == first_bytes(first, e.head_size) && e.decoded.insn.length <= bytes.size()) {
      const u16 offset = out.offset;
      out = e.decoded;
      out.offset = offset;
      std::memcpy(out.bytes, bytes.data(), out.insn.length);
      fill_in(out);
      ++hits_;
      return DecodeStatus::ok;
    }
  }
  const DecodeStatus status = decode(size, stack32, bytes, out);
  if (status == DecodeStatus::ok) remember(mode, first, out);
  return status;
}

}  // namespace nagaya::engine::soft
