// Interrupts in the middle of linked blocks. Single-stepping a program first gives every state that it can be interrupted in; then
// interrupts come from a thread at any time, and from a device in the middle of any of the program's accesses. What a handler
// finds must be one of those states, and the program's result must be the same.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>
#include <unordered_set>

#include "engine/soft/engine_impl.hpp"
#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

#define EXIT "out %al, $0xf4\n"

// RCX rounds over memory at RSI and RDI, with calls, returns, pushes, branches both ways, and a second page.
NAGAYA_GUEST_CODE(busy_loop, R"(
1: jmp 2f
2: mov (%rsi), %rax
  add %rcx, %rax
  mov %rax, (%rdi)
  call 5f
  push %rax
  test $1, %cl
  jz 3f
  add 8(%rdi), %rdx
  xor $0x55, %edx
3: pop %rbx
  add %rbx, 8(%rdi)
  call 6f
  lock incl 16(%rdi)
  dec %ecx
  jnz 2b
)" EXIT R"(
5: imul $0x01000193, %rax, %rax
  inc %r8
  ret
  .fill 0x1000 - (. - 1b), 1, 0xcc
6: mov 16(%rdi), %r9d
  cmp %r8, %r9
  jbe 7f
  lea 1(%r10), %r10
7: add %r9, %r11
  ret
)");
NAGAYA_GUEST_CODE(say_step, "out %al, $0x12\n iretq\n");
NAGAYA_GUEST_CODE(say_interrupt, "out %al, $0x13\n iretq\n");

namespace {

using testing::OneVectorApic;
using testing::SystemGuest;
using namespace x86;
using std::chrono::nanoseconds;
using std::chrono::steady_clock;

constexpr u64 pages = 0x30000, step_at = 0x28000, interrupt_at = 0x29000, device = 0x20000000;

u64 mix(u64 hash, u64 value) { return (hash ^ value) * 0x9e3779b97f4a7c15ull + (hash >> 29); }

class Interrupted : public SystemGuest {
 public:
  Interrupted(const SoftOptions& options, OneVectorApic& apic) : SystemGuest(options, &apic), apic_(apic), exact_flags_(options.precise_flags) {
    code(busy_loop, pages);
    code(say_step, step_at);
    code(say_interrupt, interrupt_at);
    gate(1, step_at, 1);
    gate(0x40, interrupt_at, 1);
  }

  /// The state that a handler was called from.
  u64 frame_hash() {
    CpuState s = static_cast<SoftVcpu&>(vcpu()).cpu().s;
    const u64 frame = s.gpr[RSP];  // on the interrupt stack
    s.rip = last_rip = at(frame);
    s.rflags = at(frame + 16);
    s.gpr[RSP] = at(frame + 24);
    return hash_of(s);
  }
  [[nodiscard]] u64 hash_of(const CpuState& s) const {
    u64 hash = mix(0, s.rip);
    if (exact_flags_) hash = mix(hash, s.rflags & 0x8d5);
    for (const u64 r : s.gpr) hash = mix(hash, r);
    return hash;
  }
  void port_write(u16 port, std::span<const u8> data) override {
    if (port == 0x12) {
      legal.insert(frame_hash());
    } else if (port == 0x13) {
      ++interrupts;
      if (!legal.contains(frame_hash())) ++illegal;
      places.insert(last_rip);
    } else {
      SystemGuest::port_write(port, data);
    }
  }

  // The device is memory that interrupts at its access number `fire_at`.
  void touch() {
    if (++accesses != fire_at) return;
    apic_.vector = 0x40;
    vcpu().signal(VcpuSignal::interrupt, 0);
  }
  void mmio_read(Gpa where, std::span<u8> data) override {
    std::memcpy(data.data(), &cells[where.value & 0xfff], data.size());
    touch();
  }
  void mmio_write(Gpa where, std::span<const u8> data) override {
    std::memcpy(&cells[where.value & 0xfff], data.data(), data.size());
    touch();
  }

  CpuState begin(u32 rounds, u64 rsi, u64 rdi, u64 rsp) {
    std::memset(ram() + data_at, 0x11, 0x2000);
    cells.fill(0x11);
    accesses = 0;
    apic_.vector = -1;
    CpuState s = kernel();
    s.rip = pages;
    s.gpr[RCX] = rounds, s.gpr[RSI] = rsi, s.gpr[RDI] = rdi, s.gpr[RSP] = rsp;
    return s;
  }
  /// Fills `legal` with every state between two instructions of a run from `s`.
  CpuState record(CpuState s) {
    s.rflags |= 0x100;
    legal.clear();
    legal.insert(hash_of(s));
    fire_at = 0;
    CpuState out = go(s);
    out.rflags &= ~0x100ull;
    return out;
  }
  /// Whether the run from `s`, with interrupts, ends as `reference` did.
  void expect_same(CpuState s, const CpuState& reference) {
    s.rflags |= 0x200;
    const CpuState out = go(s);
    EXPECT_EQ(vector, -1);
    EXPECT_EQ(out.rip, reference.rip);
    EXPECT_EQ(out.gpr, reference.gpr);
    EXPECT_EQ(out.rflags & 0x8d5, reference.rflags & 0x8d5);
  }

  std::unordered_set<u64> legal;
  std::unordered_set<u64> places;  // RIPs that were interrupted
  std::array<u8, 4096> cells{};
  u64 interrupts = 0, illegal = 0, accesses = 0, fire_at = 0, last_rip = 0;

 private:
  OneVectorApic& apic_;
  bool exact_flags_;
};

const SoftOptions options_list[] = {
    {}, {.max_block_insns = 1}, {.max_block_insns = 3}, {.precise_flags = true}, {.precise_flags = true, .max_block_insns = 2}};

class InterruptBoundary : public ::testing::TestWithParam<int> {};

TEST_P(InterruptBoundary, ByADeviceInTheMiddleOfEachAccess) {
  OneVectorApic apic;
  Interrupted g(options_list[GetParam()], apic);
  ASSERT_TRUE(g.ok());
  constexpr u64 ram = SystemGuest::data_at, mmio = device + 0x100, stack = SystemGuest::stack_top;
  constexpr u32 rounds = 4;
  // Loads, stores, and pushes, pops, calls and returns to the device, one kind after the other.
  for (const auto& [rsi, rdi, rsp] : {std::array{mmio, ram, stack}, {ram, mmio, stack}, {ram, ram + 64, device + 0x800}}) {
    const CpuState reference = g.record(g.begin(rounds, rsi, rdi, rsp));
    const u64 accesses = g.accesses;
    ASSERT_GE(accesses, u64{rounds});
    for (u64 n = 1; n <= accesses; ++n) {
      const CpuState s = g.begin(rounds, rsi, rdi, rsp);
      g.fire_at = n;
      const u64 before = g.interrupts;
      g.expect_same(s, reference);
      // After the last accesses the program may end first.
      EXPECT_EQ(g.interrupts + (apic.vector >= 0), before + 1) << n;
      EXPECT_EQ(g.accesses, accesses);
    }
  }
  EXPECT_EQ(g.illegal, 0u);
}

TEST_P(InterruptBoundary, ByAThreadAtAnyTime) {
  OneVectorApic apic;
  Interrupted g(options_list[GetParam()], apic);
  ASSERT_TRUE(g.ok());
  constexpr u32 rounds = 2000;
  const auto begin = [&] { return g.begin(rounds, SystemGuest::data_at, SystemGuest::data_at + 0x40, SystemGuest::stack_top); };
  const CpuState reference = g.record(begin());
  ASSERT_GT(g.legal.size(), u64{rounds} * 20);
  std::atomic<bool> over{false};
  std::thread source([&] {
    std::mt19937 rng(static_cast<unsigned>(GetParam()) + 1);
    while (!over) {
      // Time for some instructions in between, more or less.
      const auto until = steady_clock::now() + nanoseconds(rng() % 8000);
      while (steady_clock::now() < until && !over) {
      }
      int none = -1;
      if (apic.vector.compare_exchange_strong(none, 0x40)) g.vcpu().signal(VcpuSignal::interrupt, 0);
    }
  });
  constexpr u64 enough = 10000;
  for (unsigned run = 0; run < 3000 && g.interrupts < enough && g.illegal == 0; ++run) g.expect_same(begin(), reference);
  over = true;
  source.join();
  EXPECT_EQ(g.illegal, 0u);
  EXPECT_GT(g.interrupts, 0u);
  RecordProperty("interrupts", static_cast<int>(g.interrupts));
  RecordProperty("places", static_cast<int>(g.places.size()));
}

INSTANTIATE_TEST_SUITE_P(Options, InterruptBoundary, ::testing::Range(0, 5));

}  // namespace
}  // namespace nagaya::engine::soft
