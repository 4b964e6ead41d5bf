// Interrupt shadows, waiting, NMI, INIT and start-up IPIs, and kicks at any moment.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "engine/soft/engine_impl.hpp"
#include "engine/soft/system_guest_test_util.hpp"

namespace nagaya::engine::soft {

#define EXIT "out %al, $0xf4\n"

// Interrupt handler: the RIP it interrupted and what runs then go to [R15].
NAGAYA_GUEST_CODE(irq_handler, R"(
  push %rax
  mov 8(%rsp), %rax
  mov %rax, (%r15)
  mov 24(%rsp), %rax
  mov %rax, 8(%r15)
  add $16, %r15
  pop %rax
  iretq
)");
NAGAYA_GUEST_CODE(shadow_sti, "nop\n sti\n nop\n nop\n" EXIT);
NAGAYA_GUEST_CODE(shadow_sti_sti, "sti\n sti\n nop\n" EXIT);
NAGAYA_GUEST_CODE(shadow_sti_cli, "sti\n cli\n nop\n" EXIT);
NAGAYA_GUEST_CODE(shadow_mov_ss_sti, "mov $0x10, %eax\n mov %eax, %ss\n sti\n nop\n nop\n" EXIT);
NAGAYA_GUEST_CODE(shadow_mov_ss, "mov $0x10, %eax\n popfq\n mov %eax, %ss\n nop\n mov %eax, %ss\n mov %eax, %ss\n nop\n" EXIT);
NAGAYA_GUEST_CODE(shadow_sti_hlt, "sti\n hlt\n nop\n" EXIT);
NAGAYA_GUEST_CODE(shadow_out, "sti\n out %al, $0x11\n nop\n" EXIT);
NAGAYA_GUEST_CODE(shadow_fault, "sti\n ud2\n" EXIT);
// The device interrupts in the middle of a block whose IF is clear.
NAGAYA_GUEST_CODE(window_sti, "mov %eax, 0x20000020\n sti\n nop\n cli\n nop\n" EXIT);
NAGAYA_GUEST_CODE(window_popf, "mov %eax, 0x20000020\n popfq\n nop\n cli\n nop\n" EXIT);
NAGAYA_GUEST_CODE(halt_forever, "sti\n 2: hlt\n inc %ebx\n cmp $3, %ebx\n jb 2b\n" EXIT);
NAGAYA_GUEST_CODE(spin_self, "2: jmp 2b\n");
NAGAYA_GUEST_CODE(spin_blocks, R"(
2: inc %eax
  test $1, %al
  jz 3f
  add $2, %ebx
  jmp 4f
3: add $3, %ebx
4: test %ecx, %ecx
  jz 2b
)");
NAGAYA_GUEST_CODE(spin_rep, "2: mov %rsi, %rcx\n lea 0x300000, %rdi\n rep stosb\n jmp 2b\n");
NAGAYA_GUEST_CODE(spin_calls, "2: call 3f\n jmp 2b\n 3: ret\n");
NAGAYA_GUEST_CODE(spin_loop, "2: mov $100, %ecx\n 3: loop 3b\n jmp 2b\n");
NAGAYA_GUEST_CODE(spin_mov_ss, "mov $0x10, %eax\n 2: mov %eax, %ss\n mov %eax, %ss\n jmp 2b\n");
NAGAYA_GUEST_CODE(spin_fault, "2: ud2\n");
NAGAYA_GUEST_CODE(skip_ud, "addq $2, (%rsp)\n subq $2, (%rsp)\n iretq\n");
NAGAYA_GUEST_CODE(nmi_handler, "inc %r12\n mov $0x300, %ecx\n 2: dec %ecx\n jnz 2b\n iretq\n");
NAGAYA_GUEST_CODE(nmi_wait, "2: cmp $1, %r12\n jb 2b\n" EXIT);
NAGAYA_GUEST_CODE(sipi_code, ".code16\n mov $0x1234, %ax\n mov %cs, %bx\n out %al, $0xf4\n");

// A checksum over everything: memory, strings, calls, vector registers, divisions, port reads, system instructions.
NAGAYA_GUEST_CODE(checksum, R"(
  mov $300000, %ebp
  xor %eax, %eax
  mov $0x300000, %ebx
2: mov %ebp, %ecx
  and $0xfff, %ecx
  add %rbp, (%rbx,%rcx)
  rol $7, %rax
  add (%rbx,%rcx), %rax
  test $31, %ebp
  jnz 3f
  lea (%rbx), %rsi
  lea 0x2000(%rbx), %rdi
  mov $700, %ecx
  rep movsb
  add -8(%rdi), %rax
  push %rax
  pushfq
  popfq
  pop %rcx
  xor %rcx, %rdx
3: call 5f
  movq %rax, %xmm3
  paddq %xmm3, %xmm4
  test $63, %ebp
  jnz 4f
  mov %ds, %ecx
  mov %ecx, %ss
  add %ecx, %eax
  in $0x60, %al
  push %rax
  mov $17, %ecx
  xor %edx, %edx
  div %rcx
  mov %rdx, %r10
  pop %rax
  add %r10, %rax
  xor %edx, %edx
4: dec %ebp
  jnz 2b
  movq %xmm4, %rdx
)" EXIT R"(
  ud2  # the end's address is nobody else's: a kick may come at the beginning of what follows
5: imul $0x01000193, %rax, %rax
  mov %rax, %r11
  shr $13, %r11
  xor %r11, %rax
  ret
)");

namespace {

using testing::OneVectorApic;
using testing::SystemGuest;
using namespace x86;
using std::chrono::microseconds;

constexpr u64 handler_at = 0x28000, log_at = 0x200000, base = SystemGuest::code_at;

/// A device that raises an interrupt when it is written.
class InterruptingGuest : public SystemGuest {
 public:
  explicit InterruptingGuest(OneVectorApic* apic) : SystemGuest({}, apic), apic_(apic) {}
  void mmio_write(Gpa, std::span<const u8>) override {
    apic_->vector = 0x40;
    vcpu().signal(VcpuSignal::interrupt, 0);
  }

 private:
  OneVectorApic* apic_;
};

class Events : public ::testing::Test {
 protected:
  Events() {
    g.code(irq_handler, handler_at);
    g.gate(0x40, handler_at);
    s = SystemGuest::kernel();
    s.gpr[R15] = log_at;
  }
  /// With an interrupt pending from the start: where it came, relative to the code.
  std::vector<u64> interrupted(const testing::GuestCode& code) {
    g.code(code);
    apic.vector = 0x40;
    out = g.go(s);
    std::vector<u64> list;
    for (u64 at = log_at; at < out.gpr[R15]; at += 16) list.push_back(g.at(at) - base);
    return list;
  }
  /// A little further from where it was kicked.
  void go_on() {
    std::thread kicker([&] {
      std::this_thread::sleep_for(microseconds(100));
      g.vcpu().kick();
    });
    EXPECT_EQ(g.vcpu().run().reason, ExitReason::kicked);
    kicker.join();
    out = *g.vcpu().state();
  }
  OneVectorApic apic;
  InterruptingGuest g{&apic};
  CpuState s, out;
};
using List = std::vector<u64>;

TEST_F(Events, StiShadow) {
  EXPECT_EQ(interrupted(shadow_sti), List{3});
  EXPECT_EQ(interrupted(shadow_sti_sti), List{2});
  EXPECT_EQ(interrupted(shadow_sti_cli), List{});
  EXPECT_GE(apic.vector.load(), 0);
  EXPECT_EQ(interrupted(shadow_mov_ss_sti), List{9});
}

TEST_F(Events, ShortWindowsAreEnough) {
  const auto window = [&](const testing::GuestCode& code) {
    g.code(code);
    apic.vector = -1;
    out = g.go(s);
    EXPECT_EQ(apic.vector.load(), -1);
    return out.gpr[R15] == log_at + 16 ? g.at(log_at) - base : 0;
  };
  EXPECT_EQ(window(window_sti), 9u);  // behind the NOP in the shadow of STI
  s.gpr[RSP] -= 8;
  g.at(s.gpr[RSP]) = 0x202;
  EXPECT_EQ(window(window_popf), 8u);  // right behind POPF
}

TEST_F(Events, MovSsShadow) {
  s.gpr[RSP] -= 8;
  g.at(s.gpr[RSP]) = 0x202;
  EXPECT_EQ(interrupted(shadow_mov_ss), List{6});  // right after POPF
  // Pending only when MOV SS has run: nothing between it and the next instruction.
  g.code(shadow_mov_ss);
  apic.vector = 0x40;
  s.rip = base + 6, s.rflags = 0x202, s.gpr[RAX] = 0x10;
  s.events.mov_ss_shadow = true;
  out = g.go(s);
  EXPECT_EQ(g.at(log_at), base + 8);
}

TEST_F(Events, ShadowOverHeavyInstructionsAndFaults) {
  EXPECT_EQ(interrupted(shadow_sti_hlt), List{2});
  EXPECT_EQ(interrupted(shadow_out), List{3});
  g.code(shadow_fault);
  apic.vector = 0x40;
  out = g.go(s);
  EXPECT_EQ(g.vector, 6);  // the handler's gate closes IF
  EXPECT_FALSE(out.events.interrupt_shadow);
  EXPECT_EQ(g.frame(out).rip, base + 1);
  apic.vector = -1;
}

TEST_F(Events, HaltIsWokenByInterrupts) {
  g.code(halt_forever);
  std::thread device([&] {
    // Not before it halts: one that came earlier would leave the last HLT without any.
    const auto& run_state = static_cast<SoftVcpu&>(g.vcpu()).cpu().s.run_state;
    const auto halted = [&] { return __atomic_load_n(&run_state, __ATOMIC_ACQUIRE) == RunState::halted; };
    for (int i = 0; i < 3; ++i) {
      while (apic.vector.load() >= 0 || !halted()) std::this_thread::yield();
      if (i) std::this_thread::sleep_for(microseconds(200));  // asleep by then; the first time perhaps not yet
      apic.vector = 0x40;
      g.vcpu().signal(VcpuSignal::interrupt, 0);
    }
  });
  out = g.go(s);
  device.join();
  EXPECT_EQ(out.gpr[RBX], 3u);
  EXPECT_EQ(out.gpr[R15], log_at + 3 * 16);
}

TEST_F(Events, KickInHalt) {
  g.code(halt_forever);
  s.rflags &= ~0x200ull;
  std::thread kicker([&] {
    std::this_thread::sleep_for(microseconds(500));
    g.vcpu().kick();
  });
  out = g.go(s);
  kicker.join();
  while (out.run_state == RunState::running) go_on();  // kicked before it halted
  EXPECT_EQ(out.run_state, RunState::halted);
  EXPECT_EQ(out.rip, base + 2);
  EXPECT_FALSE(out.events.interrupt_shadow);
}

TEST_F(Events, NmiComesOnceAndIsBlockedInItsHandler) {
  g.code(nmi_handler, 0x29000);
  g.gate(2, 0x29000);
  g.code(nmi_wait);
  s.rflags &= ~0x200ull;
  std::thread device([&] {
    std::this_thread::sleep_for(microseconds(300));
    g.vcpu().signal(VcpuSignal::nmi, 0);
  });
  out = g.go(s);
  device.join();
  EXPECT_EQ(out.gpr[R12], 1u);
  EXPECT_FALSE(out.events.nmi_blocked);
  // Blocked: stays pending until IRET.
  s.events.nmi_blocked = true, s.events.nmi_pending = true;
  s.gpr[R12] = 1;
  out = g.go(s);
  EXPECT_EQ(out.gpr[R12], 1u);
  EXPECT_TRUE(out.events.nmi_pending);
}

TEST_F(Events, InitAndStartUp) {
  g.code(spin_blocks);
  g.code(sipi_code, 0x5a000);
  std::thread other([&] {
    std::this_thread::sleep_for(microseconds(300));
    g.vcpu().signal(VcpuSignal::init, 0);
    std::this_thread::sleep_for(microseconds(300));
    g.vcpu().signal(VcpuSignal::sipi, 0x5a);
  });
  apic.apic_base = 0xfee00800;  // not the boot processor, which would start at the reset vector
  s.apic_base = 0xfee00800;
  out = g.go(s);
  other.join();
  EXPECT_EQ(out.gpr[RAX] & 0xffff, 0x1234u);
  EXPECT_EQ(out.gpr[RBX] & 0xffff, 0x5a00u);
  EXPECT_EQ(out.cr0 & 0x80000001, 0u);
  EXPECT_EQ(out.seg[CS].base, 0x5a000u);
}

TEST_F(Events, KicksEndEveryLoop) {
  g.code(skip_ud, 0x29000);
  for (const testing::GuestCode& code : {spin_self, spin_blocks, spin_rep, spin_calls, spin_loop, spin_mov_ss, spin_fault}) {
    g.code(code);
    g.gate(6, 0x29000);
    s.gpr[RSI] = 0x100000;
    for (int i = 0; i < 20; ++i) {
      std::thread kicker([&] {
        std::this_thread::sleep_for(microseconds(20 * i));
        g.vcpu().kick();
      });
      out = g.go(s);
      kicker.join();
      EXPECT_EQ(g.last_exit.reason, ExitReason::kicked);
      EXPECT_EQ(g.vector, -1);
    }
  }
}

TEST_F(Events, InterruptsReachEveryLoop) {
  for (const testing::GuestCode& code : {spin_self, spin_blocks, spin_rep, spin_calls, spin_loop, spin_mov_ss}) {
    g.code(code);
    s.gpr[RSI] = 0x10000;
    s.rflags |= 0x200;
    std::thread device([&] {
      for (int i = 0; i < 50; ++i) {
        apic.vector = 0x40;
        g.vcpu().signal(VcpuSignal::interrupt, 0);
        while (apic.vector.load() >= 0) std::this_thread::yield();
      }
      g.vcpu().kick();
    });
    out = g.go(s);
    device.join();
    while (out.gpr[R15] < log_at + 50 * 16) go_on();  // kicked before the last one was handled
    EXPECT_EQ(out.gpr[R15], log_at + 50 * 16);
  }
}

class Checksum : public SystemGuest {
 public:
  using SystemGuest::SystemGuest;
  void port_read(u16, std::span<u8> data) override { std::memset(data.data(), 0x5a, data.size()); }
};

TEST(Kicks, DoNotChangeResults) {
  for (const bool precise : {false, true}) {
    OneVectorApic apic;
    Checksum g({.precise_flags = precise}, &apic);
    g.code(checksum);
    g.code(irq_handler, handler_at);
    g.gate(0x40, handler_at);
    auto s = SystemGuest::kernel();
    s.rflags |= 0x200;
    s.xsave[512] = 3;
    s.gpr[R15] = log_at;
    const auto clean = [&] { std::memset(g.ram() + 0x300000, 0x11, 0x4000); };
    clean();
    const auto expected = g.go(s);
    ASSERT_EQ(g.vector, -1);
    std::mt19937 rng(7);
    unsigned kicks = 0, restored = 0;
    for (int round = 0; round < 12; ++round) {
      clean();
      std::atomic<bool> over{false};
      std::thread kicker([&, seed = rng()] {
        std::mt19937 r(seed);
        while (!over) {
          const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(500 + r() % 20000);
          while (std::chrono::steady_clock::now() < until) {
          }
          if (r() % 3 == 0) {
            int none = -1;
            apic.vector.compare_exchange_strong(none, 0x40);
            g.vcpu().signal(VcpuSignal::interrupt, 0);
          } else {
            g.vcpu().kick();
          }
        }
      });
      ASSERT_TRUE(g.vcpu().set_state(s));
      CpuState now;
      for (;;) {
        ASSERT_EQ(g.vcpu().run().reason, ExitReason::kicked);
        now = *g.vcpu().state();
        ++kicks;
        if (now.rip == expected.rip && now.seg[CS].selector == SystemGuest::code64) break;
        now.gpr[R15] = log_at;  // the handler's log needs no end
        if (rng() % 2) {
          ++restored;
          ASSERT_TRUE(g.vcpu().set_state(now));
        }
      }
      over = true;
      kicker.join();
      EXPECT_EQ(now.gpr[RAX], expected.gpr[RAX]);
      EXPECT_EQ(now.gpr[RDX], expected.gpr[RDX]);
      EXPECT_EQ(now.gpr[R10], expected.gpr[R10]);
      EXPECT_EQ(now.gpr[RSP], expected.gpr[RSP]);
      apic.vector = -1;
    }
    EXPECT_GT(kicks, 24u);
    EXPECT_GT(restored, 6u);
  }
}

}  // namespace
}  // namespace nagaya::engine::soft
