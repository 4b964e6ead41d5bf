// What a guest cannot ask for itself: kicks, state in every condition, dirty pages, read-only memory, on every engine.
#include <gtest/gtest.h>

#include <thread>

#include "cases.hpp"
#include "host/fd.hpp"
#include "start_state.hpp"

namespace nagaya::conformance {
namespace {

using std::chrono::microseconds;
using namespace std::chrono_literals;

class Engine : public testing::TestWithParam<std::string> {
 protected:
  void make(std::initializer_list<u8> code, Mode mode = Mode::long64) {
    auto world = make_world();
    ASSERT_TRUE(world) << world.error().message();
    world_ = *world;
    if (before_create_) before_create_(*world_->ram);
    auto guest = Guest::create(GetParam(), world_);
    ASSERT_TRUE(guest) << guest.error().message();
    guest_ = std::move(*guest);
    ASSERT_TRUE(prepare_memory(*world_->ram, mode));
    load(code);
    ASSERT_TRUE(guest_->set_state(start_state(mode)));
  }
  void load(std::initializer_list<u8> code) {
    ASSERT_TRUE(world_->ram->write(Gpa(image_at), std::span(code.begin(), code.size())));
  }
  x86::CpuState state() {
    auto state = guest_->state();
    EXPECT_TRUE(state) << state.error().message();
    return state.value_or(x86::CpuState{});
  }
  void set(const x86::CpuState& state) {
    auto done = guest_->set_state(state);
    ASSERT_TRUE(done) << done.error().message();
  }
  // A gate for `vector` to code that reports it (byte) and finishes.
  void gate(u8 vector, u64 handler) {
    const u64 low = (handler & 0xffff) | u64{8} << 16 | u64{0x8e00} << 32 | (handler >> 16) << 48;
    ASSERT_TRUE(world_->ram->write_value<u64>(Gpa(0x4000 + vector * 16), low));
    const u8 code[] = {0xb0, vector, 0xe6, 0xe0,
                       0xe6, 0xe1,   0xeb, 0xfe};  // mov al, vector; out e0h, al; out e1h, al; jmp $
    ASSERT_TRUE(world_->ram->write(Gpa(handler), code));
  }

  std::function<void(memory::GuestMemory&)> before_create_;
  std::shared_ptr<World> world_;
  std::unique_ptr<Guest> guest_;
};

TEST_P(Engine, KickEndsALoopThatNeverDoes) {
  make({0xeb, 0xfe});  // jmp $
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(guest_->run(500us), End::paused) << guest_->detail();
    EXPECT_EQ(state().rip, image_at);
  }
}

TEST_P(Engine, KickEndsHltThatNothingWakes) {
  make({0xfa, 0xf4, 0xeb, 0xfd});  // cli; hlt; jmp hlt
  ASSERT_EQ(guest_->run(20ms), End::paused);
  EXPECT_EQ(state().run_state, x86::RunState::halted);
  EXPECT_EQ(state().rip, image_at + 2);
  ASSERT_EQ(guest_->run(5ms), End::paused);  // still
  EXPECT_EQ(state().run_state, x86::RunState::halted);
}

TEST_P(Engine, KickBeforeRunIsNotLost) {
  make({0xeb, 0xfe});
  guest_->vcpu().kick();
  // run() comes back at once and is entered again by the thread: the guest still runs and stops in good order.
  ASSERT_EQ(guest_->run(2ms), End::paused);
}

TEST_P(Engine, KicksFromManyThreadsChangeNothing) {
  make({0xb9, 0x00, 0x20, 0x00, 0x00,  // mov ecx, 2000h
        0x48, 0xff, 0xc0,              // inc rax
        0xff, 0xc9, 0x75, 0xf9,        // dec ecx; jnz
        0xe7, 0xe0,                    // out e0h, eax
        0xe6, 0xe1, 0xeb, 0xfe});
  std::atomic<bool> stop = false;
  std::vector<std::jthread> kickers;
  for (int i = 0; i < 2; ++i) {
    kickers.emplace_back([&] {
      while (!stop) {
        guest_->vcpu().kick();
        std::this_thread::sleep_for(100us);
      }
    });
  }
  const End end = guest_->run();
  stop = true;
  EXPECT_EQ(end, End::finished) << guest_->detail();
  EXPECT_EQ(guest_->log().front(), "r 2000");
}

TEST_P(Engine, StateComesBackAsItWasSet) {
  make({0xeb, 0xfe});
  x86::CpuState in = start_state(Mode::long64);
  for (unsigned i = 0; i < 16; ++i) in.gpr[i] = 0x0101010101010101 * (i + 1);
  in.rflags = 0x46;
  in.cr2 = 0xffff800000001234;
  in.dr[2] = 0x7000;
  in.msr.lstar = 0xffffffff81000000;
  in.msr.star = 0x0023001000000000;
  in.msr.kernel_gs_base = 0xffff888000000000;
  in.msr.sysenter_eip = 0xffffffff82000000;
  in.msr.pat = 0x0007040600070406;
  in.seg[x86::FS].base = 0x7f0012345000;
  in.seg[x86::GS].base = 0xffff88800c000000;
  for (std::size_t i = 160; i < 416; ++i) in.xsave[i] = static_cast<u8>(i * 3);  // XMM0..15
  set(in);
  const x86::CpuState out = state();
  EXPECT_EQ(out.gpr, in.gpr);
  EXPECT_EQ(out.rip, in.rip);
  EXPECT_EQ(out.rflags, in.rflags);
  EXPECT_EQ(out.cr2, in.cr2);
  EXPECT_EQ(out.cr3, in.cr3);
  EXPECT_EQ(out.dr, in.dr);
  EXPECT_EQ(out.msr.lstar, in.msr.lstar);
  EXPECT_EQ(out.msr.star, in.msr.star);
  EXPECT_EQ(out.msr.kernel_gs_base, in.msr.kernel_gs_base);
  EXPECT_EQ(out.msr.sysenter_eip, in.msr.sysenter_eip);
  EXPECT_EQ(out.msr.efer, in.msr.efer);
  EXPECT_EQ(out.seg[x86::FS].base, in.seg[x86::FS].base);
  EXPECT_EQ(out.seg[x86::GS].base, in.seg[x86::GS].base);
  EXPECT_EQ(out.seg[x86::CS], in.seg[x86::CS]);
  EXPECT_TRUE(std::equal(in.xsave.begin() + 160, in.xsave.begin() + 416, out.xsave.begin() + 160));
}

TEST_P(Engine, PendingExceptionIsDeliveredFirst) {
  make({0xb0, 0x99, 0xe6, 0xe0, 0xe6, 0xe1});
  gate(6, 0x9000);
  x86::CpuState s = start_state(Mode::long64);
  s.events.exception_pending = true;
  s.events.vector = 6;
  set(s);
  EXPECT_EQ(guest_->run(), End::finished) << guest_->detail();
  EXPECT_EQ(guest_->log().front(), "r 6");
}

TEST_P(Engine, PendingNmiIsDeliveredOnceNmisAreNotBlocked) {
  make({0xb0, 0x99, 0xe6, 0xe0, 0xe6, 0xe1, 0xeb, 0xfe});
  gate(2, 0x9000);
  x86::CpuState s = start_state(Mode::long64);
  s.events.nmi_pending = true;
  s.events.nmi_blocked = true;
  set(s);
  EXPECT_EQ(guest_->run(), End::finished) << guest_->detail();
  EXPECT_EQ(guest_->log().front(), "r 99");
  world_->finished = false;
  s.events.nmi_blocked = false;
  set(s);
  EXPECT_EQ(guest_->run(), End::finished) << guest_->detail();
  EXPECT_EQ(guest_->log().at(2), "r 2");
}

TEST_P(Engine, HaltedStateStaysHaltedUntilAnNmi) {
  make({0xb0, 0x99, 0xe6, 0xe0, 0xe6, 0xe1, 0xeb, 0xfe});
  gate(2, 0x9000);
  x86::CpuState s = start_state(Mode::long64);
  s.run_state = x86::RunState::halted;
  set(s);
  ASSERT_EQ(guest_->run(5ms), End::paused);
  EXPECT_TRUE(guest_->log().empty());
  guest_->vcpu().signal(engine::VcpuSignal::nmi);
  EXPECT_EQ(guest_->run(), End::finished) << guest_->detail();
  EXPECT_EQ(guest_->log().front(), "r 2");
}

TEST_P(Engine, InitAndStartUpReachAHaltedProcessor) {
  make({0xfa, 0xf4, 0xeb, 0xfd});
  ASSERT_EQ(guest_->run(5ms), End::paused);
  // The boot processor starts at the reset vector after INIT; as one without the flag it waits for its start-up
  // message.
  x86::CpuState s = state();
  s.apic_base &= ~u64{0x100};
  set(s);
  guest_->vcpu().signal(engine::VcpuSignal::init);
  ASSERT_EQ(guest_->run(5ms), End::paused);
  EXPECT_EQ(state().run_state, x86::RunState::wait_for_sipi);
  const u8 code[] = {0xb0, 0x16, 0xe6, 0xe0, 0xe6, 0xe1, 0xeb, 0xfe};
  ASSERT_TRUE(world_->ram->write(Gpa(0x60000), code));
  guest_->vcpu().signal(engine::VcpuSignal::sipi, 0x60);
  EXPECT_EQ(guest_->run(), End::finished) << guest_->detail();
  EXPECT_EQ(guest_->log().front(), "r 16");
}

TEST_P(Engine, DirtyPagesAreToldOnce) {
  make({0x88, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00,        // mov [200000h], al
        0x48, 0x89, 0x04, 0x25, 0xfc, 0x0f, 0x30, 0x00,  // mov [300ffch], rax: two pages
        0x8a, 0x04, 0x25, 0x00, 0x00, 0x40, 0x00,        // mov al, [400000h]: read only
        0xe6, 0xe1, 0xeb, 0xfe});
  ASSERT_TRUE(guest_->engine().set_dirty_log(true));
  ASSERT_EQ(guest_->run(), End::finished) << guest_->detail();
  auto pages = guest_->engine().take_dirty();
  ASSERT_TRUE(pages) << pages.error().message();
  std::erase_if(*pages, [](Gpa at) { return at.value < 0x100000; });  // page tables and stack
  EXPECT_EQ(*pages, (std::vector{Gpa(0x200000), Gpa(0x300000), Gpa(0x301000)}));
  pages = guest_->engine().take_dirty();
  ASSERT_TRUE(pages);
  EXPECT_TRUE(pages->empty());
  // Again after it was told, and what a device writes.
  world_->finished = false;
  set(start_state(Mode::long64));
  ASSERT_EQ(guest_->run(), End::finished);
  ASSERT_TRUE(world_->ram->write_value<u32>(Gpa(0x500000), 1));
  pages = guest_->engine().take_dirty();
  ASSERT_TRUE(pages);
  std::erase_if(*pages, [](Gpa at) { return at.value < 0x100000; });
  EXPECT_EQ(*pages, (std::vector{Gpa(0x200000), Gpa(0x300000), Gpa(0x301000), Gpa(0x500000)}));
  ASSERT_TRUE(guest_->engine().set_dirty_log(false));
}

TEST_P(Engine, RomIsReadAndExecutedButNotWritten) {
  const u8 rom[] = {0xb0, 0x42, 0xc3};  // mov al, 42h; ret
  before_create_ = [&](memory::GuestMemory& ram) { ASSERT_TRUE(ram.add_rom(Gpa(mmio_at + 0x8000), rom)); };
  make({0xbb, 0x00, 0x80, 0x00, 0xd0,  // mov ebx, d0008000h
        0xff, 0xd3,                    // call rbx
        0xe6, 0xe0,                    // out e0h, al
        0xc6, 0x43, 0x01, 0x77,        // mov byte [rbx + 1], 77h
        0x8a, 0x43, 0x01,              // mov al, [rbx + 1]
        0xe6, 0xe0, 0xe6, 0xe1, 0xeb, 0xfe});
  EXPECT_EQ(guest_->run(), End::finished) << guest_->detail();
  EXPECT_EQ(guest_->log(), (std::vector<std::string>{"r 42", "store8 d0008001 77", "r 42", "end 42"}));
}

TEST_P(Engine, DeviceWriteToCodeIsSeen) {
  make({0xb0, 0x11, 0xe6, 0xe0, 0xe6, 0xe1, 0xeb, 0xfe});
  ASSERT_EQ(guest_->run(), End::finished);
  world_->finished = false;
  ASSERT_TRUE(world_->ram->write_value<u8>(Gpa(image_at + 1), 0x22));
  set(start_state(Mode::long64));
  ASSERT_EQ(guest_->run(), End::finished);
  EXPECT_EQ(guest_->log(), (std::vector<std::string>{"r 11", "end 11", "r 22", "end 22"}));
}

TEST_P(Engine, MemoryMapCanChangeBetweenRuns) {
  make({0x8a, 0x04, 0x25, 0x00, 0x00, 0x60, 0x00, 0xe6, 0xe0, 0xe6, 0xe1, 0xeb, 0xfe});  // mov al, [600000h]
  ASSERT_TRUE(world_->ram->write_value<u8>(Gpa(0x600000), 0x11));
  ASSERT_TRUE(world_->ram->write_value<u8>(Gpa(0x700000), 0x22));
  ASSERT_EQ(guest_->run(), End::finished);
  const Hva base = world_->ram->host(Gpa(0), 16 * MiB);
  const engine::MemoryRegion map[] = {{Gpa(0), 6 * MiB, base, false}, {Gpa(6 * MiB), 1 * MiB, base + 7 * MiB, false}};
  ASSERT_TRUE(guest_->engine().set_memory(map));
  world_->finished = false;
  set(start_state(Mode::long64));
  ASSERT_EQ(guest_->run(), End::finished) << guest_->detail();
  EXPECT_EQ(guest_->log(), (std::vector<std::string>{"r 11", "end 11", "r 22", "end 22"}));
}

TEST_P(Engine, BadMemoryMapsAreErrors) {
  make({0xeb, 0xfe});
  const Hva base = world_->ram->host(Gpa(0), 16 * MiB);
  const engine::MemoryRegion unaligned{Gpa(0x800), 4096, base, false};
  EXPECT_FALSE(guest_->engine().set_memory(std::span(&unaligned, 1)));
  const engine::MemoryRegion overlapping[] = {{Gpa(0), 8192, base, false}, {Gpa(4096), 4096, base, false}};
  EXPECT_FALSE(guest_->engine().set_memory(overlapping));
}

TEST_P(Engine, EventfdsAreSignalledWhereOffered) {
  make({0x66, 0xba, 0x60, 0x05, 0x66, 0xb8, 0x07, 0x00, 0x66, 0xef,  // mov dx, 560h; mov ax, 7; out dx, ax
        0xe6, 0xe1, 0xeb, 0xfe});
  if (!guest_->engine().capabilities().eventfds) GTEST_SKIP() << "the machine dispatches them itself";
  const host::Fd event = *host::Fd::eventfd();
  const engine::IoEvent wanted{.port = true, .address = 0x560, .size = 2, .eventfd = event.get()};
  ASSERT_TRUE(guest_->engine().add_io_event(wanted));
  ASSERT_EQ(guest_->run(), End::finished) << guest_->detail();
  EXPECT_EQ(host::drain_eventfd(event.get()), 1u);
  EXPECT_EQ(guest_->log().size(), 1u);  // the recorder saw nothing
}

TEST_P(Engine, VirtualClockIsKept) {
  make({0xeb, 0xfe});
  ASSERT_TRUE(guest_->engine().set_clock_ns(5'000'000'000));
  ASSERT_EQ(guest_->run(2ms), End::paused);
  const auto now = guest_->engine().clock_ns();
  ASSERT_TRUE(now);
  EXPECT_GE(*now, 5'000'000'000u);
}

INSTANTIATE_TEST_SUITE_P(Every, Engine, testing::ValuesIn(engines()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace nagaya::conformance
