#include "x86/cpuid.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace nagaya::x86 {
namespace {

/// A register of a leaf that consists of feature bits, each of which software may come to rely on.
struct FeatureWord {
  u32 function, index;
  u32 CpuidEntry::*word;
};
constexpr std::array feature_words = {
    FeatureWord{1, 0, &CpuidEntry::ecx},           FeatureWord{1, 0, &CpuidEntry::edx},
    FeatureWord{7, 0, &CpuidEntry::ebx},           FeatureWord{7, 0, &CpuidEntry::ecx},
    FeatureWord{7, 0, &CpuidEntry::edx},           FeatureWord{7, 1, &CpuidEntry::eax},
    FeatureWord{7, 1, &CpuidEntry::ebx},           FeatureWord{7, 1, &CpuidEntry::ecx},
    FeatureWord{7, 1, &CpuidEntry::edx},           FeatureWord{7, 2, &CpuidEntry::edx},
    FeatureWord{0xd, 0, &CpuidEntry::eax},         FeatureWord{0xd, 0, &CpuidEntry::edx},
    FeatureWord{0xd, 1, &CpuidEntry::eax},         FeatureWord{0x8000'0001, 0, &CpuidEntry::ecx},
    FeatureWord{0x8000'0001, 0, &CpuidEntry::edx}, FeatureWord{0x8000'0007, 0, &CpuidEntry::edx},
    FeatureWord{0x8000'0008, 0, &CpuidEntry::ebx}, FeatureWord{0x8000'0021, 0, &CpuidEntry::eax},
    FeatureWord{0x4000'0001, 0, &CpuidEntry::eax},
};

/// Bits that tell of the moment or of the topology and are set by us or by the processor itself.
u32 own_bits(u32 function, u32 CpuidEntry::*word) {
  if (function == 1 && word == &CpuidEntry::ecx) return 1u << 27 | 1u << 31;  // OSXSAVE, hypervisor
  if (function == 1 && word == &CpuidEntry::edx) return 1u << 28;             // HTT
  if (function == 0x8000'0001 && word == &CpuidEntry::ecx) return 1u << 1;    // CmpLegacy
  return 0;
}

bool matches(const CpuidEntry& entry, u32 function, u32 index) {
  return entry.function == function && (!entry.significant_index || entry.index == index);
}

u32 highest(std::span<const CpuidEntry> table, u32 function) {
  const CpuidEntry* entry = find_cpuid(table, function);
  return entry != nullptr ? entry->eax : 0;
}

}  // namespace

const CpuidEntry* find_cpuid(std::span<const CpuidEntry> table, u32 function, u32 index) {
  const auto it = std::ranges::find_if(table, [&](const CpuidEntry& e) { return matches(e, function, index); });
  return it != table.end() ? &*it : nullptr;
}

std::array<u32, 4> cpuid_lookup(std::span<const CpuidEntry> table, u32 function, u32 index) {
  const auto words = [](const CpuidEntry* e) {
    return e != nullptr ? std::array{e->eax, e->ebx, e->ecx, e->edx} : std::array<u32, 4>{};
  };
  const CpuidEntry* entry = find_cpuid(table, function, index);
  if (entry != nullptr) return words(entry);
  const bool basic = function < 0x8000'0000 && !(function >= 0x4000'0000 && function < 0x4000'0100);
  const u32 limit = highest(table, basic ? 0 : function & 0xffff'ff00);
  const bool outside = function > limit;
  // SDM vol. 2A "CPUID": a leaf past the end answers as the highest basic leaf; AMD answers zeros.
  if (outside && cpuid_vendor(table) == "GenuineIntel") return words(find_cpuid(table, highest(table, 0), index));
  // In leaves Bh and 1Fh, ECX and EDX are given for subleaves past the last level, too.
  if (function == 0xb || function == 0x1f) {
    const CpuidEntry* first = find_cpuid(table, function, 0);
    if (first != nullptr) return {0, 0, index & 0xff, first->edx};
  }
  return {};
}

std::string cpuid_vendor(std::span<const CpuidEntry> table) {
  const CpuidEntry* leaf = find_cpuid(table, 0);
  std::string name;
  if (leaf == nullptr) return name;
  for (const u32 word : {leaf->ebx, leaf->edx, leaf->ecx}) {
    for (int i = 0; i < 4; ++i) name += static_cast<char>(word >> (8 * i));
  }
  return name;
}

std::vector<CpuidEntry> intersect_cpuid(std::span<const CpuidEntry> table, std::span<const CpuidEntry> other) {
  std::vector<CpuidEntry> out(table.begin(), table.end());
  for (const FeatureWord& feature : feature_words) {
    const CpuidEntry* theirs = find_cpuid(other, feature.function, feature.index);
    const u32 allowed = theirs != nullptr ? theirs->*feature.word : 0;
    for (CpuidEntry& entry : out) {
      if (matches(entry, feature.function, feature.index)) {
        entry.*feature.word &= allowed | own_bits(feature.function, feature.word);
      }
    }
  }
  return out;
}

std::optional<std::string> cpuid_loss(std::span<const CpuidEntry> saved, std::span<const CpuidEntry> now) {
  if (cpuid_vendor(saved) != cpuid_vendor(now)) {
    return fmt::format("the processor was a {}, here it is a {}", cpuid_vendor(saved), cpuid_vendor(now));
  }
  for (const FeatureWord& feature : feature_words) {
    const CpuidEntry* had = find_cpuid(saved, feature.function, feature.index);
    if (had == nullptr) continue;
    const CpuidEntry* has = find_cpuid(now, feature.function, feature.index);
    const u32 available = (has != nullptr ? has->*feature.word : 0) | own_bits(feature.function, feature.word);
    if (const u32 lost = had->*feature.word & ~available; lost != 0) {
      const char* name = feature.word == &CpuidEntry::eax   ? "EAX"
                         : feature.word == &CpuidEntry::ebx ? "EBX"
                         : feature.word == &CpuidEntry::ecx ? "ECX"
                                                            : "EDX";
      return fmt::format("CPUID leaf {:#x}.{} {} bits {:#x} are missing here", feature.function, feature.index, name, lost);
    }
  }
  return std::nullopt;
}

}  // namespace nagaya::x86
