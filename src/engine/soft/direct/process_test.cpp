#include "engine/soft/direct/process.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <vector>

namespace nagaya::engine::soft::direct {
namespace {

constexpr u64 code_at = 0x10'0000'0000, data_at = 0x10'0010'0000;

class ProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    file_ = host::Fd(::memfd_create("memory", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file_.get(), 16 * 4096), 0);
    memory_ = static_cast<u8*>(::mmap(nullptr, 16 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0));
    const int files[] = {file_.get()};
    auto made = Process::create(files);
    if (!made) GTEST_SKIP() << made.error().message();
    process_ = std::move(*made);
    const MapCall calls[] = {MapCall::map(code_at, 4096, PROT_READ | PROT_EXEC, file_.get(), 0, true),
                             MapCall::map(data_at, 4096, PROT_READ | PROT_WRITE, file_.get(), 4096, false)};
    const auto changed = process_->change(calls);
    ASSERT_TRUE(changed) << changed.error().message();
  }
  void TearDown() override {
    if (memory_) ::munmap(memory_, 16 * 4096);
  }
  void code(std::initializer_list<u8> bytes) { std::copy(bytes.begin(), bytes.end(), memory_); }
  StopInfo run(u64 rax = 0, u64 rbx = 0) {
    user_regs_struct r{};
    EXPECT_TRUE(process_->get(r));
    r.rip = code_at, r.rax = rax, r.rbx = rbx, r.orig_rax = ~0ull, r.rsp = data_at + 2048;
    r.cs = 0x33, r.ss = 0x2b;
    EXPECT_TRUE(process_->set(r));
    return process_->resume();
  }
  user_regs_struct registers() {
    user_regs_struct r{};
    EXPECT_TRUE(process_->get(r));
    return r;
  }

  host::Fd file_;
  u8* memory_ = nullptr;
  std::unique_ptr<Process> process_;
};

TEST_F(ProcessTest, RunsUntilASystemCallThatIsNotMade) {
  code({0x48, 0xff, 0xc3, 0x0f, 0x05});  // inc rbx; syscall
  const StopInfo stop = run(SYS_exit_group, 41);
  EXPECT_EQ(stop.stop, Stop::syscall);
  EXPECT_EQ(registers().rbx, 42u);
  EXPECT_EQ(registers().orig_rax, static_cast<u64>(SYS_exit_group));
  EXPECT_EQ(registers().rip, code_at + 5);
}

TEST_F(ProcessTest, FaultsTellWhere) {
  code({0x88, 0x03, 0xeb, 0xfe});  // mov [rbx], al; jmp .
  StopInfo stop = run(7, data_at + 4096 + 5);
  EXPECT_EQ(stop.stop, Stop::fault);
  EXPECT_EQ(stop.address, data_at + 4096 + 5);
  EXPECT_EQ(registers().rip, code_at);
  stop = run(7, code_at + 9);  // read-only
  EXPECT_EQ(stop.stop, Stop::fault);
  EXPECT_EQ(stop.address, code_at + 9);
  stop = run(7, 0x8000'0000'0000'0000);  // not canonical: the host does not tell where
  EXPECT_EQ(stop.stop, Stop::other);
  code({0x88, 0x03, 0xcc});
  stop = run(7, data_at + 5);
  EXPECT_EQ(stop.stop, Stop::breakpoint);
  EXPECT_EQ(memory_[4096 + 5], 7);
}

TEST_F(ProcessTest, TimeAndUndefinedInstructionsStop) {
  code({0x0f, 0x31, 0xcc});  // rdtsc
  EXPECT_EQ(run().stop, Stop::other);
  EXPECT_EQ(registers().rip, code_at);
  code({0x0f, 0x0b});
  EXPECT_EQ(run().stop, Stop::other);
  code({0xf4});  // hlt
  EXPECT_EQ(run().stop, Stop::other);
}

TEST_F(ProcessTest, NothingOfThisProcessIsThere) {
  code({0x8a, 0x03, 0xcc});  // mov al, [rbx]
  static int here;
  const u64 places[] = {reinterpret_cast<u64>(&here), reinterpret_cast<u64>(&places), reinterpret_cast<u64>(memory_),
                        reinterpret_cast<u64>(&::getpid), 0x7fff'ffff'e000};
  for (const u64 place : places) {
    const StopInfo stop = run(0, place);
    EXPECT_EQ(stop.stop, Stop::fault) << std::hex << place;
    EXPECT_EQ(stop.address, place);
  }
}

TEST_F(ProcessTest, ItsOwnCodeMakesNoCallForAProgram) {
  // What is there changes the address space for us. Whoever jumps to it stops before the call.
  code({0xff, 0xe3});  // jmp rbx
  user_regs_struct r{};
  ASSERT_TRUE(process_->get(r));
  r.rip = code_at, r.rbx = process_->own_page() + 27, r.rax = SYS_munmap, r.rdi = code_at, r.rsi = 4096, r.orig_rax = ~0ull, r.cs = 0x33, r.ss = 0x2b;
  ASSERT_TRUE(process_->set(r));
  EXPECT_EQ(process_->resume().stop, Stop::syscall);
  code({0x90, 0xcc});
  EXPECT_EQ(run().stop, Stop::breakpoint) << "its memory is still there";
}

TEST_F(ProcessTest, IsInterrupted) {
  code({0x48, 0xff, 0xc3, 0xeb, 0xfb});  // inc rbx; jmp -5
  std::thread other([&] {
    ::usleep(20'000);
    process_->interrupt();
  });
  EXPECT_EQ(run().stop, Stop::interrupted);
  other.join();
  EXPECT_GT(registers().rbx, 1000u);
  process_->interrupt();  // before it runs: it does not run long
  EXPECT_EQ(process_->resume().stop, Stop::interrupted);
}

TEST_F(ProcessTest, VectorsGoToAndFro) {
  std::vector<u8> image(process_->vector_size());
  ASSERT_TRUE(process_->get_vectors(image));
  u64 used = 0;
  std::memcpy(&used, &image[512], 8);
  used |= 3;
  std::memcpy(&image[512], &used, 8);
  for (unsigned i = 0; i < 16; ++i) image[160 + i] = static_cast<u8>(i + 1);
  ASSERT_TRUE(process_->set_vectors(image));
  code({0x66, 0x0f, 0xd4, 0xc0, 0xcc});  // paddq xmm0, xmm0
  ASSERT_EQ(run().stop, Stop::breakpoint);
  ASSERT_TRUE(process_->get_vectors(image));
  u64 low = 0;
  std::memcpy(&low, &image[160], 8);
  EXPECT_EQ(low, 2 * 0x0807060504030201u);
}

TEST_F(ProcessTest, ManyCallsAndOneThatFails) {
  std::vector<MapCall> calls;
  for (u64 i = 0; i < 300; ++i) calls.push_back(MapCall::map(data_at + 8192 * (i + 1), 4096, PROT_READ, file_.get(), (i % 16) * 4096, false));
  EXPECT_TRUE(process_->change(calls));
  code({0x8a, 0x03, 0xcc});
  memory_[11 * 4096] = 99;
  EXPECT_EQ(run(0, data_at + 8192 * 12).stop, Stop::breakpoint);
  EXPECT_EQ(registers().rax & 0xff, 99u);
  const MapCall wrong[] = {MapCall::map(data_at + 1, 4096, PROT_READ, file_.get(), 0, false)};
  EXPECT_FALSE(process_->change(wrong));
  EXPECT_EQ(run(0, data_at).stop, Stop::breakpoint) << "it goes on";
}

}  // namespace
}  // namespace nagaya::engine::soft::direct
