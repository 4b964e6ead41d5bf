// AAA, AAS, AAM, AAD, DAA, DAS against the real CPU, which executes them in compatibility mode.
#include <cpuid.h>
#include <sys/mman.h>

#include "engine/soft/exec_env_test.hpp"

namespace nagaya::engine::soft {
namespace {

/// Runs one instruction in the host's 32-bit user code segment. All of it lives below 4 GiB.
class CompatHost {
 public:
  CompatHost() {
    u32 rights = 0;
    bool valid = false;
    asm("lar %2, %0\n\tsetz %1" : "=r"(rights), "=q"(valid) : "r"(u32{0x23}) : "cc");
    if (!valid || !(rights >> 22 & 1)) return;
    void* at = mmap(nullptr, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (at != MAP_FAILED) page_ = static_cast<u8*>(at);
  }
  ~CompatHost() {
    if (page_) munmap(page_, 8192);
  }
  CompatHost(const CompatHost&) = delete;
  CompatHost& operator=(const CompatHost&) = delete;
  [[nodiscard]] bool usable() const { return page_ != nullptr; }

  void run(std::initializer_list<int> instruction, u32& eax, u32& flags) {
    const auto base = static_cast<u32>(reinterpret_cast<u64>(page_));
    const u32 data = base + 0x800;
    std::vector<u8> code;
    const auto emit = [&](std::initializer_list<int> bytes) {
      for (const int byte : bytes) code.push_back(static_cast<u8>(byte));
    };
    const auto emit32 = [&](u32 value) {
      for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<u8>(value >> (8 * i)));
    };
    // 64-bit part: keep RBX and RSP, go to the low stack, far return into the 32-bit segment.
    emit({0x53, 0x48, 0x89, 0x24, 0x25}), emit32(data + 16);
    emit({0xbc}), emit32(base + 8192);
    emit({0xbb}), emit32(data);
    emit({0x6a, 0x23, 0x68});
    const std::size_t entry = code.size();
    emit32(0);
    emit({0x48, 0xcb});
    const u32 start32 = base + static_cast<u32>(code.size());
    std::memcpy(code.data() + entry, &start32, 4);
    // 32-bit part; through SS, since DS is null in 64-bit processes.
    emit({0x36, 0xff, 0x73, 0x04, 0x9d, 0x36, 0x8b, 0x03});
    emit(instruction);
    emit({0x9c, 0x36, 0x8f, 0x43, 0x04, 0x36, 0x89, 0x03, 0xea});
    emit32(base + static_cast<u32>(code.size()) + 6);
    emit({0x33, 0x00});
    // Back in 64-bit code.
    emit({0x48, 0x8b, 0x24, 0x25}), emit32(data + 16);
    emit({0x5b, 0xc3});
    std::memcpy(page_, code.data(), code.size());
    std::memcpy(page_ + 0x800, &eax, 4);
    std::memcpy(page_ + 0x804, &flags, 4);
    u8* entry64 = page_;
    asm volatile("lea -128(%%rsp), %%rsp\n\tcall *%0\n\tlea 128(%%rsp), %%rsp"
                 : "+r"(entry64)::"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
    std::memcpy(&eax, page_ + 0x800, 4);
    std::memcpy(&flags, page_ + 0x804, 4);
  }

 private:
  u8* page_ = nullptr;
};

class DecimalTest : public ExecEnv {
 protected:
  DecimalTest() { mode(32); }
  /// All AX of interest and all of CF, AF. The flags that manuals leave undefined only where the host is AMD's.
  void compare(std::initializer_list<int> instruction, u64 defined) {
    if (!host.usable()) GTEST_SKIP() << "no 32-bit code segment on this host";
    unsigned a, b, c, d;
    __cpuid(0, a, b, c, d);
    constexpr unsigned amd = 0x68747541;  // "Auth"
    const u64 compared = b == amd ? 0x8d5 : defined;
    for (u32 ax = 0; ax < 0x10000; ax += ax < 0x100 ? 1 : 37) {
      for (u32 carries = 0; carries < 4; ++carries) {
        const u32 flags_in = (carries & 1) | (carries & 2) << 3 | 0x202;
        u32 eax = ax | 0xabcd0000, flags = flags_in;
        host.run(instruction, eax, flags);
        cpu.s.rip = rip0;
        cpu.s.rflags = flags_in;
        reg(x86::RAX) = ax | 0xabcd0000;
        ASSERT_TRUE(run(instruction));
        ASSERT_EQ(reg(x86::RAX), eax) << "AX " << ax << " flags " << flags_in;
        ASSERT_EQ(cpu.s.rflags & compared, flags & compared) << "AX " << ax << " flags " << flags_in;
      }
    }
  }
  CompatHost host;
};

TEST_F(DecimalTest, Daa) { compare({0x27}, 0xd5); }
TEST_F(DecimalTest, Das) { compare({0x2f}, 0xd5); }
TEST_F(DecimalTest, Aaa) { compare({0x37}, 0x11); }
TEST_F(DecimalTest, Aas) { compare({0x3f}, 0x11); }
TEST_F(DecimalTest, Aam) { compare({0xd4, 10}, 0xc4), compare({0xd4, 7}, 0xc4); }
TEST_F(DecimalTest, Aad) { compare({0xd5, 10}, 0xc4), compare({0xd5, 200}, 0xc4); }

TEST_F(DecimalTest, AamByZeroDivides) {
  EXPECT_FALSE(run({0xd4, 0}));
  expect_fault(vec_de);
}

}  // namespace
}  // namespace nagaya::engine::soft
