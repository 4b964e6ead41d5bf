#include "chipset/pit.hpp"

#include <algorithm>

#include "state/archive.hpp"

namespace nagaya::chipset {
namespace {

/// A guest may ask for interrupts every two microseconds; more than this many per second would only burn the host.
constexpr u64 shortest_timer_ns = 100'000;
/// Bit 4 of port 61h follows the memory refresh, which is every 15.085 us.
constexpr u64 refresh_ns = 15'085;

}  // namespace

Pit::Pit(bus::Clock& clock, bus::IrqLine irq0) : clock_(clock), irq_(irq0) {
  timer_ = clock_.create_timer([this] { on_timer(); });
  reset();
}

Pit::~Pit() { timer_->cancel(); }

i64 Pit::now_ticks() const { return pit_ticks(static_cast<i64>(clock_.now_ns())); }

u8 Pit::read(u64 reg) {
  std::lock_guard lock(mutex_);
  return reg < 3 ? channel_[reg].read(now_ticks()) : u8{0xff};  // the control word cannot be read
}

void Pit::write(u64 reg, u8 value) {
  std::lock_guard lock(mutex_);
  service();  // edges due before this write count
  if (reg < 3) {
    channel_[reg].write(now_ticks(), value);
  } else if (reg == 3) {
    control(value);
  }
  service();
}

void Pit::control(u8 value) {
  const i64 now = now_ticks();
  const unsigned select = value >> 6;
  if (select < 3) return channel_[select].control_word(now, value);
  for (unsigned i = 0; i < 3; ++i) {  // read-back: both latches are active low
    if (!(value & 2u << i)) continue;
    if (!(value & 0x20)) channel_[i].latch_count(now);
    if (!(value & 0x10)) channel_[i].latch_status(now);
  }
}

u8 Pit::read61(u64 reg) {
  if (reg != 0) return 0xff;
  std::lock_guard lock(mutex_);
  const u64 refresh = clock_.now_ns() / refresh_ns & 1;
  return static_cast<u8>(channel_[2].gate() | speaker_data_ << 1 | refresh << 4 | channel_[2].output(now_ticks()) << 5);
}

void Pit::write61(u64 reg, u8 value) {
  if (reg != 0) return;
  std::lock_guard lock(mutex_);
  speaker_data_ = value >> 1 & 1;
  channel_[2].set_gate(now_ticks(), value & 1);
}

void Pit::service() {
  const i64 now = now_ticks();
  const bool out = channel_[0].output(now);
  if (next_edge_ && *next_edge_ <= now) {
    // Edges that were missed become one: an edge-triggered input holds one request.
    irq_.set(false);
    irq_.set(true);
  }
  irq_.set(out);
  next_edge_ = channel_[0].next_rise(now);
  if (paused_) return;
  if (next_edge_) {
    timer_->arm(std::max(static_cast<u64>(std::max<i64>(pit_ns(*next_edge_), 0)), earliest_timer_));
  } else {
    timer_->cancel();
  }
}

void Pit::on_timer() {
  std::lock_guard lock(mutex_);
  if (paused_) return;
  earliest_timer_ = clock_.now_ns() + shortest_timer_ns;
  service();
}

void Pit::reset() {
  std::lock_guard lock(mutex_);
  const i64 now = now_ticks();
  channel_[0].reset(now, true);
  channel_[1].reset(now, true);
  channel_[2].reset(now, false);
  speaker_data_ = false;
  next_edge_.reset();
  earliest_timer_ = 0;
  service();
}

void Pit::pause() {
  std::lock_guard lock(mutex_);
  service();  // the interrupt controller is saved with the edges of this moment
  paused_ = true;
  timer_->cancel();
}

void Pit::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  service();
}

x86::PitState Pit::state() const {
  std::lock_guard lock(mutex_);
  const i64 now = now_ticks();
  x86::PitState s;
  for (unsigned i = 0; i < 3; ++i) s.channel[i] = channel_[i].state(now);
  s.speaker_data_on = speaker_data_;
  return s;
}

Result<> Pit::set_state(const x86::PitState& s) {
  for (const auto& channel : s.channel) {
    if (PitChannel::valid(channel)) continue;
    reset();
    return fail("cannot restore the timer", "a channel's state is out of range");
  }
  std::lock_guard lock(mutex_);
  apply(s);
  return {};
}

void Pit::apply(const x86::PitState& s) {
  const i64 now = now_ticks();
  for (unsigned i = 0; i < 3; ++i) channel_[i].set_state(now, s.channel[i]);
  for (unsigned i = 0; i < 2; ++i) channel_[i].set_gate(now, true);
  speaker_data_ = s.speaker_data_on;
  next_edge_.reset();
  earliest_timer_ = 0;
  service();
}

void Pit::save(state::Writer& out) const { save_pit(out, state()); }

Result<> Pit::restore(state::Reader& in) {
  auto state = restore_pit(in);
  if (!state) {
    reset();
    return std::unexpected(state.error());
  }
  return set_state(*state);
}

void save_pit(state::Writer& out, const x86::PitState& s) {
  for (const auto& c : s.channel) {
    out.put(c.count);
    out.put(c.latched_count);
    for (u8 v : {c.count_latched, c.status_latched, c.status, c.read_state, c.write_state, c.write_latch, c.rw_mode, c.mode,
                 c.bcd, c.gate, c.null_count}) {
      out.put(v);
    }
    out.put(c.reload);
    out.put(c.elapsed_ns);
  }
  out.put(s.speaker_data_on);
}

Result<x86::PitState> restore_pit(state::Reader& in) {
  x86::PitState s;
  for (auto& c : s.channel) {
    in.get(c.count);
    in.get(c.latched_count);
    for (u8* v : {&c.count_latched, &c.status_latched, &c.status, &c.read_state, &c.write_state, &c.write_latch, &c.rw_mode,
                  &c.mode, &c.bcd, &c.gate, &c.null_count}) {
      in.get(*v);
    }
    in.get(c.reload);
    in.get(c.elapsed_ns);
    if (!PitChannel::valid(c)) in.reject("a timer channel is out of range");
  }
  in.get(s.speaker_data_on);
  TRY(in.finish());
  return s;
}

}  // namespace nagaya::chipset
