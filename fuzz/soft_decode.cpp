// The software engine's decoder and translator: any bytes as a page of code, in any mode.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "engine/soft/code_cache.hpp"
#include "engine/soft/translate.hpp"
#include "fuzz.hpp"

namespace {

using namespace nagaya;
using namespace nagaya::engine::soft;

// An input is a mode key (4 bytes), the offset of the first instruction in its page (2), a byte of switches, then code.
constexpr std::size_t header = 7;

void check(bool promised) {
  if (!promised) std::abort();
}

void decode_each(CodeSize size, bool stack32, std::span<const u8> code) {
  for (std::size_t at = 0; at < code.size();) {
    Decoded d;
    const auto rest = code.subspan(at, std::min<std::size_t>(15, code.size() - at));
    const DecodeStatus status = decode(size, stack32, rest, d);
    check(status != DecodeStatus::need_more || rest.size() < 15);
    if (status != DecodeStatus::ok) {
      ++at;
      continue;
    }
    check(d.insn.length > 0 && d.insn.length <= rest.size());
    check(d.gpr_count <= 4);
    check(d.imm_size == 0 || d.imm_offset + d.imm_size == d.insn.length);
    at += d.insn.length;
  }
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  const u32 flat64 = 2 | 1 << 4 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 24, flat32 = 1 | 1 << 4 | 1 << 8 | 1 << 24, real = 2 << 12 | 2 << 18;
  const std::vector<std::vector<u8>> codes = {
      {0x48, 0x01, 0xd8, 0x49, 0xd3, 0xe2, 0x75, 0xf8, 0xc3},
      {0x48, 0x8b, 0x44, 0xce, 0x10, 0x48, 0x89, 0x04, 0x25, 0, 0, 1, 0, 0xf3, 0xa4, 0xe8, 1, 0, 0, 0},
      {0xc5, 0xfc, 0x28, 0x06, 0x62, 0xf1, 0x7c, 0x49, 0x11, 0x07, 0xc4, 0xe2, 0x7d, 0x18, 0x06, 0xeb, 0xf0},
      {0x0f, 0xa3, 0x08, 0x0f, 0xb1, 0x0f, 0xf0, 0x0f, 0xc1, 0x03, 0x8a, 0x26, 0xf6, 0xfd, 0xcd, 0x80},
      {0x67, 0x8b, 0x40, 0x01, 0x64, 0xa1, 4, 0, 0x9a, 0, 0, 8, 0, 0x60, 0x61, 0xcf},
      {0xe2, 0xfe, 0xe3, 0x02, 0xd9, 0xe8, 0xdd, 0x1e, 0x0f, 0x6f, 0x06, 0x0f, 0x77, 0xff, 0x66, 0x08}};
  std::vector<std::vector<u8>> out;
  for (const u32 key : {flat64, flat32, real}) {
    for (const u16 offset : {u16{0x100}, u16{0xffa}}) {
      for (const auto& code : codes) {
        std::vector<u8> seed(header);
        std::memcpy(seed.data(), &key, 4);
        std::memcpy(seed.data() + 4, &offset, 2);
        seed.insert(seed.end(), code.begin(), code.end());
        out.push_back(std::move(seed));
      }
    }
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size <= header) return 0;
  static const auto cache = [] { return std::move(*CodeCache::create(4 * MiB)); }();
  u32 key;
  u16 offset;
  std::memcpy(&key, data, 4);
  std::memcpy(&offset, data + 4, 2);
  const u8 switches = data[6];
  // What compute_mode_key() can make: three code sizes, three kinds of TLB, three classes of segments.
  key &= (1u << 30) - 1;
  if (key & mode_bits::step) key &= ~mode_bits::careful;
  if ((key & 3) == 3) key &= ~1u;
  if ((key >> mode_bits::kind_shift & 3) == 3) key &= ~(1u << mode_bits::kind_shift);
  for (unsigned i = 0; i < 6; ++i)
    if ((key >> (mode_bits::seg_shift + 2 * i) & 3) == 3) key &= ~(1u << (mode_bits::seg_shift + 2 * i));
  if ((key & 3) == 2) key |= mode_bits::stack32 | mode_bits::cs_flat;
  offset &= 0xfff;

  const std::span<const u8> code(data + header, size - header);
  decode_each(static_cast<CodeSize>(key & 3), key & mode_bits::stack32, code);

  u8 pages[8192];
  std::memset(pages, switches & 1 ? 0x90 : 0, sizeof pages);
  std::memcpy(pages + offset, code.data(), std::min<std::size_t>(code.size(), sizeof pages - offset));
  // They live on: what one input leaves in the memory of decoded instructions must not show in the next.
  static const auto translators = [] {
    std::vector<std::unique_ptr<Translator>> out;
    for (const bool precise : {false, true})
      for (const unsigned insns : {1u, 7u, 20u, 48u}) {
        TranslateOptions options;
        options.precise_flags = precise;
        options.max_insns = insns;
        out.push_back(std::make_unique<Translator>(*cache, options));
      }
    return out;
  }();
  Translator& translator = *translators[(switches >> 1) % translators.size()];
  CodeSource source;
  source.gpa = 0x10000 + offset;
  source.page = pages;
  source.mode = Mode{key};
  Block* block = nullptr;
  TranslateStatus status = translator.translate(source, block);
  if (status == TranslateStatus::need_page2) {
    source.gpa2 = 0x11000;
    source.page2 = pages + 4096;
    status = translator.translate(source, block);
    check(status != TranslateStatus::need_page2);
  }
  if (status == TranslateStatus::cache_full) {
    while (!cache->reserve()) cache->clear(cache->next_segment());
    check(translator.translate(source, block) == TranslateStatus::ok);
  }
  check(block != nullptr && block->code_size > 0 && cache->contains(reinterpret_cast<u64>(block->code)));
  check(cache->contains(reinterpret_cast<u64>(block->code) + block->code_size - 1));
  check(block->indirect_entry % 8 == 0 && block->entry < block->code_size);
  check(block->dep_lo <= offset && block->dep_hi > offset && block->dep_hi <= 4096 && block->dep2_hi <= 15);
  check(cache->find_by_pc(reinterpret_cast<u64>(block->code) + block->entry) == block);
  for (SideCursor side(*block); side.next();) check(side.host <= block->code_size && side.guest < 4096);
  return 0;
}
