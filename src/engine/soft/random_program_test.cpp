// Random programs of several blocks, executed with the optimizations on and off: single instructions as blocks, exact flags, and the
// default must agree in registers, flags, memory, and in every fault on the way, which must be precise. Page faults are mended, and
// the program goes on from there. The seed is fixed (--gtest_random_seed=N tries another).
#include <gtest/gtest.h>
#include <Zydis/Zydis.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>

#include "engine/soft/engine_impl.hpp"
#include "engine/soft/random_program_test_util.hpp"
#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

NAGAYA_GUEST_CODE(mend_page, "out %al, $0x8e\n add $8, %rsp\n iretq\n");

namespace {

using testing::ExceptionFrame;
using testing::ProgramSpace;
using testing::RandomProgram;
using testing::SystemGuest;
using namespace x86;

constexpr u64 handler_at = 0x28000, code_frames = 0x300000, data_frames = 0x500000, spare_frames = 0x580000;
constexpr u64 data_count = std::size(ProgramSpace::data_pages);

/// The state at one fault, as the guest's handler finds it.
struct FaultSeen {
  ExceptionFrame frame{};
  u64 cr2 = 0, memory = 0;
  std::array<u64, 16> gpr{};
};

struct Outcome {
  int vector = 0;
  bool stopped = false;
  std::array<u64, 16> gpr{};
  u64 rip = 0, flags = 0, memory = 0, cr2 = 0;
  ExceptionFrame frame{};
  std::vector<u8> vectors;
  std::vector<FaultSeen> faults;
};

class ProgramGuest : public SystemGuest {
 public:
  explicit ProgramGuest(const SoftOptions& options) : SystemGuest(options) {
    code(mend_page, handler_at);
    for (unsigned v = 0; v < 32; ++v) gate(v, v == 14 ? handler_at : stubs_at + v * 16, 1);
    // What is not the program's it cannot touch, wherever a store into its own code may lead it; a kernel still can spoil what is below.
    for (u64 page = 0; page < ram_size; page += 0x1000) pte(page) &= page < below ? ~4ull : 0;
    for (u64 page = 0x70000; page < 0x80000; page += 0x1000) pte(page) = page | 3;  // stacks of handlers
    image_.assign(ram(), ram() + below);
  }

  Outcome execute(const RandomProgram& program, const CpuState& start, u64 seed) {
    std::mt19937_64 rng(seed);
    std::memcpy(ram(), image_.data(), below);
    engine().memory_written(Gpa(0), below);
    // Neighbours in linear memory are strangers in physical memory.
    std::vector<u64> order(ProgramSpace::code_pages);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, rng);
    for (u64 page = 0; page < ProgramSpace::code_pages; ++page) {
      const u64 frame = code_frames + order[page] * 0x1000;
      std::memcpy(ram() + frame, &program.code()[page * 4096], 4096);
      // Now and then the code itself is missing, but not its first page.
      const bool missing = page != (start.rip - ProgramSpace::code) >> 12 && rng() % 6 == 0;
      pte(ProgramSpace::code + page * 0x1000) = frame | (missing ? 6 : 7);
    }
    for (u64 page = 0; page < data_count; ++page) {
      const auto kind = ProgramSpace::data_pages[page];
      const u64 frame = kind == ProgramSpace::Page::with_code ? code_frames + order[1] * 0x1000 : data_frames + (page * 5 % data_count) * 0x1000;
      if (kind != ProgramSpace::Page::with_code) fill(frame, rng);
      pte(ProgramSpace::data + page * 0x1000) = frame | (kind == ProgramSpace::Page::missing ? 6 : kind == ProgramSpace::Page::readonly ? 5 : 7);
    }
    for (u64 page = 0; page < ProgramSpace::stack_pages; ++page) {
      const u64 frame = spare_frames + (2 - page) * 0x1000;
      fill(frame, rng);
      pte(ProgramSpace::stack + page * 0x1000) = frame | (page == 0 ? 6 : 7);
    }
    engine().memory_written(Gpa(code_frames), ProgramSpace::code_pages * 4096);
    now_ = {};
    ++runs;
    const CpuState out = go(start);
    ++runs;
    now_.vector = last_exit.reason == ExitReason::kicked ? vector : 99;
    now_.stopped = stopped.exchange(false);
    now_.gpr = out.gpr, now_.rip = out.rip, now_.flags = out.rflags & 0x8d5, now_.memory = memory_hash();
    now_.vectors.assign(&out.xsave[160], &out.xsave[416]);
    if (vector >= 0) now_.frame = frame(out), now_.cr2 = out.cr2;
    return std::move(now_);
  }

  void port_write(u16 port, std::span<const u8> data) override {
    if (port != 0x80 + 14) return SystemGuest::port_write(port, data);
    const CpuState& s = static_cast<SoftVcpu&>(vcpu()).cpu().s;
    const bool known = within(s.cr2, ProgramSpace::code, ProgramSpace::code_pages) || within(s.cr2, ProgramSpace::data, data_count) ||
                       within(s.cr2, ProgramSpace::stack, ProgramSpace::stack_pages);
    constexpr std::size_t most = 1000;
    if (!known || now_.faults.size() > most) return SystemGuest::port_write(port, data);
    FaultSeen seen{{}, s.cr2, memory_hash(), s.gpr};
    vector = 14;
    seen.frame = frame(s);
    vector = -1;
    seen.gpr[RSP] = 0;  // the handler's
    now_.faults.push_back(seen);
    pte(s.cr2) |= 7;
  }

  std::atomic<bool> stopped{false};  ///< by the watchdog
  std::atomic<u64> runs{0};          ///< begun and ended: odd while one is on

 private:
  static bool within(u64 linear, u64 start, u64 pages) { return linear - start < pages * 0x1000; }
  void fill(u64 frame, std::mt19937_64& rng) {
    for (u64 i = 0; i < 4096; i += 8) at(frame + i) = rng();
  }
  [[nodiscard]] u64 memory_hash() {
    u64 hash = 0;
    const auto add = [&](u64 start, u64 size) {
      for (u64 i = 0; i < size; i += 8) hash = (hash ^ static_cast<u64>(at(start + i))) * 0x9e3779b97f4a7c15ull + (hash >> 31);
    };
    add(data_frames, data_count * 4096);
    add(spare_frames, ProgramSpace::stack_pages * 4096);
    add(code_frames, ProgramSpace::code_pages * 4096);
    return hash;
  }
  static constexpr u64 below = 0x30000;
  std::vector<u8> image_;
  Outcome now_;
};

/// A program that writes into itself may run for ever: ends it.
class Watchdog {
 public:
  explicit Watchdog(ProgramGuest& guest) : thread_([this, &guest] {
    u64 before = 0;
    for (unsigned tick = 0; !over_; ++tick) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (tick % 50) continue;
      const u64 now = guest.runs;
      if (now == before && now % 2) guest.stopped = true, guest.vcpu().kick();
      before = now;
    }
  }) {}
  ~Watchdog() {
    over_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

std::string around(const RandomProgram& program, u64 rip) {
  std::string out;
  ZydisDisassembledInstruction insn;
  for (unsigned i = 0; i < 6 && rip - ProgramSpace::code < program.code().size() - 16; ++i) {
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, rip, &program.code()[rip - ProgramSpace::code], 15, &insn))) break;
    out += std::string(insn.text) + "; ";
    rip += insn.info.length;
  }
  return out;
}

/// Empty, or the first difference. `flags`: of faults, too.
std::string difference(const RandomProgram& program, const Outcome& a, const Outcome& b, bool flags) {
  const auto frames = [&](const ExceptionFrame& x, const ExceptionFrame& y) {
    return x.rip == y.rip && x.code == y.code && x.rsp == y.rsp && (!flags || x.flags == y.flags);
  };
  for (std::size_t i = 0; i < std::max(a.faults.size(), b.faults.size()); ++i) {
    const std::string which = "fault " + std::to_string(i);
    if (i >= a.faults.size() || i >= b.faults.size()) return which + " is one side's only";
    const FaultSeen &x = a.faults[i], &y = b.faults[i];
    const std::string where = which + " at " + around(program, x.frame.rip);
    if (!frames(x.frame, y.frame)) return where + ": frames";
    if (x.cr2 != y.cr2) return where + ": CR2";
    if (x.gpr != y.gpr) return where + ": registers";
    if (x.memory != y.memory) return where + ": memory";
  }
  if (a.vector != b.vector) return "exception " + std::to_string(a.vector) + " became " + std::to_string(b.vector) + " at " + around(program, a.frame.rip);
  if (a.vector >= 0 && (!frames(a.frame, b.frame) || (a.vector == 14 && a.cr2 != b.cr2))) return "frame of the last exception at " + around(program, a.frame.rip);
  if (a.gpr != b.gpr) {
    for (unsigned i = 0; i < 16; ++i)
      if (a.gpr[i] != b.gpr[i]) return "register " + std::to_string(i);
  }
  if (a.memory != b.memory) return "memory";
  if (a.vectors != b.vectors) return "vector registers";
  if (a.vector < 0 && (a.flags != b.flags || a.rip != b.rip)) return "flags or RIP at the end";
  return {};
}

TEST(RandomPrograms, SameWithAndWithoutOptimizations) {
  const SoftOptions options[] = {{.precise_flags = true, .max_block_insns = 1}, {.precise_flags = true}, {}, {.max_block_insns = 1}, {.max_block_insns = 5}};
  std::vector<std::unique_ptr<ProgramGuest>> guests;
  for (const SoftOptions& o : options) guests.push_back(std::make_unique<ProgramGuest>(o));
  ASSERT_TRUE(guests[0]->ok());
  std::vector<std::unique_ptr<Watchdog>> watchdogs;
  for (const auto& g : guests) watchdogs.push_back(std::make_unique<Watchdog>(*g));
  const u64 salt = static_cast<u64>(GTEST_FLAG_GET(random_seed)) * 1000003;
  unsigned to_the_end = 0, failures = 0, endless = 0;
  std::size_t faults = 0;
  constexpr unsigned programs = 1500;
  for (unsigned n = 0; n < programs && failures < 5; ++n) {
    const bool kernel = n % 3 == 0;
    RandomProgram program(salt + n, kernel);
    CpuState start = kernel ? SystemGuest::kernel() : SystemGuest::user();
    start.rflags |= 0x3000;  // its last instruction is OUT
    start.rip = program.start();
    for (unsigned r = 0; r < 16; ++r) start.gpr[r] = program.value();
    for (const unsigned r : {3, 6, 7, 10, 12}) start.gpr[r] = program.address();
    start.gpr[14] = program.index();
    start.gpr[RSP] = program.stack_pointer();
    start.seg[FS].base = 0x18, start.seg[GS].base = 0x20;
    for (std::size_t i = 160; i < 416; ++i) start.xsave[i] = static_cast<u8>(program.value());
    start.xsave[512] = 3;
    const Outcome expected = guests[0]->execute(program, start, n);
    to_the_end += expected.vector < 0;
    faults += expected.faults.size();
    for (std::size_t i = 1; i < guests.size(); ++i) {
      const Outcome outcome = guests[i]->execute(program, start, n);
      const std::string what = difference(program, expected, outcome, options[i].precise_flags);
      if (expected.stopped || outcome.stopped) ++endless;
      if (what.empty() || expected.stopped || outcome.stopped) continue;
      ADD_FAILURE() << "program " << n << ", options " << i << ": " << what;
      ++failures;
    }
  }
  RecordProperty("to_the_end", static_cast<int>(to_the_end));
  RecordProperty("endless", static_cast<int>(endless));
  RecordProperty("faults", static_cast<int>(faults));
  // They were worth something: most end as they should, with page faults on the way.
  if (failures == 0) {
    EXPECT_GT(to_the_end, programs / 4);
    EXPECT_GT(faults, programs);
    EXPECT_LT(endless, programs / 50);
  }
}

}  // namespace
}  // namespace nagaya::engine::soft
