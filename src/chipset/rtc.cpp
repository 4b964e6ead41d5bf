#include "chipset/rtc.hpp"

#include <algorithm>
#include <chrono>

#include "x86/pc_layout.hpp"

namespace nagaya::chipset {
namespace {

// CMOS addresses. 00h..0Dh belong to the clock chip, 32h is the century by convention of the PC.
enum Cmos : u8 {
  seconds = 0, seconds_alarm = 1, minutes = 2, minutes_alarm = 3, hours = 4, hours_alarm = 5, weekday = 6, day = 7,
  month = 8, year = 9, reg_a = 0xa, reg_b = 0xb, reg_c = 0xc, reg_d = 0xd, century = 0x32,
};
constexpr u8 a_uip = 0x80, a_divider = 0x70, a_rate = 0x0f;
constexpr u8 b_set = 0x80, b_periodic = 0x40, b_alarm = 0x20, b_update = 0x10, b_square = 0x08, b_binary = 4, b_24h = 2;
constexpr u8 c_irq = 0x80, c_periodic = 0x40, c_alarm = 0x20, c_update = 0x10;
constexpr u8 d_valid = 0x80;
constexpr u8 afternoon = 0x80, any = 0xc0;

constexpr i64 ns_per_s = 1'000'000'000, seconds_per_day = 86'400;
/// UIP rises 244 us before the registers change (data sheet, figure 15).
constexpr i64 uip_ns = 244'000;
/// When the divider is released, the first update comes half a second later.
constexpr i64 released_ns = ns_per_s / 2;

constexpr i64 floor_div(i64 a, i64 b) { return a / b - (a % b < 0); }
constexpr i64 floor_mod(i64 a, i64 b) { return a - floor_div(a, b) * b; }

constexpr bool is_time(u8 index) {
  return index == seconds || index == minutes || index == hours || (index >= weekday && index <= year) || index == century;
}

int weekday_of(i64 second) { return static_cast<int>(floor_mod(floor_div(second, seconds_per_day) + 4, 7)); }  // 0 Sunday

}  // namespace

Rtc::Rtc(bus::Clock& clock, bus::IrqLine irq8, const RtcConfig& config) : clock_(clock), irq_(irq8) {
  timer_ = clock_.create_timer([this] { on_timer(); });
  const auto put16 = [this](u8 at, u64 value) {
    cmos_[at] = static_cast<u8>(value);
    cmos_[at + 1] = static_cast<u8>(value >> 8);
  };
  cmos_[reg_a] = 0x26;  // 32768 Hz, periodic rate 1024 Hz
  cmos_[reg_b] = b_24h;
  cmos_[0x14] = 0x06;   // equipment: FPU, pointing device port
  put16(0x15, 640);     // conventional memory, KiB
  const u64 extended = config.ram_below_4g > MiB ? (config.ram_below_4g - MiB) / KiB : 0;
  put16(0x17, std::min<u64>(extended, 0xffff));
  put16(0x30, std::min<u64>(extended, 0xffff));
  const u64 above_16m = config.ram_below_4g > 16 * MiB ? (config.ram_below_4g - 16 * MiB) / (64 * KiB) : 0;
  put16(0x34, std::min<u64>(above_16m, 0xffff));
  const u64 high = config.ram_above_4g / (64 * KiB);
  put16(0x5b, high);
  cmos_[0x5d] = static_cast<u8>(high >> 16);
  cmos_[0x5f] = static_cast<u8>(config.cpus - 1);
  cmos_[0x3d] = 0x02;  // boot: first hard disk
  unsigned sum = 0;
  for (unsigned i = 0x10; i <= 0x2d; ++i) sum += cmos_[i];
  cmos_[0x2e] = static_cast<u8>(sum >> 8);
  cmos_[0x2f] = static_cast<u8>(sum);
  reset();
}

Rtc::~Rtc() { timer_->cancel(); }

bool Rtc::nmi_masked() const {
  std::lock_guard lock(mutex_);
  return index_ & 0x80;
}

u8 Rtc::cmos(u8 index) const {
  std::lock_guard lock(mutex_);
  return index >= 0xe && index < cmos_.size() && index != century ? cmos_[index] : u8{0};
}

void Rtc::set_cmos(u8 index, u8 value) {
  std::lock_guard lock(mutex_);
  if (index >= 0xe && index < cmos_.size() && index != century) cmos_[index] = value;
}

u8 Rtc::read(u64 reg) {
  if (reg != 1) return 0xff;  // the index cannot be read
  std::lock_guard lock(mutex_);
  return read_cmos(index_ & 0x7f);
}

void Rtc::write(u64 reg, u8 value) {
  std::lock_guard lock(mutex_);
  if (reg == 0) index_ = value;
  if (reg == 1) write_cmos(index_ & 0x7f, value);
}

u8 Rtc::read_cmos(u8 index) {
  if (is_time(index)) {
    if (running()) time_to_registers(guest_time().second);
    return cmos_[index];
  }
  switch (index) {
    case reg_a: {
      const bool updating = running() && guest_time().ns >= ns_per_s - uip_ns;
      return cmos_[reg_a] | (updating ? a_uip : u8{0});
    }
    case reg_c: {
      service();
      const u8 value = cmos_[reg_c];
      cmos_[reg_c] = 0;
      service();
      return value;
    }
    case reg_d: return d_valid;
    default: return cmos_[index];
  }
}

void Rtc::write_cmos(u8 index, u8 value) {
  if (is_time(index)) {
    service();
    const bool runs = running();
    if (runs) freeze();
    cmos_[index] = value;
    if (runs) thaw(frozen_ns_);
    service();
    return;
  }
  switch (index) {
    case seconds_alarm:
    case minutes_alarm:
    case hours_alarm:
      service();
      cmos_[index] = value;
      service();
      break;
    case reg_a: write_a(value); break;
    case reg_b: write_b(value); break;
    case reg_c:
    case reg_d: break;  // read-only
    default: cmos_[index] = value; break;
  }
}

void Rtc::write_a(u8 value) {
  service();
  const u8 changed = (value ^ cmos_[reg_a]) & a_divider;
  const bool ran = running();
  const bool was_reset = (cmos_[reg_a] & a_divider) >= 0x60;
  if (ran && changed) freeze();
  const i64 old_period = period_ticks();
  cmos_[reg_a] = value & 0x7f;
  if (running() && changed) thaw(!ran && was_reset ? released_ns : frozen_ns_);
  if (period_ticks() != old_period) seen_period_ = period_ticks() ? rtc_ticks() / period_ticks() : 0;
  service();
}

void Rtc::write_b(u8 value) {
  service();
  const bool ran = running();
  if (ran && (value & b_set)) freeze();  // in the format that was in force
  if (value & b_set) value &= static_cast<u8>(~b_update);
  cmos_[reg_b] = value;
  if (!ran && running()) thaw(frozen_ns_);
  service();
}

/// Registers follow time: neither SET nor a stopped divider.
bool Rtc::running() const { return !(cmos_[reg_b] & b_set) && (cmos_[reg_a] & a_divider) <= 0x20; }

Rtc::Time Rtc::guest_time() const {
  const u64 wall = clock_.wall_ns();
  const i64 ns = static_cast<i64>(wall % ns_per_s) + offset_.ns;
  return {static_cast<i64>(wall / ns_per_s) + offset_.second + ns / ns_per_s, ns % ns_per_s};
}

void Rtc::freeze() {
  const Time now = guest_time();
  time_to_registers(now.second);
  frozen_ns_ = now.ns;
}

void Rtc::thaw(i64 ns) {
  const i64 second = registers_to_time();
  weekday_shift_ = static_cast<int>(floor_mod(i64{decode(cmos_[weekday])} - 1 - weekday_of(second), 7));
  const u64 wall = clock_.wall_ns();
  const i64 difference = ns - static_cast<i64>(wall % ns_per_s);
  offset_.second = second - static_cast<i64>(wall / ns_per_s) + floor_div(difference, ns_per_s);
  offset_.ns = floor_mod(difference, ns_per_s);
  seen_second_ = second;
}

u8 Rtc::encode(int value) const {
  return static_cast<u8>(cmos_[reg_b] & b_binary ? value : value / 10 << 4 | value % 10);
}

int Rtc::decode(u8 value) const { return cmos_[reg_b] & b_binary ? value : (value >> 4) * 10 + (value & 15); }

void Rtc::time_to_registers(i64 second) {
  using namespace std::chrono;
  const i64 days_since = floor_div(second, seconds_per_day);
  const int of_day = static_cast<int>(floor_mod(second, seconds_per_day));
  const year_month_day date{sys_days{days{days_since}}};
  const int hour = of_day / 3600;
  cmos_[seconds] = encode(of_day % 60);
  cmos_[minutes] = encode(of_day / 60 % 60);
  if (cmos_[reg_b] & b_24h) {
    cmos_[hours] = encode(hour);
  } else {
    cmos_[hours] = static_cast<u8>(encode(hour % 12 ? hour % 12 : 12) | (hour >= 12 ? afternoon : 0));
  }
  cmos_[weekday] = encode((weekday_of(second) + weekday_shift_) % 7 + 1);
  cmos_[day] = encode(static_cast<int>(unsigned{date.day()}));
  cmos_[month] = encode(static_cast<int>(unsigned{date.month()}));
  const int y = std::clamp(int{date.year()}, 0, 9999);
  cmos_[year] = encode(y % 100);
  cmos_[century] = encode(y / 100);
}

/// What makes no sense (month 0, 31 February, hour 77) is brought into range: a clock cannot refuse.
i64 Rtc::registers_to_time() const {
  using namespace std::chrono;
  int hour = 0;
  if (cmos_[reg_b] & b_24h) {
    hour = decode(cmos_[hours]);
  } else {
    hour = decode(cmos_[hours] & 0x7f) % 12 + (cmos_[hours] & afternoon ? 12 : 0);
  }
  const auto y = std::chrono::year{std::clamp(decode(cmos_[century]), 16, 99) * 100 + std::min(decode(cmos_[year]), 99)};
  const auto m = std::chrono::month{static_cast<unsigned>(std::clamp(decode(cmos_[month]), 1, 12))};
  const auto last = static_cast<int>(unsigned{(y / m / std::chrono::last).day()});
  const auto d = std::chrono::day{static_cast<unsigned>(std::clamp(decode(cmos_[day]), 1, last))};
  const i64 date = sys_days{y / m / d}.time_since_epoch().count();
  return date * seconds_per_day + std::min(hour, 23) * 3600 + std::min(decode(cmos_[minutes]), 59) * 60 +
         std::min(decode(cmos_[seconds]), 59);
}

/// The first guest second after `after` whose time of day matches the alarm registers, at most a day ahead; `after` +
/// two days when none ever does.
i64 Rtc::next_alarm(i64 after) const {
  const auto matches = [this](u8 alarm, int value) { return (alarm & any) == any || decode(alarm) == value; };
  const auto hour_matches = [&](int hour) {
    const u8 alarm = cmos_[hours_alarm];
    if ((alarm & any) == any) return true;
    if (cmos_[reg_b] & b_24h) return decode(alarm) == hour;
    return decode(alarm & 0x7f) % 12 + (alarm & afternoon ? 12 : 0) == hour;
  };
  const auto never = [this](u8 alarm, int last) { return (alarm & any) != any && decode(alarm) > last; };
  i64 t = after + 1;
  const i64 end = after + 2 * seconds_per_day;
  if (never(cmos_[minutes_alarm], 59) || never(cmos_[seconds_alarm], 59)) return end;
  while (t < end) {
    const int of_day = static_cast<int>(floor_mod(t, seconds_per_day));
    if (!hour_matches(of_day / 3600)) {
      t += 3600 - of_day % 3600;
    } else if (!matches(cmos_[minutes_alarm], of_day / 60 % 60)) {
      t += 60 - of_day % 60;
    } else if (!matches(cmos_[seconds_alarm], of_day % 60)) {
      ++t;
    } else {
      return t;
    }
  }
  return end;
}

/// Length of the periodic interrupt in ticks of 32768 Hz, 0 for none (data sheet, table 5, 32 kHz column).
i64 Rtc::period_ticks() const {
  const unsigned rate = cmos_[reg_a] & a_rate;
  if (rate == 0 || (cmos_[reg_a] & a_divider) > 0x20) return 0;
  return i64{1} << (rate <= 2 ? rate + 6 : rate - 1);
}

i64 Rtc::rtc_ticks() const {
  __extension__ using Wide = unsigned __int128;
  return static_cast<i64>(Wide{clock_.now_ns()} * x86::pc::rtc_hz / ns_per_s);
}

void Rtc::service() {
  u8& flags = cmos_[reg_c];
  const u8 enabled = cmos_[reg_b] & (b_periodic | b_alarm | b_update);
  const i64 period = period_ticks();
  if (period) {
    const i64 now = rtc_ticks() / period;
    if (now > seen_period_) flags |= c_periodic;
    seen_period_ = now;
  }
  if (running()) {
    const i64 now = guest_time().second;
    if (now > seen_second_) {
      flags |= c_update;
      // A host clock that jumped by more than a day has passed every time of day.
      if (next_alarm(std::max(seen_second_, now - 2 * seconds_per_day)) <= now) flags |= c_alarm;
    }
    seen_second_ = now;  // also back, when the host's clock was set back
  }
  const bool interrupt = flags & enabled;
  flags = static_cast<u8>((flags & 0x70) | (interrupt ? c_irq : 0));
  irq_.set(interrupt);
  if (paused_) return;

  // The next enabled event whose flag is not waiting to be read already.
  const u8 wanted = enabled & static_cast<u8>(~flags);
  const u64 now_ns = clock_.now_ns();
  u64 at = ~u64{0};
  if ((wanted & b_periodic) && period) {
    __extension__ using Wide = unsigned __int128;
    const Wide tick = static_cast<Wide>((seen_period_ + 1) * period);
    at = static_cast<u64>((tick * ns_per_s + x86::pc::rtc_hz - 1) / x86::pc::rtc_hz);
  }
  if ((wanted & (b_alarm | b_update)) && running()) {
    const i64 second = wanted & b_update ? seen_second_ + 1 : next_alarm(seen_second_);
    const Time now = guest_time();
    at = std::min(at, now_ns + static_cast<u64>(std::max<i64>((second - now.second) * ns_per_s - now.ns, 0)));
  }
  if (at != ~u64{0}) {
    timer_->arm(at);
  } else {
    timer_->cancel();
  }
}

void Rtc::on_timer() {
  std::lock_guard lock(mutex_);
  if (!paused_) service();
}

void Rtc::restart_events() {
  seen_second_ = guest_time().second;
  seen_period_ = period_ticks() ? rtc_ticks() / period_ticks() : 0;
}

void Rtc::reset() {
  std::lock_guard lock(mutex_);
  // The RESET pin clears interrupt enables and flags; everything else lives on the battery.
  cmos_[reg_b] &= static_cast<u8>(~(b_periodic | b_alarm | b_update | b_square));
  cmos_[reg_c] = 0;
  index_ = 0;
  restart_events();
  service();
}

void Rtc::pause() {
  std::lock_guard lock(mutex_);
  service();
  paused_ = true;
  timer_->cancel();
}

void Rtc::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  service();
}

void Rtc::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  for (u8 i = 0; i < cmos_.size(); ++i) out.put(running() && is_time(i) ? u8{0} : cmos_[i]);
  out.put(index_);
  out.put(offset_.second);
  out.put(offset_.ns);
  out.put(frozen_ns_);
  out.put(static_cast<u8>(weekday_shift_));
  out.put(seen_second_);
}

Result<> Rtc::restore(state::Reader& in) {
  constexpr i64 longest = 400'000'000'000;  // more seconds than there are in ten thousand years
  std::array<u8, 128> bytes{};
  in.get_bytes(bytes);
  const u8 index = in.get<u8>();
  Time offset;
  in.get(offset.second);
  in.get(offset.ns);
  const i64 frozen = in.get<i64>();
  const u8 shift = in.get<u8>();
  const i64 second = in.get<i64>();
  if (offset.ns < 0 || offset.ns >= ns_per_s || frozen < 0 || frozen >= ns_per_s) {
    in.reject("the clock's fraction of a second is out of range");
  }
  if (shift > 6) in.reject("the weekday is out of range");
  if (offset.second < -longest || offset.second > longest || second < -longest || second > longest) {
    in.reject("the clock's time is out of range");
  }
  if (auto done = in.finish(); !done) {
    reset();
    return done;
  }
  std::lock_guard lock(mutex_);
  cmos_ = bytes;
  cmos_[reg_a] &= 0x7f;
  cmos_[reg_c] &= 0x70;
  index_ = index;
  offset_ = offset;
  frozen_ns_ = frozen;
  weekday_shift_ = shift;
  restart_events();
  seen_second_ = std::min(second, seen_second_);  // an alarm missed while saved rings now
  service();
  return {};
}

}  // namespace nagaya::chipset
