#include "chipset/pm.hpp"

#include <utility>

#include "bus/bytes.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::chipset {
namespace {

namespace pc = x86::pc;

// PM1 status and enable bits (ACPI 6.5, tables 4.11 and 4.12), control bits (table 4.13).
constexpr u16 tmr = 1, gbl = 1 << 5, power_button = 1 << 8, wake = 1 << 15;
constexpr u16 status_bits = tmr | 1 << 4 | gbl | power_button | 1 << 9 | 1 << 10 | wake;
constexpr u16 enable_bits = tmr | gbl | power_button | 1 << 9 | 1 << 10;
constexpr u16 sci_enable = 1, sleep_type = 7 << 10, sleep_enable = 1 << 13;
constexpr u16 control_bits = sci_enable | 2 | sleep_type;  // what can be read back

// Offsets in the block.
constexpr u64 event = pc::pm1_event_port - pc::pm_base, control = pc::pm1_control_port - pc::pm_base,
              timer = pc::pm_timer_port - pc::pm_base, gpe = pc::gpe0_port - pc::pm_base;

// CF9h: bit 1 says full reset, a rise of bit 2 does it.
constexpr u8 reset_now = 4, reset_bits = 0x0a;

constexpr u64 ns_per_s = 1'000'000'000;
__extension__ using Wide = unsigned __int128;
u64 to_ticks(u64 ns) { return static_cast<u64>(Wide{ns} * pc::pm_timer_hz / ns_per_s); }
/// The first nanosecond of a tick.
u64 to_ns(u64 ticks) { return static_cast<u64>((Wide{ticks} * ns_per_s + pc::pm_timer_hz - 1) / pc::pm_timer_hz); }

void set_byte(u16& word, u64 index, u8 value) {
  word = static_cast<u16>((word & ~(0xff << 8 * index)) | value << 8 * index);
}

}  // namespace

Pm::Pm(bus::Clock& clock, bus::IrqLine sci, PmConfig config) : clock_(clock), sci_(sci), config_(std::move(config)) {
  timer_ = clock_.create_timer([this] { on_timer(); });
  reset();
}

Pm::~Pm() { timer_->cancel(); }

u64 Pm::ticks() const { return to_ticks(clock_.now_ns()) + tick_offset_; }

void Pm::read(u64 offset, std::span<u8> data) {
  std::lock_guard lock(mutex_);
  service();  // the carry bit of the timer
  const u64 mask = config_.timer_32bit ? 0xffff'ffff : 0xff'ffff;
  const u32 count = static_cast<u32>(ticks() & mask);  // read once: a wide access sees one value
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = read_byte(offset + i, count);
}

u8 Pm::read_byte(u64 offset, u32 count) const {
  const auto byte = [](u32 value, u64 index) { return static_cast<u8>(value >> 8 * index); };
  if (offset < event + 2) return byte(status_, offset - event);
  if (offset < event + 4) return byte(enable_, offset - event - 2);
  if (offset < control + 2) return byte(control_, offset - control);
  if (offset >= timer && offset < timer + 4) return byte(count, offset - timer);
  if (offset >= gpe && offset < gpe + 2) return byte(gpe_status_, offset - gpe);
  if (offset >= gpe + 2 && offset < gpe + 4) return byte(gpe_enable_, offset - gpe - 2);
  return 0;  // reserved registers of the block
}

void Pm::write(u64 offset, std::span<const u8> data) {
  bool off = false;
  {
    std::lock_guard lock(mutex_);
    service();
    for (std::size_t i = 0; i < data.size(); ++i) off |= write_byte(offset + i, data[i]);
    service();
  }
  if (off && config_.power_off) config_.power_off();
}

bool Pm::write_byte(u64 offset, u8 value) {
  if (offset < event + 2) {  // status: ones clear
    status_ &= static_cast<u16>(~(value << 8 * (offset - event)));
  } else if (offset < event + 4) {
    set_byte(enable_, offset - event - 2, value);
    enable_ &= enable_bits;
  } else if (offset < control + 2) {
    u16 word = control_;
    set_byte(word, offset - control, value);
    control_ = word & control_bits;
    return (word & sleep_enable) && (word & sleep_type) >> 10 == pc::slp_typ_s5;
  } else if (offset >= gpe && offset < gpe + 2) {
    gpe_status_ &= static_cast<u16>(~(value << 8 * (offset - gpe)));
  } else if (offset >= gpe + 2 && offset < gpe + 4) {
    set_byte(gpe_enable_, offset - gpe - 2, value);
  }
  return false;
}

void Pm::service() {
  // TMR_STS is set each time the timer's top bit changes (ACPI 6.5, 4.8.2.1).
  const unsigned top = config_.timer_32bit ? 31 : 23;
  const u64 carry = ticks() >> top;
  if (carry != seen_carry_) status_ |= tmr;
  seen_carry_ = carry;
  sci_.set((control_ & sci_enable) && ((status_ & enable_) || (gpe_status_ & gpe_enable_)));
  if (paused_) return;
  if ((enable_ & tmr) && !(status_ & tmr)) {
    timer_->arm(to_ns(((carry + 1) << top) - tick_offset_));
  } else {
    timer_->cancel();
  }
}

void Pm::on_timer() {
  std::lock_guard lock(mutex_);
  if (!paused_) service();
}

void Pm::press_power_button() {
  std::lock_guard lock(mutex_);
  status_ |= power_button;
  service();
}

bool Pm::power_button_heard() const {
  std::lock_guard lock(mutex_);
  return (control_ & sci_enable) && (enable_ & power_button);
}

void Pm::raise_gpe(unsigned bit) {
  if (bit >= 16) return;
  std::lock_guard lock(mutex_);
  gpe_status_ |= static_cast<u16>(1u << bit);
  service();
}

u8 Pm::read_smi(u64 reg) {
  std::lock_guard lock(mutex_);
  return reg == 0 ? smi_command_ : reg == 1 ? smi_scratch_ : u8{0xff};
}

void Pm::write_smi(u64 reg, u8 value) {
  std::lock_guard lock(mutex_);
  if (reg == 1) smi_scratch_ = value;
  if (reg != 0) return;
  smi_command_ = value;
  if (value == pc::acpi_enable_value) control_ |= sci_enable;
  if (value == pc::acpi_disable_value) control_ &= static_cast<u16>(~sci_enable);
  service();
}

u8 Pm::read_reset(u64 reg) {
  std::lock_guard lock(mutex_);
  return reg == 0 ? reset_control_ : u8{0xff};
}

void Pm::write_reset(u64 reg, u8 value) {
  if (reg != 0) return;
  {
    std::lock_guard lock(mutex_);
    reset_control_ = value & reset_bits;
  }
  if ((value & reset_now) && config_.reset) config_.reset();
}

void Pm::reset() {
  std::lock_guard lock(mutex_);
  status_ = enable_ = control_ = gpe_status_ = gpe_enable_ = 0;
  smi_command_ = smi_scratch_ = reset_control_ = 0;
  tick_offset_ = u64{0} - to_ticks(clock_.now_ns());
  seen_carry_ = 0;
  service();
}

void Pm::pause() {
  std::lock_guard lock(mutex_);
  service();
  paused_ = true;
  timer_->cancel();
}

void Pm::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  service();
}

void Pm::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  for (u16 value : {status_, enable_, control_, gpe_status_, gpe_enable_}) out.put(value);
  for (u8 value : {smi_command_, smi_scratch_, reset_control_}) out.put(value);
  out.put(ticks());
  out.put(seen_carry_);
}

Result<> Pm::restore(state::Reader& in) {
  u16 status = 0, enable = 0, control_word = 0, gpe_status = 0, gpe_enable = 0;
  u8 smi_command = 0, smi_scratch = 0, reset_control = 0;
  for (u16* value : {&status, &enable, &control_word, &gpe_status, &gpe_enable}) in.get(*value);
  for (u8* value : {&smi_command, &smi_scratch, &reset_control}) in.get(*value);
  const u64 count = in.get<u64>(), carry = in.get<u64>();
  if (count >> 62) in.reject("the PM timer has counted for longer than it can");
  if (auto done = in.finish(); !done) {
    reset();
    return done;
  }
  std::lock_guard lock(mutex_);
  status_ = status & status_bits;
  enable_ = enable & enable_bits;
  control_ = control_word & control_bits;
  gpe_status_ = gpe_status;
  gpe_enable_ = gpe_enable;
  smi_command_ = smi_command;
  smi_scratch_ = smi_scratch;
  reset_control_ = reset_control & reset_bits;
  tick_offset_ = count - to_ticks(clock_.now_ns());
  seen_carry_ = carry;
  service();
  return {};
}

}  // namespace nagaya::chipset
