// The engine's counters as text.
#include <Zydis/Mnemonic.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>

#include "engine/soft/direct.hpp"
#include "engine/soft/engine_impl.hpp"

namespace nagaya::engine::soft {
namespace {

static_assert(ZYDIS_MNEMONIC_MAX_VALUE < counted_mnemonics);

constexpr std::array causes = {"lookup",         "entry", "link", "instruction in C++", "instruction in C++ within a block", "raised exception", "fault of memory",
                               "fault of the CPU"};
constexpr std::array slow_kinds = {"filled", "special page", "page crossing", "device", "masked", "fault"};
constexpr std::array flushes = {"all", "inline tables", "all but global", "one PCID", "page", "CR3", "jump cache"};
constexpr std::array leaves = {"none", "translate", "heavy", "halted", "kicked", "shutdown", "internal"};
static_assert(causes.size() == Counters::size<Cause> && slow_kinds.size() == Counters::size<Slow> && flushes.size() == Counters::size<Flush>);

template <std::size_t N>
u64 sum(const u64 (&counts)[N]) {
  return std::accumulate(counts, counts + N, u64{0});
}

class Text {
 public:
  void line(std::string_view name) { out += fmt::format("  {}:", name), first_ = true; }
  void item(std::string_view name, u64 count) {
    if (count == 0) return;
    fmt::format_to(std::back_inserter(out), "{} {} {}", first_ ? "" : ",", name, count);
    first_ = false;
  }
  void end() { out += first_ ? " none\n" : "\n"; }
  template <std::size_t N>
  void list(std::string_view name, const std::array<const char*, N>& names, const u64* counts) {
    line(name);
    for (std::size_t i = 0; i < N; ++i) item(names[i], counts[i]);
    end();
  }
  /// The most frequent mnemonics.
  void mnemonics(std::string_view name, const u64 (&counts)[counted_mnemonics]) {
    constexpr std::size_t most = 24;
    std::vector<std::pair<u64, unsigned>> order;
    for (unsigned i = 0; i < counted_mnemonics; ++i)
      if (counts[i]) order.emplace_back(counts[i], i);
    std::ranges::sort(order, std::greater{});
    if (order.size() > most) order.resize(most);
    line(name);
    for (const auto& [count, mnemonic] : order) {
      const char* text = mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE ? ZydisMnemonicGetString(static_cast<ZydisMnemonic>(mnemonic)) : nullptr;
      item(text ? text : "?", count);
    }
    end();
  }
  std::string out;

 private:
  bool first_ = true;
};

}  // namespace

std::string statistics_of(const SoftVcpu& vcpu) {
  const SoftCpu& cpu = vcpu.cpu();
  Text text;
  const Counters& c = cpu.count;
  text.out += fmt::format("vcpu {}: instructions in C++ {}, TLB misses {}, leaves {}\n", cpu.id, sum(c.execute) + sum(c.execute_inline), sum(c.slow), sum(c.leave));
  text.list("dispatches", causes, c.dispatched);
  text.list("left for", leaves, c.leave);
  text.list("TLB misses", slow_kinds, c.slow);
  text.list("flushes", flushes, c.flush);
  text.line("jump cache misses");
  text.item("in all", c.jump_misses);
  text.end();
  text.line("translations of addresses");
  text.item("second-level TLB", c.l2_hits);
  text.item("walk of the tables", c.walks);
  text.end();
  text.line("helpers");
  text.item("commit", c.commits);
  text.item("segment", c.segments);
  text.end();
  text.line("events");
  text.item("interrupt", c.interrupts);
  text.item("NMI", c.nmis);
  for (unsigned v = 0; v < 32; ++v) text.item(fmt::format("exception {}", v), c.faults[v]);
  text.item("unknown MSR", c.unknown_msr);
  text.item("unknown instruction", c.undefined);
  text.end();
  text.mnemonics("in C++ at the end of a block", c.execute);
  text.mnemonics("in C++ within a block", c.execute_inline);
  text.mnemonics("outside translated code", c.execute_heavy);
  if (vcpu.direct()) text.out += vcpu.direct()->statistics();
  return std::move(text.out);
}

std::string SoftEngine::statistics() const {
  std::string out = fmt::format("blocks translated: {}\ncode bytes: {}\nrecord bytes: {}\nblocks dropped: {}\nsegments evicted: {}\nwhole flushes: {}\ntranslation: {:.1f} ms\n", translated_,
                                cache_->code_bytes(), cache_->record_bytes(), shared_.dropped.load(), evictions_, flushes_,
                                static_cast<double>(translation_tsc_) / static_cast<double>(tsc_khz_ ? tsc_khz_ : 1));
  std::lock_guard lock(vcpus_mutex_);
  for (SoftVcpu* v : vcpus_) out += statistics_of(*v);
  return out;
}

}  // namespace nagaya::engine::soft
