// What tests of self-modifying code share: two processors, one that writes code and one that runs it.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "engine/soft/system_guest_test_util.hpp"

#define EXIT "out %al, $0xf4\n"

/// Waits for its turn and calls; what the call returns in EAX must be the number of the turn, else R8D counts. RDI: {turn, done},
/// RCX: rounds.
#define SMC_CALLER(call)                                                                                               \
  "xor %ebx, %ebx\n xor %r8d, %r8d\n 2: inc %ebx\n 3: " call "\n cmp %ebx, (%rdi)\n jne 3b\n " call                      \
  "\n cmp %ebx, %eax\n je 4f\n inc %r8d\n 4: mov %ebx, 8(%rdi)\n cmp %ecx, %ebx\n jne 2b\n" EXIT
/// Writes numbers into the immediate at RSI + 1, so many (a string) each turn, the turn's last.
#define SMC_WRITER(stores)                                                                                             \
  "xor %ebx, %ebx\n 2: inc %ebx\n mov $" stores ", %edx\n 3: mov %edx, 1(%rsi)\n dec %edx\n jnz 3b\n"                    \
  "mov %ebx, 1(%rsi)\n mov %ebx, (%rdi)\n 4: cmp %ebx, 8(%rdi)\n jne 4b\n cmp %ecx, %ebx\n jne 2b\n" EXIT

namespace nagaya::engine::soft::testing {

/// A second processor's devices: a port that ends it.
class Quiet : public IoHandler {
 public:
  Vcpu* vcpu = nullptr;
  void port_read(u16, std::span<u8> data) override { std::memset(data.data(), 0xff, data.size()); }
  void port_write(u16 port, std::span<const u8>) override {
    if (port == 0xf4) vcpu->kick();
  }
  void mmio_read(Gpa, std::span<u8> data) override { std::memset(data.data(), 0, data.size()); }
  void mmio_write(Gpa, std::span<const u8>) override {}
};

/// Runs `caller` on the guest's processor and `writer` on a second one, both to their ends; the caller must have seen what it should.
inline void run_both(SystemGuest& guest, const x86::CpuState& caller, const x86::CpuState& writer) {
  Quiet io;
  auto second = guest.engine().create_vcpu(1, io, nullptr, guest.cpuid());
  ASSERT_TRUE(second);
  io.vcpu = second->get();
  std::thread other([&] {
    EXPECT_TRUE((*second)->set_state(writer));
    EXPECT_EQ((*second)->run().reason, ExitReason::kicked);
  });
  const auto out = guest.go(caller);
  other.join();
  EXPECT_EQ(out.gpr[x86::RBX], caller.gpr[x86::RCX]);
  EXPECT_EQ(out.gpr[x86::R8], 0u);
}

}  // namespace nagaya::engine::soft::testing
