#include "engine/soft/translation_log.hpp"

#include <Zydis/Zydis.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "engine/soft/block_name.hpp"
#include "engine/soft/state_names.hpp"

namespace nagaya::engine::soft {
namespace {

constexpr std::size_t guest_column = 52;

ZydisMachineMode machine_mode(Mode mode) {
  return mode.is64() ? ZYDIS_MACHINE_MODE_LONG_64 : mode.code_size() == 1 ? ZYDIS_MACHINE_MODE_LEGACY_32 : ZYDIS_MACHINE_MODE_LEGACY_16;
}

/// One instruction as text; `out` holds its operands. Null when the bytes are none.
class Disassembler {
 public:
  explicit Disassembler(ZydisMachineMode mode) {
    ZydisDecoderInit(&decoder_, mode, mode == ZYDIS_MACHINE_MODE_LONG_64   ? ZYDIS_STACK_WIDTH_64
                                      : mode == ZYDIS_MACHINE_MODE_LEGACY_32 ? ZYDIS_STACK_WIDTH_32
                                                                             : ZYDIS_STACK_WIDTH_16);
    ZydisFormatterInit(&formatter_, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterSetProperty(&formatter_, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED);
  }
  std::string operator()(u64 address, const u8* bytes, std::size_t size) {
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, bytes, size, &insn, operands))) {
      insn = {};
      insn.length = 1;
      return fmt::format("db {:#04x}", bytes[0]);
    }
    char text[160];
    ZydisFormatterFormatInstruction(&formatter_, &insn, operands, insn.operand_count_visible, text, sizeof text, address, nullptr);
    return text;
  }
  ZydisDecodedInstruction insn{};
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

 private:
  ZydisDecoder decoder_;
  ZydisFormatter formatter_;
};

}  // namespace

void TranslationLog::add(const Block& block, const CodeSource& source, u64 rip) {
  Entry entry{&block, rip, block.dep_lo, {source.page + block.dep_lo, source.page + block.dep_hi}, {}};
  if (source.page2) entry.bytes.insert(entry.bytes.end(), source.page2, source.page2 + block.dep2_hi);
  for (SideCursor side(block); side.next();) entry.insns.push_back(side.guest);
  std::ranges::sort(entry.insns);
  entry.insns.erase(std::ranges::unique(entry.insns).begin(), entry.insns.end());
  entries_.push_back(std::move(entry));
}

void TranslationLog::forget(const std::vector<Block*>& blocks) {
  if (blocks.empty() || entries_.empty()) return;
  std::erase_if(entries_, [first = blocks.front(), last = blocks.back()](const Entry& e) {
    return e.block->code >= first->code && e.block->code <= last->code;
  });
}

std::string TranslationLog::target_name(u64 pc) const {
  if (const auto thunk = thunk_of(pc)) return thunk_name(*thunk);
  auto it = std::ranges::upper_bound(entries_, pc, {}, code_of);  // text() sorted them
  if (it == entries_.begin()) return {};
  const Block& b = *(--it)->block;
  return pc - reinterpret_cast<u64>(b.code) < b.code_size ? block_name(Mode{b.key}, b.gpa, it->rip) : std::string{};
}

std::optional<Thunk> TranslationLog::thunk_of(u64 pc) const {
  const u64 index = (pc - reinterpret_cast<u64>(trampolines_)) / CodeCache::trampoline_size;
  if (index >= thunk_count) return std::nullopt;
  return static_cast<Thunk>(index);
}

std::string TranslationLog::host_line(const Block& b, u32 at, u32& next) const {
  static Disassembler disassemble(ZYDIS_MACHINE_MODE_LONG_64);
  // Addresses are offsets in the block, so that its own branches can be followed.
  std::string text = disassemble(at, b.code + at, b.code_size - at);
  next = at + disassemble.insn.length;
  for (unsigned i = 0; i < disassemble.insn.operand_count; ++i) {
    const ZydisDecodedOperand& operand = disassemble.operands[i];
    u64 to = 0;
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.segment == ZYDIS_REGISTER_GS) {
      const u64 offset = static_cast<u64>(operand.mem.disp.value);
      if (const std::string name = state_name(offset); !name.empty()) text += "  ; " + name;
      break;
    }
    if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand.imm.is_relative &&
        ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&disassemble.insn, &operand, reinterpret_cast<u64>(b.code) + at, &to)) &&
        to - reinterpret_cast<u64>(b.code) >= b.code_size) {
      text = fmt::format("{} {}", ZydisMnemonicGetString(disassemble.insn.mnemonic), target_name(to));
      if (const auto thunk = thunk_of(to)) next = std::min(next + thunk_data(*thunk), b.code_size);
    }
  }
  return text;
}

void TranslationLog::append(std::string& out, const Entry& entry, u64 total) const {
  const Block& b = *entry.block;
  const Mode mode{b.key};
  Disassembler disassemble(machine_mode(mode));
  const u64 base = entry.rip - (b.gpa & 0xfff);  // RIP of the page
  fmt::format_to(std::back_inserter(out), "\n{}: {} instructions -> {} bytes of host code at {:x}{}", block_name(mode, b.gpa, entry.rip),
                 entry.insns.size(), b.code_size, reinterpret_cast<u64>(b.code), b.dead ? ", dropped" : "");
  if (total) {
    fmt::format_to(std::back_inserter(out), "; executed {} times, {:.2f} % of all", b.executed,
                   100.0 * static_cast<double>(b.executed) / static_cast<double>(total));
  }
  out += '\n';
  // Each entry of the side table begins a piece of host code that belongs to one guest instruction.
  SideCursor side(b);
  bool more = side.next();
  std::vector<u32> shown;
  for (u32 at = 0, next = 0; at < b.code_size; at = next) {
    std::string guest;
    for (; more && side.host <= at; more = side.next()) {
      const u32 offset = side.guest;
      if (offset < entry.first || offset - entry.first >= entry.bytes.size()) continue;
      // The second time it is code out of line.
      if (std::ranges::find(shown, offset) != shown.end()) {
        guest = fmt::format("{:x}  ...", base + offset);
        continue;
      }
      shown.push_back(offset);
      const std::size_t index = offset - entry.first;
      guest = fmt::format("{:x}  {}", base + offset, disassemble(base + offset, &entry.bytes[index], entry.bytes.size() - index));
    }
    const std::string host = host_line(b, at, next);
    if (b.dead && at == b.indirect_entry) next = at + 7;  // the jump replaced the first bytes of a longer instruction
    const bool entry_point = at == b.indirect_entry || at == b.checked_entry || at == b.entry;
    fmt::format_to(std::back_inserter(out), "  {:<{}} | {:4x}{} {}\n", guest, guest_column, at, entry_point ? '>' : ' ', host);
  }
}

std::string TranslationLog::text(std::size_t most, bool counted) {
  std::ranges::sort(entries_, {}, code_of);
  std::vector<const Entry*> order;
  u64 total = 0;
  for (const Entry& e : entries_) order.push_back(&e), total += e.block->executed;
  if (counted) {
    std::ranges::sort(order, [](const Entry* a, const Entry* b) {
      return a->block->executed != b->block->executed ? a->block->executed > b->block->executed : code_of(*a) < code_of(*b);
    });
  }
  if (order.size() > most) order.resize(most);
  std::string out = fmt::format("{} blocks, {} shown; guest code on the left, host code on the right ('>' marks an entry, '...' code out of line)\n", entries_.size(), order.size());
  for (const Entry* e : order) append(out, *e, counted ? total : 0);
  return out;
}

}  // namespace nagaya::engine::soft
