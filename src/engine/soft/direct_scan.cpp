#include "engine/soft/direct_scan.hpp"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <cstring>

namespace nagaya::engine::soft {
namespace {

/// The bytes at `at` could be one of them. `at` is at the byte 0F.
bool candidate(std::span<const u8> page, std::size_t at) {
  const u8 opcode = page[at + 1], modrm = at + 2 < page.size() ? page[at + 2] : 0;
  switch (opcode) {
    case 0xa2: case 0x03: case 0x34: return true;  // CPUID, LSL, SYSENTER
    case 0x01: return modrm == 0xc1 || modrm == 0xd9 || modrm == 0xee || modrm == 0xef;  // VMCALL, VMMCALL, RDPKRU, WRPKRU
    case 0xc7: return modrm >= 0xf8;  // RDPID, RDSEED
    default: return false;
  }
}

bool is_one(ZydisMnemonic mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_RDPID: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_SYSENTER: case ZYDIS_MNEMONIC_VMCALL:
    case ZYDIS_MNEMONIC_VMMCALL: case ZYDIS_MNEMONIC_RDPKRU: case ZYDIS_MNEMONIC_WRPKRU: return true;
    default: return false;
  }
}

/// Code falls into step with itself after a few instructions wherever one begins to read it. So who begins at many places before `at`
/// finds there what the processor would: half of them suffice.
bool executed(const ZydisDecoder& decoder, std::span<const u8> page, std::size_t at) {
  constexpr std::size_t before = 64, readers = 16;
  std::size_t found = 0, tried = 0;
  for (std::size_t begin = at > before ? at - before : 0; tried < readers && begin <= at; ++begin, ++tried) {
    std::size_t i = begin;
    while (i <= at) {
      ZydisDecodedInstruction instruction;
      const bool known = ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, page.data() + i, page.size() - i, &instruction));
      if (known && i + instruction.length > at && is_one(instruction.mnemonic)) {
        ++found;
        break;
      }
      i += known ? instruction.length : 1;
    }
  }
  return 2 * found >= tried;
}

}  // namespace

bool shows_host(std::span<const u8> page) {
  if (page.size() < 2) return false;
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  const u8* const last = page.data() + page.size() - 1;
  for (const u8* at = page.data(); at < last; ++at) {
    at = static_cast<const u8*>(std::memchr(at, 0x0f, static_cast<std::size_t>(last - at)));
    if (!at) return false;
    const auto offset = static_cast<std::size_t>(at - page.data());
    if (candidate(page, offset) && executed(decoder, page, offset)) return true;
  }
  return false;
}

}  // namespace nagaya::engine::soft
