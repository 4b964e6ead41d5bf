#include "cases.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace nagaya::conformance {
namespace {

Case parse(const std::filesystem::path& path) {
  Case out;
  out.name = path.stem();
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(";= ")) out.log.push_back(line.substr(3));
    if (!line.starts_with(";@ ")) continue;
    std::istringstream words(line.substr(3));
    for (std::string word; words >> word;) {
      if (word == "protected32") out.mode = Mode::protected32;
      if (word == "long64") out.mode = Mode::long64;
      if (word == "end=shutdown") out.end = End::shutdown;
      if (word.starts_with("vcpus=")) out.vcpus = static_cast<unsigned>(std::stoul(word.substr(6)));
      if (word.starts_with("needs=")) out.needs.push_back(word.substr(6));
    }
  }
  if (out.end == End::finished) out.log.emplace_back("end 0");
  return out;
}

struct Feature {
  const char* name;
  u32 function;
  u32 x86::CpuidEntry::* reg;
  unsigned bit;
};
constexpr Feature features[] = {
    {"x2apic", 1, &x86::CpuidEntry::ecx, 21},
    {"xsave", 1, &x86::CpuidEntry::ecx, 26},
    {"avx", 1, &x86::CpuidEntry::ecx, 28},
    {"pcid", 1, &x86::CpuidEntry::ecx, 17},
    {"smep", 7, &x86::CpuidEntry::ebx, 7},
    {"smap", 7, &x86::CpuidEntry::ebx, 20},
    {"invpcid", 7, &x86::CpuidEntry::ebx, 10},
    {"fsgsbase", 7, &x86::CpuidEntry::ebx, 0},
    {"umip", 7, &x86::CpuidEntry::ecx, 2},
    {"pdpe1gb", 0x80000001, &x86::CpuidEntry::edx, 26},
    {"rdtscp", 0x80000001, &x86::CpuidEntry::edx, 27},
    {"syscall", 0x80000001, &x86::CpuidEntry::edx, 11},
    {"sep", 1, &x86::CpuidEntry::edx, 11},
    {"deadline", 1, &x86::CpuidEntry::ecx, 24},
};

}  // namespace

const std::vector<Case>& cases() {
  static const std::vector<Case> all = [] {
    std::vector<Case> found;
    for (const auto& entry : std::filesystem::directory_iterator(NAGAYA_CONFORMANCE_SOURCES "/guests")) {
      if (entry.path().extension() == ".asm") found.push_back(parse(entry.path()));
    }
    std::ranges::sort(found, {}, &Case::name);
    return found;
  }();
  return all;
}

std::string lacking(const Case& which, std::span<const x86::CpuidEntry> cpuid) {
  for (const std::string& need : which.needs) {
    const auto* feature = std::ranges::find(features, need, &Feature::name);
    if (feature == std::end(features)) return need + " (unknown to the suite)";
    const x86::CpuidEntry* entry = x86::find_cpuid(cpuid, feature->function);
    if (!entry || !(entry->*feature->reg >> feature->bit & 1)) return need;
  }
  return {};
}

std::string difference(const Case& which, End end, const std::string& detail, const std::vector<std::string>& log) {
  std::string text;
  if (end != which.end) text = fmt::format("ended by {} ({}), not {}\n", name_of(end), detail, name_of(which.end));
  const auto [got, wanted] = std::ranges::mismatch(log, which.log);
  if (got == log.end() && wanted == which.log.end()) return text;
  if (log.size() <= 40) text += fmt::format("log: {}\n", fmt::join(log, ", "));
  return text + fmt::format("line {}: got '{}', wanted '{}'\n", got - log.begin() + 1,
                            got == log.end() ? "(no more)" : *got, wanted == which.log.end() ? "(no more)" : *wanted);
}

std::string known_failure(const std::string& engine_class, const std::string& test) {
  static const auto known = [] {
    std::vector<std::array<std::string, 3>> lines;
    std::ifstream file(NAGAYA_CONFORMANCE_SOURCES "/known_failures.txt");
    for (std::string line; std::getline(file, line);) {
      if (line.empty() || line[0] == '#') continue;
      std::istringstream words(line);
      std::array<std::string, 3> entry;
      words >> entry[0] >> entry[1];
      std::getline(words >> std::ws, entry[2]);
      lines.push_back(std::move(entry));
    }
    return lines;
  }();
  for (const auto& [its_class, pattern, reason] : known) {
    if (its_class == engine_class && ::fnmatch(pattern.c_str(), test.c_str(), 0) == 0)
      return reason.empty() ? "no reason given, which is an error" : reason;
  }
  return {};
}

}  // namespace nagaya::conformance
