#include "chipset/lapic.hpp"

#include <fmt/format.h>
#include <x86intrin.h>

#include <bit>

#include "chipset/lapic_layout.hpp"

namespace nagaya::chipset {

using engine::VcpuSignal;

int VectorSet::highest() const {
  for (int word = 7; word >= 0; --word) {
    const u32 bits = words[static_cast<std::size_t>(word)];
    if (bits) return 32 * word + 31 - std::countl_zero(bits);
  }
  return -1;
}

Lapic::Lapic(const Config& config, bus::Clock& clock, ApicBus& bus, std::function<u8()> pic_acknowledge)
    : config_(config),
      name_(fmt::format("lapic{}", config.id)),
      clock_(clock),
      bus_(bus),
      pic_acknowledge_(std::move(pic_acknowledge)),
      host_tsc_(config.host_tsc ? config.host_tsc : [] { return static_cast<u64>(__rdtsc()); }),
      timer_(clock.create_timer([this] { timer_fired(); })) {
  reset();
  bus_.add(*this);
}

Lapic::~Lapic() = default;

void Lapic::connect(std::function<void(VcpuSignal, u8)> signal) { signal_ = std::move(signal); }

void Lapic::finish(const After& after) {
  if (after.eoi >= 0) bus_.broadcast_eoi(static_cast<u8>(after.eoi));
  if (after.send) send_ipi(after.icr, after.x2apic);
  if (!signal_) return;
  if (after.init) signal_(VcpuSignal::init, 0);
  if (after.sipi >= 0) signal_(VcpuSignal::sipi, static_cast<u8>(after.sipi));
  if (after.nmi) signal_(VcpuSignal::nmi, 0);
  if (after.wake) signal_(VcpuSignal::interrupt, 0);
}

// SDM vol. 3, 11.6.1. Bits: vector(7:0), mode(10:8), logical(11), level(14), trigger(15), shorthand(19:18).
void Lapic::send_ipi(u64 icr, bool x2apic) {
  ApicMessage message;
  message.vector = static_cast<u8>(icr);
  message.mode = static_cast<DeliveryMode>(icr >> 8 & 7);
  message.level = icr >> 15 & 1;
  const bool assert = icr >> 14 & 1;
  // INIT level de-assert only synchronised arbitration ids of old processors; a level never asserted is nothing.
  if (message.level && !assert) return;
  switch (icr >> 18 & 3) {
    case 1:
      accept(message.mode, message.vector, message.level);
      return;
    case 2:
      message.broadcast = true;
      bus_.deliver(message);
      return;
    case 3:
      message.broadcast = true;
      bus_.deliver(message, this);
      return;
    default:
      break;
  }
  message.logical = icr >> 11 & 1;
  message.destination = static_cast<u32>(x2apic ? icr >> 32 : icr >> 56);
  message.broadcast = message.destination == (x2apic ? ~u32{0} : u32{0xff});
  bus_.deliver(message);
}

bool Lapic::accept(DeliveryMode mode, u8 vector, bool level) {
  After after;
  {
    std::lock_guard lock(mutex_);
    if (!hw_enabled()) return false;
    switch (mode) {
      case DeliveryMode::fixed:
      case DeliveryMode::lowest:
        if (!sw_enabled()) return false;
        request(vector, level, after);
        break;
      case DeliveryMode::nmi:
        after.nmi = true;
        break;
      case DeliveryMode::init:
        take_init();
        after.init = true;
        break;
      case DeliveryMode::startup:
        after.sipi = vector;
        break;
      // There is no system management mode here, and the PICs have their own wire.
      case DeliveryMode::smi:
      case DeliveryMode::reserved:
      case DeliveryMode::extint:
        return false;
    }
    update(after);
  }
  finish(after);
  return true;
}

void Lapic::request(u8 vector, bool level, After& after) {
  if (vector < 16) {
    raise_error(apic::error_receive_vector, after);
    return;
  }
  irr_.set(vector);
  if (level) tmr_.set(vector);
  if (!level) tmr_.clear(vector);
}

/// A local source raises its LVT entry.
void Lapic::deliver_local(Lvt entry, After& after) {
  u32& lvt = lvt_[entry];
  if (lvt & apic::lvt_masked) return;
  const bool is_lint = entry == lvt_lint0 || entry == lvt_lint1;
  const bool has_mode = is_lint || entry == lvt_thermal || entry == lvt_perf;
  switch (has_mode ? static_cast<DeliveryMode>(lvt >> 8 & 7) : DeliveryMode::fixed) {
    case DeliveryMode::fixed:
      if (entry == lvt_error && static_cast<u8>(lvt) < 16) {
        errors_ |= apic::error_receive_vector;                   // not raise_error: it would end here again
      } else if (entry == lvt_lint0 && lvt & apic::lvt_level) {  // LINT1 is edge-triggered whatever its bit says
        if (lvt & apic::lvt_remote_irr) break;
        lvt |= apic::lvt_remote_irr;
        request(static_cast<u8>(lvt), true, after);
      } else {
        request(static_cast<u8>(lvt), false, after);
      }
      break;
    case DeliveryMode::nmi:
      after.nmi = true;
      break;
    case DeliveryMode::init:
      take_init();
      after.init = true;
      break;
    default:
      break;  // ExtINT is a level that update() looks at
  }
}

void Lapic::set_lint0(bool level) {
  After after;
  {
    std::lock_guard lock(mutex_);
    const bool rises = level && !lint0_;
    lint0_ = level;
    if (rises && hw_enabled()) deliver_local(lvt_lint0, after);
    update(after);
  }
  finish(after);
}

void Lapic::pulse_lint1() {
  After after;
  {
    std::lock_guard lock(mutex_);
    if (hw_enabled()) {
      deliver_local(lvt_lint1, after);
    } else {
      after.nmi = true;  // the pin is NMI then
    }
    update(after);
  }
  finish(after);
}

/// Virtual wire: a disabled APIC leaves the processor's INTR pin to the PICs.
bool Lapic::takes_pic() const {
  if (!lint0_) return false;
  const u32 lvt = lvt_[lvt_lint0];
  return !hw_enabled() ||
         (!(lvt & apic::lvt_masked) && static_cast<DeliveryMode>(lvt >> 8 & 7) == DeliveryMode::extint);
}

/// Processor priority (SDM vol. 3, 11.8.3.1).
u8 Lapic::ppr() const {
  const int served = isr_.highest();
  const u8 in_service = served < 0 ? u8{0} : static_cast<u8>(served & 0xf0);
  return tpr_ >> 4 >= in_service >> 4 ? tpr_ : in_service;
}

/// Recomputes what the processor sees; after each change.
void Lapic::update(After& after) {
  const int requested = hw_enabled() ? irr_.highest() : -1;
  const bool pending = takes_pic() || (requested >= 0 && requested >> 4 > ppr() >> 4);
  if (!pending_.exchange(pending, std::memory_order_acq_rel) && pending) after.wake = true;
}

int Lapic::acknowledge_interrupt() {
  {
    std::lock_guard lock(mutex_);
    if (!takes_pic()) {
      const int vector = hw_enabled() ? irr_.highest() : -1;
      if (vector < 0 || vector >> 4 <= ppr() >> 4) return -1;
      irr_.clear(static_cast<u8>(vector));
      isr_.set(static_cast<u8>(vector));
      After after;  // the caller is awake
      update(after);
      return vector;
    }
  }
  return pic_acknowledge_ ? pic_acknowledge_() : -1;
}

void Lapic::end_of_interrupt(After& after) {
  const int vector = isr_.highest();
  if (vector < 0) return;
  const u8 v = static_cast<u8>(vector);
  isr_.clear(v);
  if (!tmr_.test(v)) return;
  u32& lint0 = lvt_[lvt_lint0];
  if (lint0 & apic::lvt_remote_irr && static_cast<u8>(lint0) == v) {
    lint0 &= ~apic::lvt_remote_irr;
    if (lint0_) deliver_local(lvt_lint0, after);
  }
  if (!(svr_ & apic::svr_suppress_eoi)) after.eoi = vector;
}

u8 Lapic::cr8() {
  std::lock_guard lock(mutex_);
  return tpr_ >> 4;
}

void Lapic::set_cr8(u8 value) {
  After after;
  {
    std::lock_guard lock(mutex_);
    tpr_ = static_cast<u8>(value << 4);
    update(after);
  }
  finish(after);
}

bool Lapic::addressed_by(const ApicMessage& message) const {
  const u64 address = address_.load(std::memory_order_acquire);
  const u32 id = static_cast<u32>(address);
  const u8 ldr = static_cast<u8>(address >> 32);
  const bool flat = address >> 40 & 1, x2apic = address >> 41 & 1, enabled = address >> 42 & 1;
  const u32 to = message.destination;
  if (!enabled) return false;
  if (message.broadcast) return true;
  if (!message.logical) return to == id;
  if (x2apic) return to >> 16 == id >> 4 && to >> (id & 15) & 1;
  if (to > 0xff) return false;
  if (flat) return to & ldr;
  return (to >> 4 == static_cast<u32>(ldr >> 4) || to >> 4 == 0xf) && (to & ldr & 0xf);
}

bool Lapic::arbitration_priority(u8& priority) const {
  std::lock_guard lock(mutex_);
  if (!hw_enabled() || !sw_enabled()) return false;
  priority = ppr();
  return true;
}

/// Makes what others read without the lock agree with the registers.
void Lapic::publish() {
  const u64 id = x2apic() ? config_.id : xapic_id_;
  const bool flat = dfr_ >> 28 == 0xf;
  address_.store(id | u64{xapic_ldr_} << 32 | u64{flat} << 40 | u64{x2apic()} << 41 | u64{hw_enabled()} << 42,
                 std::memory_order_release);
  mmio_base_.store(hw_enabled() && !x2apic() ? base_ & ~u64{0xfff} : ~u64{0}, std::memory_order_relaxed);
}

/// All registers but the base and the ID to their state after INIT (SDM vol. 3, 11.4.7.1). `virtual_wire`: with the
/// PICs on LINT0 of the boot processor, as its firmware would have left it.
void Lapic::clear_registers(bool virtual_wire) {
  stop_timer();
  tpr_ = 0;
  xapic_ldr_ = 0;
  dfr_ = ~u32{0};
  svr_ = 0xff;
  esr_ = errors_ = icr_low_ = icr_high_ = divide_ = 0;
  lvt_.fill(apic::lvt_masked);
  if (virtual_wire && config_.bsp) lvt_[lvt_lint0] = static_cast<u32>(DeliveryMode::extint) << 8;
  irr_ = isr_ = tmr_ = {};
  publish();
}

void Lapic::take_init() { clear_registers(true); }

void Lapic::reset() {
  After after;
  {
    std::lock_guard lock(mutex_);
    base_ = 0xfee00000 | apic::base_enabled | (config_.bsp ? apic::base_bsp : 0);
    xapic_id_ = static_cast<u8>(config_.id);
    clear_registers(true);
    update(after);
  }
  finish(after);
}

}  // namespace nagaya::chipset
