// Registers, priorities, modes and state of one local APIC.
#include "chipset/lapic.hpp"

#include <gtest/gtest.h>

#include "bus/device_contract_test_util.hpp"
#include "chipset/apic_test_util.hpp"

namespace nagaya::chipset {
namespace {

using namespace apic;
using testing::Board;
using testing::Processor;

TEST(Lapic, PowerOnState) {
  Board board(2);
  EXPECT_EQ(board[0].rdmsr(msr_apic_base), 0xfee00900u);
  EXPECT_EQ(board[1].rdmsr(msr_apic_base), 0xfee00800u);
  EXPECT_EQ(board[1].lapic->mmio_base(), Gpa(0xfee00000));
  EXPECT_EQ(board[1].read(reg_id), 1u << 24);
  EXPECT_EQ(board[0].read(reg_version) & 0xff00ff, 0x50014u);
  EXPECT_EQ(board[0].read(reg_svr), 0xffu);
  EXPECT_EQ(board[0].read(reg_dfr), 0xffffffffu);
  EXPECT_EQ(board[0].read(0x350), 0x700u) << "the boot processor hears the PICs";
  EXPECT_EQ(board[1].read(0x350), lvt_masked);
}

TEST(Lapic, PriorityDecidesWhatIsPending) {
  Board board(1);
  Processor& cpu = board[0];
  EXPECT_FALSE(cpu.lapic->accept(DeliveryMode::fixed, 0x40, false)) << "disabled by software";
  cpu.enable();
  EXPECT_TRUE(cpu.lapic->accept(DeliveryMode::fixed, 0x40, false));
  EXPECT_TRUE(cpu.lapic->interrupt_pending());
  EXPECT_EQ(cpu.wakes, 1u);
  cpu.lapic->set_cr8(4);
  EXPECT_FALSE(cpu.lapic->interrupt_pending());
  EXPECT_EQ(cpu.lapic->acknowledge_interrupt(), -1);
  EXPECT_EQ(cpu.read(reg_tpr), 0x40u);
  cpu.write(reg_tpr, 0x3f);
  EXPECT_EQ(cpu.lapic->cr8(), 3);
  EXPECT_TRUE(cpu.lapic->interrupt_pending());
  EXPECT_EQ(cpu.wakes, 2u);
  cpu.lapic->accept(DeliveryMode::fixed, 0x51, false);
  EXPECT_EQ(cpu.lapic->acknowledge_interrupt(), 0x51);
  EXPECT_EQ(cpu.read(reg_ppr), 0x50u);
  EXPECT_EQ(cpu.read(reg_isr + 0x20), 1u << 0x11);
  EXPECT_EQ(cpu.read(reg_irr + 0x20), 1u << 0);
  cpu.lapic->accept(DeliveryMode::fixed, 0x5f, false);
  EXPECT_FALSE(cpu.lapic->interrupt_pending()) << "same class as in service";
  cpu.write(reg_eoi, 0);
  EXPECT_EQ(cpu.serve(), 0x5f);
  EXPECT_EQ(cpu.serve(), 0x40);
  EXPECT_EQ(cpu.serve(), -1);
  EXPECT_EQ(cpu.read(reg_ppr), 0x3fu);
}

TEST(Lapic, EoiIsBroadcastForLevelTriggeredOnly) {
  Board board(1);
  std::vector<int> ends;
  board.bus.on_eoi([&](u8 vector) { ends.push_back(vector); });
  board[0].enable();
  board[0].lapic->accept(DeliveryMode::fixed, 0x31, false);
  EXPECT_EQ(board[0].serve(), 0x31);
  board[0].lapic->accept(DeliveryMode::fixed, 0x32, true);
  EXPECT_EQ(board[0].read(reg_tmr + 0x10), 1u << 0x12);
  EXPECT_EQ(board[0].serve(), 0x32);
  EXPECT_EQ(ends, std::vector<int>{0x32});
  board[0].write(reg_svr, 0x11ff);
  board[0].lapic->accept(DeliveryMode::fixed, 0x32, true);
  EXPECT_EQ(board[0].serve(), 0x32);
  EXPECT_EQ(ends.size(), 1u) << "suppressed";
  board[0].write(reg_eoi, 0);  // nothing in service
  EXPECT_EQ(ends.size(), 1u);
}

TEST(Lapic, PicsReachTheBootProcessorUntilItClosesTheWire) {
  unsigned inta = 0;
  Board board(2, [&] { return ++inta, u8{0x30}; });
  board.bus.set_lint0(true);
  EXPECT_TRUE(board[0].lapic->interrupt_pending());
  EXPECT_FALSE(board[1].lapic->interrupt_pending());
  EXPECT_EQ(board[0].lapic->acknowledge_interrupt(), 0x30);
  EXPECT_EQ(inta, 1u);
  EXPECT_EQ(board[0].read(reg_isr + 0x10), 0u) << "ExtINT is not the APIC's to serve";
  board[0].enable();
  board[0].write(0x350, 0x10700);
  EXPECT_FALSE(board[0].lapic->interrupt_pending());
  board[0].write(0x350, 0x700);
  EXPECT_TRUE(board[0].lapic->interrupt_pending());
  board[0].write(reg_svr, 0xff);  // masks the LVTs
  EXPECT_FALSE(board[0].lapic->interrupt_pending());
  board[0].wrmsr(msr_apic_base, 0xfee00100);  // no APIC: the pin is INTR
  EXPECT_TRUE(board[0].lapic->interrupt_pending());
  board.bus.set_lint0(false);
  EXPECT_FALSE(board[0].lapic->interrupt_pending());
}

TEST(Lapic, Lint0AsFixedInterrupt) {
  Board board(1);
  Processor& cpu = board[0];
  cpu.enable();
  cpu.write(0x350, 0x50);  // edge
  board.bus.set_lint0(true);
  EXPECT_EQ(cpu.serve(), 0x50);
  EXPECT_EQ(cpu.serve(), -1);
  cpu.write(0x350, 0x8051);  // level, and it is high
  EXPECT_EQ(cpu.read(0x350) & lvt_remote_irr, lvt_remote_irr);
  EXPECT_EQ(cpu.lapic->acknowledge_interrupt(), 0x51);
  EXPECT_FALSE(cpu.lapic->interrupt_pending());
  cpu.write(reg_eoi, 0);
  EXPECT_TRUE(cpu.lapic->interrupt_pending()) << "still high";
  board.bus.set_lint0(false);
  EXPECT_EQ(cpu.serve(), 0x51);
  EXPECT_EQ(cpu.serve(), -1);
  cpu.write(0x350, 0x400);
  board.bus.set_lint0(true);
  EXPECT_EQ(cpu.nmis, 1u);
}

TEST(Lapic, Lint1IsNmi) {
  Board board(1);
  board[0].lapic->pulse_lint1();
  EXPECT_EQ(board[0].nmis, 0u) << "masked";
  board[0].enable();
  board[0].write(0x360, 0x400);
  board[0].lapic->pulse_lint1();
  EXPECT_EQ(board[0].nmis, 1u);
}

TEST(Lapic, ErrorsAreLatchedAndSignalled) {
  Board board(1);
  Processor& cpu = board[0];
  cpu.enable();
  cpu.write(0x370, 0xfe);
  cpu.lapic->accept(DeliveryMode::fixed, 5, false);
  EXPECT_EQ(cpu.serve(), 0xfe);
  EXPECT_EQ(cpu.read(reg_esr), 0u) << "not latched yet";
  cpu.write(reg_esr, 0);
  EXPECT_EQ(cpu.read(reg_esr), error_receive_vector);
  (void)cpu.read(0x40);
  cpu.write(0x3c0, 0);
  cpu.write(reg_icr, 0x0004'0003);  // fixed, to self, vector 3
  cpu.write(reg_esr, 0);
  EXPECT_EQ(cpu.read(reg_esr), error_register | error_send_vector);
  cpu.write(reg_esr, 0);
  EXPECT_EQ(cpu.read(reg_esr), 0u);
  cpu.write(0x370, 3);  // an error interrupt with an illegal vector must not recurse
  (void)cpu.read(0x40);
  cpu.write(reg_esr, 0);
  EXPECT_EQ(cpu.read(reg_esr), error_register | error_receive_vector);
}

TEST(Lapic, AccessSizes) {
  Board board(1);
  std::array<u8, 8> wide{};
  board[0].lapic->mmio_read(reg_version, wide);
  EXPECT_EQ(bus::load_le(wide), version);
  board[0].lapic->mmio_read(reg_version + 4, wide);
  EXPECT_EQ(bus::load_le(wide), 0u);
  std::array<u8, 1> byte{};
  board[0].lapic->mmio_read(reg_version + 2, byte);
  EXPECT_EQ(byte[0], 5);
  byte[0] = 0x20;
  board[0].lapic->mmio_write(reg_tpr, byte);
  board[0].lapic->mmio_write(reg_tpr + 1, std::array<u8, 4>{1, 1, 1, 1});
  EXPECT_EQ(board[0].read(reg_tpr), 0u);
}

TEST(Lapic, BaseTransitions) {
  Board board(1);
  Processor& cpu = board[0];
  constexpr u64 off = 0xfee00100, on = 0xfee00900, x2 = 0xfee00d00, bad = 0xfee00500;
  EXPECT_FALSE(cpu.wrmsr(msr_apic_base, bad));
  EXPECT_FALSE(cpu.wrmsr(msr_apic_base, on | 1));
  EXPECT_FALSE(cpu.wrmsr(msr_apic_base, on | u64{1} << 40)) << "past the physical address width";
  EXPECT_TRUE(cpu.wrmsr(msr_apic_base, 0xfed40900));
  EXPECT_EQ(cpu.lapic->mmio_base(), Gpa(0xfed40000));
  EXPECT_TRUE(cpu.wrmsr(msr_apic_base, on));
  EXPECT_TRUE(cpu.rdmsr_faults(0x802)) << "x2APIC MSRs in xAPIC mode";
  EXPECT_FALSE(cpu.wrmsr(0x808, 0));
  EXPECT_TRUE(cpu.wrmsr(msr_apic_base, x2));
  EXPECT_TRUE(cpu.wrmsr(msr_apic_base, x2));
  EXPECT_EQ(cpu.lapic->mmio_base(), Gpa(~u64{0}));
  EXPECT_FALSE(cpu.wrmsr(msr_apic_base, on));
  EXPECT_FALSE(cpu.wrmsr(msr_apic_base, bad));
  EXPECT_EQ(cpu.rdmsr(msr_apic_base), x2);
  EXPECT_TRUE(cpu.wrmsr(msr_apic_base, off));
  EXPECT_EQ(cpu.lapic->mmio_base(), Gpa(~u64{0}));
  EXPECT_FALSE(cpu.wrmsr(msr_apic_base, x2));
  EXPECT_FALSE(cpu.lapic->accept(DeliveryMode::nmi, 0, false));
  cpu.lapic->set_cr8(5);
  EXPECT_EQ(cpu.lapic->cr8(), 5) << "CR8 works without an APIC";
  EXPECT_TRUE(cpu.wrmsr(msr_apic_base, on));
  EXPECT_EQ(cpu.read(reg_svr), 0xffu);
}

TEST(Lapic, WithoutX2apicItsBitIsReserved) {
  bus::testing::ManualClock clock;
  ApicBus bus;
  Lapic lapic({.id = 0, .bsp = true, .x2apic = false}, clock, bus, {});
  EXPECT_FALSE(lapic.write_msr(msr_apic_base, 0xfee00d00));
  u64 value = 0;
  EXPECT_FALSE(lapic.read_msr(msr_tsc_deadline, value)) << "no TSC frequency, no deadline timer";
}

TEST(Lapic, X2apicRegisters) {
  Board board(40);
  Processor& cpu = board[37];
  cpu.enable_x2apic();
  EXPECT_EQ(cpu.rdmsr(0x802), 37u);
  EXPECT_EQ(cpu.rdmsr(0x80d), 2u << 16 | 1u << 5);
  EXPECT_TRUE(cpu.wrmsr(0x80f, 0x1ff));
  EXPECT_FALSE(cpu.wrmsr(0x80f, 0x200));
  EXPECT_FALSE(cpu.wrmsr(0x808, 0x100));
  EXPECT_TRUE(cpu.wrmsr(0x808, 0x20));
  EXPECT_EQ(cpu.lapic->cr8(), 2);
  EXPECT_FALSE(cpu.wrmsr(0x80b, 1));
  EXPECT_TRUE(cpu.wrmsr(0x80b, 0));
  EXPECT_FALSE(cpu.wrmsr(0x828, 1));
  EXPECT_FALSE(cpu.wrmsr(0x838, u64{1} << 32));
  EXPECT_FALSE(cpu.wrmsr(0x830, 1 << 13));
  for (u32 readonly : {0x802u, 0x803u, 0x80au, 0x80du, 0x810u, 0x839u})
    EXPECT_FALSE(cpu.wrmsr(readonly, 0)) << readonly;
  for (u32 absent : {0x800u, 0x809u, 0x80cu, 0x80eu, 0x80bu, 0x831u, 0x83fu, 0x82fu, 0x840u, 0x8ffu}) {
    EXPECT_TRUE(cpu.rdmsr_faults(absent)) << std::hex << absent;
  }
  for (u32 absent : {0x809u, 0x80eu, 0x831u, 0x840u}) EXPECT_FALSE(cpu.wrmsr(absent, 0)) << absent;
  EXPECT_FALSE(cpu.wrmsr(0x83f, 0x100));
  EXPECT_TRUE(cpu.wrmsr(0x83f, 0x77));
  EXPECT_EQ(cpu.lapic->acknowledge_interrupt(), 0x77);
  EXPECT_TRUE(cpu.wrmsr(0x830, u64{5} << 32 | 0x000c'4500));
  EXPECT_EQ(cpu.rdmsr(0x830), u64{5} << 32 | 0x000c'4500);
}

TEST(Lapic, StateIsTheRegisterPage) {
  Board board(1);
  Processor& cpu = board[0];
  cpu.enable();
  cpu.write(reg_tpr, 0x25);
  cpu.lapic->accept(DeliveryMode::fixed, 0x41, true);
  const auto state = cpu.lapic->state();
  EXPECT_EQ(bus::load_le(std::span(state.regs).subspan(reg_svr, 4)), 0x1ffu);
  EXPECT_EQ(bus::load_le(std::span(state.regs).subspan(reg_tpr, 4)), 0x25u);
  EXPECT_EQ(bus::load_le(std::span(state.regs).subspan(reg_irr + 0x20, 4)), 2u);
  Board other(1);
  EXPECT_FALSE(other[0].lapic->set_state(state, 0xfee00400));
  EXPECT_FALSE(other[0].lapic->interrupt_pending());
  EXPECT_TRUE(other[0].lapic->set_state(state, 0xfee00900));
  EXPECT_EQ(other[0].wakes, 1u);
  EXPECT_EQ(other[0].lapic->acknowledge_interrupt(), 0x41);
}

TEST(Lapic, Contract) {
  Board board(1);
  std::vector<std::unique_ptr<ApicBus>> buses;  // one for each: nobody else's interrupts
  struct Poked : bus::Device, bus::IoTarget {
    explicit Poked(std::unique_ptr<Lapic> l) : lapic(std::move(l)) {}
    void io_read(u64 offset, std::span<u8> data) override { lapic->mmio_read(static_cast<u32>(offset), data); }
    void io_write(u64 offset, std::span<const u8> data) override { lapic->mmio_write(static_cast<u32>(offset), data); }
    std::string_view name() const override { return lapic->name(); }
    u32 state_version() const override { return lapic->state_version(); }
    void reset() override { lapic->reset(); }
    void pause() override { lapic->pause(); }
    void resume() override { lapic->resume(); }
    void save(state::Writer& out) const override { lapic->save(out); }
    Result<> restore(state::Reader& in) override { return lapic->restore(in); }
    std::unique_ptr<Lapic> lapic;
  };
  auto make = [&] {
    buses.push_back(std::make_unique<ApicBus>());
    return std::make_unique<Poked>(board.make(0, *buses.back()));
  };
  auto drive = [&](Poked& poked, unsigned i) {
    Lapic& lapic = *poked.lapic;
    Processor cpu;
    cpu.lapic = std::move(poked.lapic);
    cpu.enable();
    cpu.write(reg_lvt, std::array{0x40u, 0x20040u, 0x40040u}[i % 3]);
    cpu.write(reg_initial_count, 1000 + i);
    if (i % 3 == 2) cpu.wrmsr(msr_tsc_deadline, board.tsc() + 5000);
    for (u8 v = 0x20; v < 0xf0; v += static_cast<u8>(i + 3)) cpu.lapic->accept(DeliveryMode::fixed, v, v & 1);
    (void)lapic.acknowledge_interrupt();
    if (i % 5 == 4) cpu.enable_x2apic();
    if (i % 7 == 6) cpu.wrmsr(msr_apic_base, 0xfee00000);
    poked.lapic = std::move(cpu.lapic);
  };
  bus::testing::check_device_contract<Poked>(make, 0, 0x400, 8, drive);
  // All MSRs with nonsense, in both modes.
  for (bool x2 : {false, true}) {
    auto poked = make();
    if (x2) {
      EXPECT_TRUE(poked->lapic->write_msr(msr_apic_base, 0xfee00d00));
    }
    std::mt19937_64 random(3);
    for (u32 msr = 0x800; msr < 0x900; ++msr) {
      u64 value = random() >> random() % 64;
      (void)poked->lapic->write_msr(msr, value);
      (void)poked->lapic->read_msr(msr, value);
    }
    bus::testing::check_reset(*poked, *make());
  }
}

}  // namespace
}  // namespace nagaya::chipset
