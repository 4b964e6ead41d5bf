#include "devices/serial.hpp"

namespace nagaya::devices {
namespace {

// Register bits, PC16550D table II.
enum Reg : u64 { rbr_thr = 0, ier = 1, iir_fcr = 2, lcr = 3, mcr = 4, lsr = 5, msr = 6, scr = 7 };
constexpr u8 ier_rx = 1, ier_tx = 2, ier_line = 4, ier_modem = 8;
constexpr u8 iir_none = 1, iir_modem = 0, iir_tx = 2, iir_rx = 4, iir_line = 6, iir_timeout = 0xc, iir_fifos = 0xc0;
constexpr u8 fcr_clear_rx = 2, fcr_clear_tx = 4;
constexpr u8 lcr_break = 0x40, lcr_dlab = 0x80;
constexpr u8 lsr_data = 1, lsr_overrun = 2, lsr_break = 0x10, lsr_thre = 0x20, lsr_temt = 0x40, lsr_fifo_error = 0x80;
constexpr u8 lsr_errors = 0x1e;            // OE, PE, FE, BI
constexpr u8 lsr_character_errors = 0x1c;  // those that travel with a character
constexpr u8 msr_ri = 0x40;
constexpr u8 wired_up = 0xb0;  // DCD, DSR, CTS: a terminal is there

constexpr u64 base_clock_hz = 115200;  // 1.8432 MHz / 16

/// What the modem inputs show while the chip is looped back: CTS←RTS, DSR←DTR, RI←OUT1, DCD←OUT2.
constexpr u8 looped_inputs(u8 mcr) {
  return static_cast<u8>((mcr & 2) << 3 | (mcr & 1) << 5 | (mcr & 4) << 4 | (mcr & 8) << 4);
}

}  // namespace

Serial::Serial(std::string name, bus::Clock& clock, bus::IrqLine irq, CharBackend* backend)
    : name_(std::move(name)), clock_(clock), irq_(irq), backend_(backend), line_inputs_(wired_up) {
  timer_ = clock_.create_timer([this] { on_timeout(); });
  reset_locked();
  if (backend_) backend_->attach(this);
}

Serial::~Serial() {
  if (backend_) backend_->attach(nullptr);
  timer_->cancel();
}

u8 Serial::read(u64 reg) {
  std::unique_lock lock(mutex_);
  const bool dlab = r_.lcr & lcr_dlab;
  switch (reg) {
    case rbr_thr: return dlab ? static_cast<u8>(r_.divisor) : read_rbr();
    case ier: return dlab ? static_cast<u8>(r_.divisor >> 8) : r_.ier;
    case iir_fcr: return read_iir();
    case lcr: return r_.lcr;
    case mcr: return r_.mcr;
    case lsr: {
      const u8 value = r_.lsr;
      r_.lsr &= static_cast<u8>(~lsr_errors);
      update_line_status();
      update_irq();
      return value;
    }
    case msr: {
      const u8 value = r_.msr;
      r_.msr &= 0xf0;
      update_irq();
      return value;
    }
    case scr: return r_.scr;
    default: return 0xff;
  }
}

void Serial::write(u64 reg, u8 value) {
  std::unique_lock lock(mutex_);
  const bool dlab = r_.lcr & lcr_dlab;
  switch (reg) {
    case rbr_thr:
      if (dlab) {
        r_.divisor = static_cast<u16>((r_.divisor & 0xff00) | value);
      } else {
        write_thr(value);
      }
      break;
    case ier:
      if (dlab) {
        r_.divisor = static_cast<u16>((r_.divisor & 0xff) | value << 8);
      } else {
        // Enabling the transmitter interrupt while the transmitter is empty raises it at once.
        if ((value & ier_tx) && !(r_.ier & ier_tx) && (r_.lsr & lsr_thre)) r_.thre_pending = true;
        r_.ier = value & 0xf;
      }
      break;
    case iir_fcr: write_fcr(value); break;
    case lcr: {
      const bool begins_break = (value & lcr_break) && !(r_.lcr & lcr_break);
      r_.lcr = value;
      if (begins_break && loopback()) push_received(0, lsr_break);
      break;
    }
    case mcr: write_mcr(value); break;
    case scr: r_.scr = value; break;
    default: break;  // LSR and MSR are read-only
  }
  update_irq();
}

u8 Serial::read_rbr() {
  if (r_.rx_count == 0) return 0;
  const u8 data = r_.rx[r_.rx_head].data;
  r_.rx_head = (r_.rx_head + 1) % fifo_size;
  --r_.rx_count;
  r_.timeout_pending = false;
  restart_timeout();
  if (r_.rx_count > 0) r_.lsr |= r_.rx[r_.rx_head].errors;  // errors show when their character reaches the top
  update_line_status();
  update_irq();
  // Wake the back end when a worthwhile piece is free, not for each byte.
  if (input_waits_ && r_.rx_count <= rx_capacity() / 2) {
    input_waits_ = false;
    if (backend_) backend_->input_room();
  }
  return data;
}

u8 Serial::read_iir() {
  const u8 value = iir_locked();
  if ((value & 0xf) == iir_tx) {  // reading names the source and clears it
    r_.thre_pending = false;
    update_irq();
  }
  return value;
}

/// PC16550D table IV: priorities of the interrupt sources.
u8 Serial::iir_locked() const {
  const u8 high = fifos_on() ? iir_fifos : u8{0};
  if ((r_.ier & ier_line) && (r_.lsr & lsr_errors)) return high | iir_line;
  if (r_.ier & ier_rx) {
    if (r_.rx_count >= rx_trigger()) return high | iir_rx;
    if (r_.timeout_pending) return high | iir_timeout;
  }
  if ((r_.ier & ier_tx) && r_.thre_pending) return high | iir_tx;
  if ((r_.ier & ier_modem) && (r_.msr & 0xf)) return high | iir_modem;
  return high | iir_none;
}

void Serial::write_thr(u8 value) {
  r_.thre_pending = false;
  if (r_.tx_count == tx_capacity()) {
    // The guest did not wait for THRE: the newest character takes the place of the last one, as in the chip.
    r_.tx[(r_.tx_head + r_.tx_count - 1) % fifo_size] = value;
  } else {
    r_.tx[(r_.tx_head + r_.tx_count) % fifo_size] = value;
    ++r_.tx_count;
  }
  r_.lsr &= static_cast<u8>(~(lsr_thre | lsr_temt));
  transmit();
}

void Serial::transmit() {
  while (r_.tx_count > 0) {
    if (loopback()) {
      const u8 mask = static_cast<u8>(0xff >> (3 - (r_.lcr & 3)));  // word length 5..8
      push_received(r_.tx[r_.tx_head] & mask, 0);
      r_.tx_head = (r_.tx_head + 1) % fifo_size;
      --r_.tx_count;
      continue;
    }
    const std::size_t run = std::min<std::size_t>(r_.tx_count, fifo_size - r_.tx_head);
    const std::size_t done = backend_ ? backend_->write(std::span(r_.tx).subspan(r_.tx_head, run)) : run;
    r_.tx_head = static_cast<u8>((r_.tx_head + done) % fifo_size);
    r_.tx_count = static_cast<u8>(r_.tx_count - done);
    if (done < run) return;  // output_room() goes on from here
  }
  transmitter_drained();
}

void Serial::transmitter_drained() {
  if (!(r_.lsr & lsr_thre)) r_.thre_pending = true;
  r_.lsr |= lsr_thre | lsr_temt;
}

void Serial::write_fcr(u8 value) {
  const bool toggles = (value ^ r_.fcr) & 1;  // changing the enable bit empties both FIFOs
  if (toggles || (value & fcr_clear_rx)) clear_rx();
  if (toggles || (value & fcr_clear_tx)) {
    r_.tx_count = 0;
    transmitter_drained();
  }
  r_.fcr = (value & 1) ? value & 0xc9 : 0;  // the other bits are only written while bit 0 is
  restart_timeout();
}

void Serial::write_mcr(u8 value) {
  const u8 changed = value ^ r_.mcr;
  r_.mcr = value & 0x1f;
  set_modem_inputs(loopback() ? looped_inputs(r_.mcr) : line_inputs_);
  if ((changed & 0x10) && !loopback() && input_waits_) {  // input was held off while looped back
    input_waits_ = false;
    if (backend_) backend_->input_room();
  }
  if ((changed & 0x10) && r_.tx_count > 0) transmit();
}

void Serial::set_modem_inputs(u8 inputs) {
  const u8 changed = (r_.msr ^ inputs) & 0xf0;
  u8 deltas = static_cast<u8>(changed >> 4 & 0xb);                        // DCTS, DDSR, DDCD
  if ((changed & msr_ri) && !(inputs & msr_ri)) deltas |= 4;              // TERI: only the trailing edge of ring
  r_.msr = static_cast<u8>((r_.msr & 0xf) | deltas | (inputs & 0xf0));
}

void Serial::push_received(u8 data, u8 errors) {
  if (r_.rx_count == rx_capacity()) {
    r_.lsr |= lsr_overrun;
    if (!fifos_on()) r_.rx[r_.rx_head] = {data, errors};  // without FIFOs the old character is overwritten
    else return;                                          // with them the new one is lost
  } else {
    r_.rx[(r_.rx_head + r_.rx_count) % fifo_size] = {data, errors};
    ++r_.rx_count;
  }
  if (r_.rx_count == 1) r_.lsr |= r_.rx[r_.rx_head].errors;
  restart_timeout();
  update_line_status();
}

void Serial::clear_rx() {
  r_.rx_count = r_.rx_head = 0;
  r_.timeout_pending = false;
  update_line_status();
  if (input_waits_ && backend_) {
    input_waits_ = false;
    backend_->input_room();
  }
}

void Serial::update_line_status() {
  r_.lsr &= static_cast<u8>(~(lsr_data | lsr_fifo_error));
  if (r_.rx_count > 0) r_.lsr |= lsr_data;
  for (unsigned i = 0; fifos_on() && i < r_.rx_count; ++i) {
    if (r_.rx[(r_.rx_head + i) % fifo_size].errors) r_.lsr |= lsr_fifo_error;
  }
}

void Serial::update_irq() { irq_.set((iir_locked() & iir_none) == 0); }

u8 Serial::rx_trigger() const {
  static constexpr std::array<u8, 4> levels{1, 4, 8, 14};
  return fifos_on() ? levels[r_.fcr >> 6] : u8{1};
}

/// One character on the line: start bit, 5..8 data bits, parity, stop bits.
u64 Serial::character_ns() const {
  const u64 bits = 1 + 5 + (r_.lcr & 3) + (r_.lcr >> 3 & 1) + 1 + (r_.lcr >> 2 & 1);
  const u64 divisor = r_.divisor ? r_.divisor : 0x10000;
  return bits * divisor * 1'000'000'000 / base_clock_hz;
}

/// PC16550D 8.4.1: four character times without a character coming or going, and at least one in the FIFO.
void Serial::restart_timeout() {
  if (fifos_on() && r_.rx_count > 0 && !r_.timeout_pending) {
    timeout_at_ = clock_.now_ns() + 4 * character_ns();
    if (!paused_) timer_->arm(timeout_at_);
  } else if (timeout_at_ != 0) {
    timeout_at_ = 0;
    timer_->cancel();
  }
}

void Serial::on_timeout() {
  std::lock_guard lock(mutex_);
  if (paused_ || timeout_at_ == 0) return;
  if (clock_.now_ns() < timeout_at_) {  // armed anew while this call was on its way
    timer_->arm(timeout_at_);
    return;
  }
  timeout_at_ = 0;
  r_.timeout_pending = r_.rx_count > 0;
  update_irq();
}

std::size_t Serial::input(std::span<const u8> data) {
  std::lock_guard lock(mutex_);
  std::size_t taken = 0;
  if (!paused_ && !loopback()) {
    for (; taken < data.size() && r_.rx_count < rx_capacity(); ++taken) push_received(data[taken], 0);
  }
  input_waits_ = taken < data.size();
  update_irq();
  return taken;
}

void Serial::output_room() {
  std::lock_guard lock(mutex_);
  if (paused_ || r_.tx_count == 0) return;
  transmit();
  update_irq();
}

void Serial::connected(bool present) {
  std::lock_guard lock(mutex_);
  line_inputs_ = present ? wired_up : u8{0};
  if (!loopback()) set_modem_inputs(line_inputs_);
  update_irq();
}

void Serial::receive_break() {
  std::lock_guard lock(mutex_);
  if (paused_ || loopback()) return;
  push_received(0, lsr_break);
  update_irq();
}

void Serial::reset_locked() {
  r_ = Registers{};
  r_.lsr = lsr_thre | lsr_temt;
  r_.msr = line_inputs_;
  timeout_at_ = 0;
  timer_->cancel();
  irq_.set(false);
}

void Serial::reset() {
  std::lock_guard lock(mutex_);
  reset_locked();
  if (input_waits_ && backend_) backend_->input_room();
  input_waits_ = false;
}

void Serial::pause() {
  std::lock_guard lock(mutex_);
  paused_ = true;
  timer_->cancel();
}

void Serial::resume() {
  std::lock_guard lock(mutex_);
  paused_ = false;
  if (timeout_at_ != 0) timer_->arm(timeout_at_);
  if (r_.tx_count > 0) transmit();
  update_irq();
  if (backend_) backend_->input_room();  // what arrived meanwhile was refused
  input_waits_ = false;
}

void Serial::save(state::Writer& out) const {
  std::lock_guard lock(mutex_);
  for (u8 value : {r_.ier, r_.lcr, r_.mcr, r_.lsr, r_.msr, r_.scr, r_.fcr}) out.put(value);
  out.put(r_.divisor);
  out.put(r_.thre_pending);
  out.put(r_.timeout_pending);
  const u64 now = clock_.now_ns();
  out.put<u64>(timeout_at_ == 0 ? 0 : timeout_at_ > now ? timeout_at_ - now : 1);  // ns left, 0 = none runs
  out.put(r_.rx_count);
  for (unsigned i = 0; i < r_.rx_count; ++i) {
    const Received& c = r_.rx[(r_.rx_head + i) % fifo_size];
    out.put(c.data);
    out.put(c.errors);
  }
  out.put(r_.tx_count);
  for (unsigned i = 0; i < r_.tx_count; ++i) out.put(r_.tx[(r_.tx_head + i) % fifo_size]);
}

Result<> Serial::restore(state::Reader& in) {
  std::lock_guard lock(mutex_);
  Registers r;
  for (u8* value : {&r.ier, &r.lcr, &r.mcr, &r.lsr, &r.msr, &r.scr, &r.fcr}) in.get(*value);
  in.get(r.divisor);
  in.get(r.thre_pending);
  in.get(r.timeout_pending);
  const u64 left = in.get<u64>();
  in.get(r.rx_count);
  if (r.rx_count > fifo_size) in.reject("more characters received than the FIFO holds");
  for (unsigned i = 0; i < r.rx_count && i < fifo_size; ++i) {
    in.get(r.rx[i].data);
    r.rx[i].errors = in.get<u8>() & lsr_character_errors;
  }
  in.get(r.tx_count);
  if (r.tx_count > fifo_size) in.reject("more characters to send than the FIFO holds");
  for (unsigned i = 0; i < r.tx_count && i < fifo_size; ++i) in.get(r.tx[i]);
  if (!(r.fcr & 1) && (r.rx_count > 1 || r.tx_count > 1)) in.reject("several characters without FIFOs");
  if (left > 3'600'000'000'000) in.reject("a character timeout of more than an hour");
  if (auto done = in.finish(); !done) {
    reset_locked();
    return done;
  }
  r.ier &= 0xf;
  r.mcr &= 0x1f;
  r.fcr = (r.fcr & 1) ? r.fcr & 0xc9 : 0;
  r_ = r;
  const u8 thr_empty = lsr_thre | lsr_temt;
  r_.lsr = static_cast<u8>((r_.lsr & ~thr_empty) | (r_.tx_count == 0 ? thr_empty : 0));
  update_line_status();
  timeout_at_ = left && r_.rx_count > 0 && fifos_on() ? clock_.now_ns() + left : 0;
  update_irq();
  return {};
}

}  // namespace nagaya::devices
