// For tests: some local APICs on a bus with a clock turned by hand, and what their processors were told.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "bus/bytes.hpp"
#include "bus/manual_clock_test_util.hpp"
#include "chipset/lapic.hpp"
#include "chipset/lapic_layout.hpp"

namespace nagaya::chipset::testing {

struct Processor {
  std::unique_ptr<Lapic> lapic;
  std::atomic<unsigned> wakes = 0, nmis = 0, inits = 0;
  std::vector<u8> sipis;

  void write(u32 offset, u32 value) {
    std::array<u8, 4> data{};
    bus::store_le(data, value);
    lapic->mmio_write(offset, data);
  }
  u32 read(u32 offset) {
    std::array<u8, 4> data{};
    lapic->mmio_read(offset, data);
    return static_cast<u32>(bus::load_le(data));
  }
  bool wrmsr(u32 index, u64 value) { return lapic->write_msr(index, value); }
  u64 rdmsr(u32 index) {
    u64 value = 0;
    EXPECT_TRUE(lapic->read_msr(index, value)) << std::hex << index;
    return value;
  }
  bool rdmsr_faults(u32 index) {
    u64 value = 0;
    return !lapic->read_msr(index, value);
  }
  /// Takes the next interrupt and ends it; -1 when there is none.
  int serve() {
    const int vector = lapic->acknowledge_interrupt();
    if (vector >= 0) write(apic::reg_eoi, 0);
    return vector;
  }
  /// Enables by software, as an operating system does.
  void enable() { write(apic::reg_svr, 0x1ff); }
  void enable_x2apic() { ASSERT_TRUE(wrmsr(apic::msr_apic_base, lapic->apic_base() | apic::base_x2apic)); }
};

/// The TSC runs at 2 GHz of the clock's time, and `tsc_skew` ahead of it.
struct Board {
  static constexpr u64 tsc_hz = 2'000'000'000;
  explicit Board(unsigned cpus, std::function<u8()> pic_acknowledge = {}) : processors(cpus) {
    for (unsigned i = 0; i < cpus; ++i) {
      Processor& p = processors[i];
      p.lapic = make(i, bus, pic_acknowledge);
      p.lapic->connect([&p](engine::VcpuSignal what, u8 vector) {
        switch (what) {
          case engine::VcpuSignal::interrupt:
            ++p.wakes;
            break;
          case engine::VcpuSignal::nmi:
            ++p.nmis;
            break;
          case engine::VcpuSignal::init:
            ++p.inits;
            break;
          case engine::VcpuSignal::sipi:
            p.sipis.push_back(vector);
            break;
        }
      });
    }
  }
  std::unique_ptr<Lapic> make(unsigned id, ApicBus& on, std::function<u8()> pic_acknowledge = {}) {
    return std::make_unique<Lapic>(
        Lapic::Config{
            .id = id, .bsp = id == 0, .tsc_hz = tsc_hz, .physical_bits = 40, .host_tsc = [this] { return tsc(); }},
        clock, on, std::move(pic_acknowledge));
  }
  [[nodiscard]] u64 tsc() const { return clock.now_ns() * 2 + tsc_skew; }
  Processor& operator[](unsigned i) { return processors[i]; }

  bus::testing::ManualClock clock;
  u64 tsc_skew = 1000;
  ApicBus bus;
  std::vector<Processor> processors;
};

}  // namespace nagaya::chipset::testing
