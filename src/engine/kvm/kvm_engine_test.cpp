// The engine on the host's own /dev/kvm: what the conformance suite, which knows no KVM, cannot ask.
#include "engine/kvm/kvm_engine.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <thread>

#include "engine/kvm/probe_kvm.hpp"
#include "host/fd.hpp"
#include "host/mapping.hpp"

namespace nagaya::engine::kvm {
namespace {

struct NoDevices : IoHandler {
  std::vector<std::pair<u16, u64>> writes;
  void port_read(u16, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void port_write(u16 port, std::span<const u8> data) override {
    u64 value = 0;
    std::memcpy(&value, data.data(), data.size());
    writes.emplace_back(port, value);
    if (on_write) on_write();
  }
  void mmio_read(Gpa, std::span<u8> data) override { std::ranges::fill(data, u8{0xff}); }
  void mmio_write(Gpa, std::span<const u8>) override {}
  std::function<void()> on_write;
};

class KvmEngineTest : public testing::Test {
 protected:
  void SetUp() override {
    static const ProbeResult probed = probe_kvm();
    if (!probed.usable()) GTEST_SKIP() << probed.line();
  }

  void make(const KvmOptions& options = {}) {
    auto created = create_kvm_engine(options);
    ASSERT_TRUE(created) << created.error().message();
    engine_ = std::move(*created);
    ram_ = *host::Mapping::anonymous(1 * MiB, PROT_READ | PROT_WRITE);
    const MemoryRegion region{Gpa(0), 1 * MiB, ram_.data(), false};
    auto set = engine_->set_memory(std::span(&region, 1));
    ASSERT_TRUE(set) << set.error().message();
    auto cpuid = engine_->supported_cpuid();
    ASSERT_TRUE(cpuid) << cpuid.error().message();
    cpuid_ = *cpuid;
    auto vcpu = engine_->create_vcpu(0, io_, nullptr, cpuid_);
    ASSERT_TRUE(vcpu) << vcpu.error().message();
    vcpu_ = std::move(*vcpu);
  }

  // Real mode at 0:1000h.
  void start(std::initializer_list<u8> code) {
    std::copy(code.begin(), code.end(), reinterpret_cast<u8*>(ram_.data()) + 0x1000);
    x86::CpuState state = x86::reset_state(true);
    state.seg[x86::CS].selector = 0;
    state.seg[x86::CS].base = 0;
    state.rip = 0x1000;
    auto set = vcpu_->set_state(state);
    ASSERT_TRUE(set) << set.error().message();
  }

  NoDevices io_;
  std::unique_ptr<Engine> engine_;
  host::Mapping ram_;
  std::vector<CpuidEntry> cpuid_;
  std::unique_ptr<Vcpu> vcpu_;
};

TEST_F(KvmEngineTest, ProbeEndsAndSaysSomething) {
  const ProbeResult result = probe_kvm();
  EXPECT_GT(result.mips, 0);
  EXPECT_FALSE(result.line().empty());
}

TEST(KvmProbe, AbsentDevice) {
  const ProbeResult result = probe_kvm("/nonexistent/kvm");
  EXPECT_EQ(result.verdict, ProbeVerdict::absent);
  EXPECT_FALSE(result.why.empty());
  EXPECT_FALSE(create_kvm_engine({.device = "/nonexistent/kvm"}));
}

TEST(KvmProbe, DeviceThatIsNoKvm) { EXPECT_EQ(probe_kvm("/dev/null").verdict, ProbeVerdict::refused); }

TEST_F(KvmEngineTest, InternalErrorNamesPlaceAndBytes) {
  make();
  // Jump to where neither memory nor anything else is: KVM has nothing to execute.
  start({0xea, 0x00, 0x00, 0x00, 0xd0});  // ljmp 0d000h:0 = 0d0000h … inside RAM
  const MemoryRegion region{Gpa(0), 64 * KiB, ram_.data(), false};
  ASSERT_TRUE(engine_->set_memory(std::span(&region, 1)));
  const Exit exit = vcpu_->run();
  EXPECT_EQ(exit.reason, ExitReason::internal_error);
  EXPECT_NE(exit.detail.find("d000:0"), std::string::npos) << exit.detail;
  EXPECT_NE(exit.detail.find("--engine soft"), std::string::npos) << exit.detail;
}

TEST_F(KvmEngineTest, StateSurvivesTheRoundTrip) {
  make();
  start({});
  auto first = vcpu_->state();
  ASSERT_TRUE(first) << first.error().message();
  first->gpr[x86::R13] = 0x1234567890abcdef;
  first->dr[1] = 0x5000;
  first->msr.lstar = 0xffffffff81000000;
  first->msr.kernel_gs_base = 0xffff888000000000;
  first->msr.mtrr_def_type = 0xc06;
  first->msr.pat = 0x0007010600070106;
  first->xsave[160] = 0x5a;  // XMM0
  ASSERT_TRUE(vcpu_->set_state(*first));
  auto second = vcpu_->state();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->gpr, first->gpr);
  EXPECT_EQ(second->seg, first->seg);
  EXPECT_EQ(second->dr, first->dr);
  EXPECT_EQ(second->xsave, first->xsave);
  EXPECT_GE(second->msr.tsc, first->msr.tsc);
  second->msr.tsc = first->msr.tsc;
  EXPECT_EQ(second->msr, first->msr);
}

TEST_F(KvmEngineTest, InterruptControllersSurviveTheRoundTrip) {
  make();
  IrqChip* chip = engine_->irqchip();
  auto ioapic = chip->ioapic_state();
  ASSERT_TRUE(ioapic);
  ioapic->redirtbl[5] = 0x0100000000010035;
  ASSERT_TRUE(chip->set_ioapic_state(*ioapic));
  EXPECT_EQ(chip->ioapic_state()->redirtbl, ioapic->redirtbl);
  auto pics = chip->pic_state();
  ASSERT_TRUE(pics);
  (*pics)[0].irq_base = 0x20;
  (*pics)[1].imr = 0xaa;
  ASSERT_TRUE(chip->set_pic_state(*pics));
  EXPECT_EQ(*chip->pic_state(), *pics);
  auto pit = chip->pit_state();
  ASSERT_TRUE(pit);
  pit->channel[2].mode = 2;
  pit->channel[2].count = 0x4321;
  ASSERT_TRUE(chip->set_pit_state(*pit));
  EXPECT_EQ(chip->pit_state()->channel[2].count, 0x4321u);
  auto apic = vcpu_->lapic_state();
  ASSERT_TRUE(apic);
  apic->regs[0x80] = 0x20;  // task priority
  ASSERT_TRUE(vcpu_->set_lapic_state(*apic));
  EXPECT_EQ(vcpu_->lapic_state()->regs[0x80], 0x20);
}

TEST_F(KvmEngineTest, TscOffsetIsExact) {
  make();
  start({});
  if (auto before = vcpu_->tsc_offset(); !before) GTEST_SKIP() << before.error().message();
  if (auto moved = vcpu_->set_tsc_offset(0x123456789); !moved) GTEST_SKIP() << moved.error().message();
  EXPECT_EQ(*vcpu_->tsc_offset(), 0x123456789u);
}

TEST_F(KvmEngineTest, ClockGoesOnFromWhereItWasSet) {
  make();
  ASSERT_TRUE(engine_->set_clock_ns(1'000'000'000'000));
  const auto now = engine_->clock_ns();
  ASSERT_TRUE(now);
  EXPECT_GE(*now, 1'000'000'000'000u);
}

class KvmDirty : public KvmEngineTest, public testing::WithParamInterface<bool> {};

TEST_P(KvmDirty, EveryWrittenPageIsToldOnce) {
  make({.dirty_rings = GetParam() ? DirtyRings::always : DirtyRings::never});
  if (engine_->capabilities().dirty_ring != GetParam()) GTEST_SKIP() << "this host has no dirty rings";
  ASSERT_TRUE(engine_->set_dirty_log(true));
  // mov ax,2000h; mov ds,ax; mov [0],al; mov ax,3000h; mov ds,ax; mov [1234h],al; out 80h,al; jmp $
  start({0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xa2, 0x00, 0x00, 0xb8, 0x00,
         0x30, 0x8e, 0xd8, 0xa2, 0x34, 0x12, 0xe6, 0x80, 0xeb, 0xfe});
  io_.on_write = [&] { vcpu_->kick(); };
  EXPECT_EQ(vcpu_->run().reason, ExitReason::kicked);
  engine_->memory_written(Gpa(0x50ff0), 0x20);
  auto pages = engine_->take_dirty();
  ASSERT_TRUE(pages) << pages.error().message();
  EXPECT_EQ(*pages, (std::vector{Gpa(0x20000), Gpa(0x31000), Gpa(0x50000), Gpa(0x51000)}));
  EXPECT_TRUE(engine_->take_dirty()->empty());
  ASSERT_TRUE(engine_->set_dirty_log(false));
  start({0xa2, 0x00, 0x40, 0xe6, 0x80, 0xeb, 0xfe});
  EXPECT_EQ(vcpu_->run().reason, ExitReason::kicked);
  EXPECT_TRUE(engine_->take_dirty()->empty());
}
INSTANTIATE_TEST_SUITE_P(Both, KvmDirty, testing::Bool(),
                         [](const auto& info) { return info.param ? "Ring" : "Bitmap"; });

TEST_F(KvmEngineTest, MoreDirtyPagesThanASmallRingHolds) {
  KvmOptions options;
  options.dirty_ring_entries = 1024;
  make(options);
  ram_ = *host::Mapping::anonymous(16 * MiB, PROT_READ | PROT_WRITE);
  const MemoryRegion region{Gpa(0), 16 * MiB, ram_.data(), false};
  ASSERT_TRUE(engine_->set_memory(std::span(&region, 1)));
  ASSERT_TRUE(engine_->set_dirty_log(true));
  start({});
  // 32-bit addresses need a limit beyond 64 KiB: give DS one, as "unreal mode" does.
  u8* code = reinterpret_cast<u8*>(ram_.data()) + 0x1000;
  const u8 loop[] = {0x67, 0x88, 0x03,                          // again: mov [ebx], al
                     0x66, 0x81, 0xc3, 0x00, 0x10, 0x00, 0x00,  // add ebx, 1000h
                     0x66, 0x81, 0xfb, 0x00, 0x00, 0x00, 0x01,  // cmp ebx, 16 MiB
                     0x72, 0xed,                                // jb again
                     0xe6, 0x80, 0xeb, 0xfe};                   // out 80h, al; jmp $
  std::memcpy(code, loop, sizeof loop);
  auto state = vcpu_->state();
  ASSERT_TRUE(state);
  state->seg[x86::DS].limit = 0xffffffff;
  state->seg[x86::DS].attr |= 0x8000;
  state->gpr[x86::RBX] = 0x2000;
  ASSERT_TRUE(vcpu_->set_state(*state));
  io_.on_write = [&] { vcpu_->kick(); };
  const Exit exit = vcpu_->run();
  ASSERT_EQ(exit.reason, ExitReason::kicked) << exit.detail;
  auto pages = engine_->take_dirty();
  ASSERT_TRUE(pages);
  std::vector<Gpa> all;
  for (u64 at = 0x2000; at < 16 * MiB; at += page_size) all.push_back(Gpa(at));
  EXPECT_EQ(*pages, all);
}

TEST_F(KvmEngineTest, BadMemoryMapsAreRefused) {
  make();
  const auto refused = [&](MemoryRegion region) { return !engine_->set_memory(std::span(&region, 1)).has_value(); };
  EXPECT_TRUE(refused({Gpa(0x800), 4096, ram_.data(), false}));
  EXPECT_TRUE(refused({Gpa(0), 0, ram_.data(), false}));
  EXPECT_TRUE(refused({Gpa(~u64{0xfff}), 8192, ram_.data(), false}));
  EXPECT_TRUE(refused({Gpa(0xfeffd000), 4096, ram_.data(), false}));
}

TEST_F(KvmEngineTest, IoEventsReachTheirEventfd) {
  make();
  const host::Fd event = *host::Fd::eventfd();
  const IoEvent wanted{
      .port = true, .address = 0x500, .size = 2, .has_match = true, .match = 7, .eventfd = event.get()};
  ASSERT_TRUE(engine_->add_io_event(wanted));
  // mov dx,500h; mov ax,7; out dx,ax; mov al,8; out dx,ax; jmp $
  start({0xba, 0x00, 0x05, 0xb8, 0x07, 0x00, 0xef, 0xb0, 0x08, 0xef, 0xeb, 0xfe});
  io_.on_write = [&] { vcpu_->kick(); };
  EXPECT_EQ(vcpu_->run().reason, ExitReason::kicked);
  EXPECT_EQ(host::drain_eventfd(event.get()), 1u);
  ASSERT_EQ(io_.writes.size(), 1u);
  EXPECT_EQ(io_.writes[0].second, 8u);
  EXPECT_TRUE(engine_->remove_io_event(wanted));
  EXPECT_FALSE(engine_->remove_io_event(wanted));
  EXPECT_TRUE(engine_->add_irqfd(event.get(), 5));
  EXPECT_TRUE(engine_->remove_irqfd(event.get(), 5));
  EXPECT_FALSE(engine_->add_irqfd(event.get(), 24));
}

TEST_F(KvmEngineTest, MessagesOfAnEventfdReachTheLocalApic) {
  make();
  auto apic = vcpu_->lapic_state();
  ASSERT_TRUE(apic);
  apic->regs[0xf1] |= 1;  // software enable: bit 8 of the spurious vector register
  ASSERT_TRUE(vcpu_->set_lapic_state(*apic));
  const auto waits = [&](unsigned vector) {
    auto now = vcpu_->lapic_state();
    const std::size_t at = 0x200 + vector / 32 * 0x10 + vector % 32 / 8;  // IRR
    return now && (now->regs[at] >> vector % 8 & 1) != 0;
  };
  const host::Fd first = *host::Fd::eventfd(), second = *host::Fd::eventfd();
  ASSERT_TRUE(engine_->set_msi_irqfd(first.get(), 0xfee00000, 0x41));
  ASSERT_TRUE(engine_->set_msi_irqfd(second.get(), 0xfee00000, 0x42));
  host::signal_eventfd(second.get());
  EXPECT_TRUE(waits(0x42));
  EXPECT_FALSE(waits(0x41));
  ASSERT_TRUE(engine_->set_msi_irqfd(first.get(), 0xfee00000, 0x53));  // another message
  host::signal_eventfd(first.get());
  EXPECT_TRUE(waits(0x53));
  EXPECT_FALSE(waits(0x41));
  engine_->remove_msi_irqfd(first.get());
  ASSERT_TRUE(engine_->set_msi_irqfd(second.get(), 0xfee00000, 0x64));
  host::signal_eventfd(first.get());
  host::signal_eventfd(second.get());
  EXPECT_TRUE(waits(0x64));
  // The wires still work.
  engine_->irqchip()->set_line(5, true);
  auto pic = engine_->irqchip()->pic_state();
  ASSERT_TRUE(pic);
  EXPECT_TRUE((*pic)[0].irr >> 5 & 1);
}

}  // namespace
}  // namespace nagaya::engine::kvm
