// The local APIC of one processor: xAPIC registers, x2APIC MSRs, timer, inter-processor interrupts. Source: Intel SDM
// vol. 3, chapter 11 (APIC).
#pragma once
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "bus/device.hpp"
#include "bus/timer.hpp"
#include "chipset/apic_bus.hpp"
#include "engine/engine.hpp"

namespace nagaya::chipset {

/// 256 interrupt vectors.
struct VectorSet {
  std::array<u32, 8> words{};
  [[nodiscard]] bool test(u8 vector) const { return words[vector / 32] >> vector % 32 & 1; }
  void set(u8 vector) { words[vector / 32] |= u32{1} << vector % 32; }
  void clear(u8 vector) { words[vector / 32] &= ~(u32{1} << vector % 32); }
  [[nodiscard]] int highest() const;  ///< -1 when empty
};

/// Thread-safe: interrupts come from devices, timers and other processors. One lock per local APIC, never held while
/// another is called.
class Lapic final : public bus::Device, public engine::LocalApic {
 public:
  struct Config {
    u32 id = 0;
    bool bsp = false;
    u64 tsc_hz = 0;                      ///< of the guest's TSC, for the TSC-deadline timer
    bool x2apic = true;                  ///< CPUID shows x2APIC
    unsigned physical_bits = 52;         ///< CPUID's physical-address width, for checks of the APIC base
    std::function<u64()> host_tsc = {};  ///< default: RDTSC
  };
  /// `pic_acknowledge` runs the INTA cycle of the PICs. Adds itself to `bus`.
  Lapic(const Config& config, bus::Clock& clock, ApicBus& bus, std::function<u8()> pic_acknowledge);
  ~Lapic() override;

  /// Where the processor hears that there is something to do (engine::Vcpu::signal). Called on any thread, with other
  /// chipset locks held: it must not call back into the chipset. Set before the machine runs.
  void connect(std::function<void(engine::VcpuSignal, u8 vector)> signal);

  // engine::LocalApic
  [[nodiscard]] bool interrupt_pending() override { return pending_.load(std::memory_order_acquire); }
  [[nodiscard]] int acknowledge_interrupt() override;
  [[nodiscard]] u8 cr8() override;
  void set_cr8(u8 value) override;
  [[nodiscard]] bool read_msr(u32 index, u64& value) override;
  [[nodiscard]] bool write_msr(u32 index, u64 value) override;
  [[nodiscard]] Gpa mmio_base() override { return Gpa(mmio_base_.load(std::memory_order_relaxed)); }
  void mmio_read(u32 offset, std::span<u8> data) override;
  void mmio_write(u32 offset, std::span<const u8> data) override;
  /// While the machine is paused the host's TSC goes on: give the new offset before resume().
  void set_tsc_offset(u64 offset) override;

  // For ApicBus. True when the message is accepted.
  bool accept(DeliveryMode mode, u8 vector, bool level);
  [[nodiscard]] bool addressed_by(const ApicMessage& message) const;
  /// Whether fixed interrupts are accepted, and the priority that lowest-priority delivery compares.
  [[nodiscard]] bool arbitration_priority(u8& priority) const;
  void set_lint0(bool level);
  /// LINT1 (NMI button) rises.
  void pulse_lint1();
  [[nodiscard]] u32 id() const { return config_.id; }

  /// The register page as the guest sees it (in x2APIC mode the ID register holds all 32 bits) and what goes with it.
  [[nodiscard]] x86::LapicState state() const;
  [[nodiscard]] u64 apic_base() const;
  /// Takes a state as saved (any bytes are harmless). False, and nothing is taken, when `apic_base` makes no sense.
  [[nodiscard]] bool set_state(const x86::LapicState& state, u64 apic_base);

  // bus::Device
  [[nodiscard]] std::string_view name() const override { return name_; }
  [[nodiscard]] u32 state_version() const override { return 1; }
  void reset() override;
  void pause() override;
  void resume() override;
  void save(state::Writer& out) const override;
  [[nodiscard]] Result<> restore(state::Reader& in) override;

 private:
  enum Lvt : u8 { lvt_timer, lvt_thermal, lvt_perf, lvt_lint0, lvt_lint1, lvt_error, lvt_count };
  /// What must be done for others once our own lock is released.
  struct After {
    bool wake = false, nmi = false, init = false;
    int sipi = -1, eoi = -1;  // vectors
    bool send = false;        // an IPI: `icr`
    bool x2apic = false;
    u64 icr = 0;
  };

  // lapic.cpp: delivery and priorities
  void finish(const After& after);
  void send_ipi(u64 icr, bool x2apic);
  void request(u8 vector, bool level, After& after);
  void deliver_local(Lvt entry, After& after);
  void end_of_interrupt(After& after);
  [[nodiscard]] u8 ppr() const;
  void update(After& after);
  void take_init();
  void clear_registers(bool virtual_wire);
  [[nodiscard]] bool takes_pic() const;
  void publish();
  [[nodiscard]] bool hw_enabled() const { return base_ & 1 << 11; }
  [[nodiscard]] bool x2apic() const { return (base_ & 0xc00) == 0xc00; }
  [[nodiscard]] bool sw_enabled() const { return svr_ & 1 << 8; }
  [[nodiscard]] bool valid_base(u64 value) const;

  // lapic_registers.cpp: reading and writing by offset in the page; false when there is no such register
  [[nodiscard]] bool read_register(u32 offset, u32& value) const;
  [[nodiscard]] bool write_register(u32 offset, u32 value, After& after);
  void write_lvt(Lvt entry, u32 value, After& after);
  void write_svr(u32 value);
  void write_icr(u64 value, After& after);
  [[nodiscard]] u32 lvt_mask(Lvt entry) const;
  void raise_error(u32 bits, After& after);
  [[nodiscard]] bool write_x2apic(u32 offset, u64 value, After& after);
  [[nodiscard]] bool write_base(u64 value, After& after);
  [[nodiscard]] u32 ldr() const;

  // lapic_timer.cpp
  enum class TimerMode : u8 { one_shot, periodic, tsc_deadline, reserved };
  [[nodiscard]] static TimerMode mode_of(u32 lvt) { return static_cast<TimerMode>(lvt >> 17 & 3); }
  [[nodiscard]] u64 tick_ns() const;
  [[nodiscard]] u64 guest_tsc() const { return host_tsc_() + tsc_offset_; }
  [[nodiscard]] u64 remaining_ns() const;
  [[nodiscard]] u32 count_of(u64 ns) const;
  [[nodiscard]] u32 current_count() const;
  void start_count(u32 count);
  void change_divide(u32 value);
  void change_timer_mode(u32 lvt);
  void set_deadline(u64 deadline, After& after);
  void stop_timer();
  void arm();
  void timer_fired();

  const Config config_;
  const std::string name_;
  bus::Clock& clock_;
  ApicBus& bus_;
  const std::function<u8()> pic_acknowledge_;
  const std::function<u64()> host_tsc_;
  std::function<void(engine::VcpuSignal, u8)> signal_;

  mutable std::mutex mutex_;  // guards all that follows but the atomics
  u64 base_ = 0;
  u8 xapic_id_ = 0;
  u8 tpr_ = 0;
  u8 xapic_ldr_ = 0;
  u32 dfr_ = ~u32{0}, svr_ = 0xff, esr_ = 0, errors_ = 0, icr_low_ = 0, icr_high_ = 0, divide_ = 0, initial_count_ = 0;
  std::array<u32, lvt_count> lvt_{};
  VectorSet irr_, isr_, tmr_;
  bool lint0_ = false;
  bool counting_ = false;  // one-shot or periodic count in progress, expires at target_ns_
  u64 target_ns_ = 0;
  u64 deadline_ = 0;  // guest TSC, 0 = disarmed
  u64 tsc_offset_ = 0;
  bool paused_ = false;

  std::atomic<bool> pending_ = false;
  std::atomic<u64> mmio_base_ = ~u64{0};
  std::atomic<u64> address_ = 0;       // id, logical id and mode, packed for addressed_by
  std::unique_ptr<bus::Timer> timer_;  // last: goes first, waiting for its callback
};

}  // namespace nagaya::chipset
