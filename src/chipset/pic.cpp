#include "chipset/pic.hpp"

#include "bus/bytes.hpp"
#include "chipset/irqchip_archive.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::chipset {
namespace {

using x86::PicState;
namespace pc = x86::pc;

constexpr u8 cascade = 2;
// Lines that may be level-triggered: not the timer, keyboard and cascade, not the clock and coprocessor.
constexpr std::array<u8, 2> elcr_writable{0xf8, 0xde};
/// Step of initialization: which command word comes next. Same numbers as KVM's saved state.
enum Init : u8 { ready = 0, want_icw2 = 1, want_icw3 = 2, want_icw4 = 3 };

/// Distance of the highest-priority bit from the top of the rotation; 8 when none is set.
unsigned priority(const PicState& chip, u8 bits) {
  if (bits == 0) return 8;
  unsigned level = 0;
  while (!(bits >> ((level + chip.priority_add) & 7) & 1)) ++level;
  return level;
}

/// The input that requests service now, or -1.
int request(const PicState& chip, bool master) {
  const unsigned level = priority(chip, chip.irr & static_cast<u8>(~chip.imr));
  if (level == 8) return -1;
  u8 in_service = chip.isr;
  if (chip.special_mask) in_service &= static_cast<u8>(~chip.imr);
  // Special fully nested mode: a slave in service may interrupt again.
  if (chip.special_fully_nested && master) in_service &= static_cast<u8>(~(1 << cascade));
  return level < priority(chip, in_service) ? static_cast<int>((level + chip.priority_add) & 7) : -1;
}

/// INTA or poll: the request goes into service.
void take(PicState& chip, unsigned input) {
  const u8 bit = static_cast<u8>(1 << input);
  if (chip.auto_eoi) {
    if (chip.rotate_on_auto_eoi) chip.priority_add = (input + 1) & 7;
  } else {
    chip.isr |= bit;
  }
  if (!(chip.elcr & bit)) chip.irr &= static_cast<u8>(~bit);
}

/// An edge stays requested until served, as on the chips that PC emulators model: devices here may pulse a line.
void drive(PicState& chip, unsigned input, bool level) {
  const u8 bit = static_cast<u8>(1 << input);
  if (chip.elcr & bit) {
    if (level) chip.irr |= bit;
    if (!level) chip.irr &= static_cast<u8>(~bit);
  } else if (level && !(chip.last_irr & bit)) {
    chip.irr |= bit;
  }
  if (level) chip.last_irr |= bit;
  if (!level) chip.last_irr &= static_cast<u8>(~bit);
}

/// ICW1 clears all but the lines' levels and the ELCR.
void start_initialization(PicState& chip, u8 icw1) {
  PicState next;
  next.elcr = chip.elcr;
  next.elcr_mask = chip.elcr_mask;
  next.last_irr = chip.last_irr;
  next.irr = chip.irr & chip.elcr;
  next.irq_base = chip.irq_base;
  next.init_state = want_icw2;
  next.init4 = icw1 & 1;
  chip = next;
}

void write_ocw2(PicState& chip, u8 value) {
  const unsigned command = value >> 5, named = value & 7;
  auto end = [&](unsigned input) { chip.isr &= static_cast<u8>(~(1 << input)); };
  switch (command) {
    case 0:
    case 4:
      chip.rotate_on_auto_eoi = command >> 2;
      break;
    case 1:
    case 5: {  // non-specific EOI: the highest in service, skipping masked ones in special mask mode
      u8 in_service = chip.isr;
      if (chip.special_mask) in_service &= static_cast<u8>(~chip.imr);
      const unsigned level = priority(chip, in_service);
      if (level == 8) break;
      const unsigned input = (level + chip.priority_add) & 7;
      end(input);
      if (command == 5) chip.priority_add = (input + 1) & 7;
      break;
    }
    case 3:
      end(named);
      break;
    case 6:
      chip.priority_add = (named + 1) & 7;
      break;
    case 7:
      end(named);
      chip.priority_add = (named + 1) & 7;
      break;
    default:
      break;
  }
}

void write_command(PicState& chip, u8 value) {
  if (value & 0x10) {
    start_initialization(chip, value);
  } else if (value & 0x08) {  // OCW3
    if (value & 0x04) chip.poll = 1;
    if (value & 0x02) chip.read_reg_select = value & 1;
    if (value & 0x40) chip.special_mask = value >> 5 & 1;
  } else {
    write_ocw2(chip, value);
  }
}

void write_data(PicState& chip, u8 value) {
  switch (chip.init_state) {
    case want_icw2:
      chip.irq_base = value & 0xf8;
      chip.init_state = want_icw3;  // a PC's pair is never single, whatever ICW1 says
      break;
    case want_icw3:
      chip.init_state = chip.init4 ? want_icw4 : ready;
      break;
    case want_icw4:
      chip.special_fully_nested = value >> 4 & 1;
      chip.auto_eoi = value >> 1 & 1;
      chip.init_state = ready;
      break;
    default:
      chip.imr = value;
      break;
  }
}

}  // namespace

Pic::Pic(u16 elcr)
    : reset_elcr_(elcr),
      master_(*this, pc::pic_master_port),
      slave_(*this, pc::pic_slave_port),
      elcr_(*this, pc::elcr_port) {
  reset_locked();
}

Result<> Pic::attach(bus::AddressMap& ports) {
  TRY(ports.add(pc::pic_master_port, 2, master_, "pic0"));
  TRY(ports.add(pc::pic_slave_port, 2, slave_, "pic1"));
  return ports.add(pc::elcr_port, 2, elcr_, "elcr");
}

void Pic::on_intr(std::function<void(bool)> listener) {
  std::lock_guard lock(mutex_);
  on_intr_ = std::move(listener);
}

void Pic::set_irq(unsigned irq, bool level) {
  if (irq > 15 || irq == cascade) return;
  std::lock_guard lock(mutex_);
  drive(chip_[irq / 8], irq % 8, level);
  update();
}

/// The slave's output is the master's IR2; the master's output is INTR.
void Pic::update() {
  auto& [master, slave] = chip_;
  const u8 bit = 1 << cascade;
  if (request(slave, false) >= 0) {
    master.irr |= bit;
  } else {
    master.irr &= static_cast<u8>(~bit);
  }
  const bool intr = request(master, true) >= 0;
  if (intr == intr_) return;
  intr_ = intr;
  if (on_intr_) on_intr_(intr);
}

u8 Pic::acknowledge() {
  std::lock_guard lock(mutex_);
  auto& [master, slave] = chip_;
  u8 vector = 0;
  if (const int input = request(master, true); input < 0) {
    vector = master.irq_base + 7;
  } else if (input != cascade) {
    take(master, static_cast<unsigned>(input));
    vector = master.irq_base + static_cast<u8>(input);
  } else {
    take(master, cascade);
    const int second = request(slave, false);
    if (second >= 0) take(slave, static_cast<unsigned>(second));
    vector = slave.irq_base + static_cast<u8>(second < 0 ? 7 : second);
  }
  update();
  return vector;
}

bool Pic::intr() const {
  std::lock_guard lock(mutex_);
  return intr_;
}

u8 Pic::read_port(u64 port) {
  if (port == pc::elcr_port || port == pc::elcr_port + 1) return chip_[port - pc::elcr_port].elcr;
  const bool second = port >= pc::pic_slave_port;
  if ((port & ~u64{0x81}) != pc::pic_master_port) return 0xff;
  PicState& chip = chip_[second];
  if (chip.poll) {  // the read that follows a poll command acknowledges
    chip.poll = 0;
    const int input = request(chip, !second);
    if (input < 0) return 0x07;
    take(chip, static_cast<unsigned>(input));
    update();
    return static_cast<u8>(0x80 | input);
  }
  if (port & 1) return chip.imr;
  return chip.read_reg_select ? chip.isr : chip.irr;
}

void Pic::write_port(u64 port, u8 value) {
  if (port == pc::elcr_port || port == pc::elcr_port + 1) {
    PicState& chip = chip_[port - pc::elcr_port];
    chip.elcr = value & chip.elcr_mask;
    // A line that became level-triggered requests exactly while it is high.
    chip.irr = static_cast<u8>((chip.irr & ~chip.elcr) | (chip.last_irr & chip.elcr));
  } else if ((port & ~u64{0x81}) == pc::pic_master_port) {
    PicState& chip = chip_[port >= pc::pic_slave_port];
    if (port & 1) {
      write_data(chip, value);
    } else {
      write_command(chip, value);
    }
  }
  update();
}

// The chips have byte registers; a wider access is one access to each port.
void Pic::io_read(u64 port, std::span<u8> data) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = read_port(port + i);
}

void Pic::io_write(u64 port, std::span<const u8> data) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) write_port(port + i, data[i]);
}

void Pic::reset_locked() {
  for (unsigned i = 0; i < 2; ++i) {
    chip_[i] = PicState{};
    chip_[i].elcr_mask = elcr_writable[i];
    chip_[i].elcr = static_cast<u8>(reset_elcr_ >> (8 * i)) & elcr_writable[i];
  }
  update();
}

void Pic::reset() {
  std::lock_guard lock(mutex_);
  reset_locked();
}

std::array<PicState, 2> Pic::state() const {
  std::lock_guard lock(mutex_);
  return chip_;
}

void Pic::set_state(const std::array<PicState, 2>& state) {
  std::lock_guard lock(mutex_);
  chip_ = state;
  for (unsigned i = 0; i < 2; ++i) {  // only values the chip can have
    PicState& chip = chip_[i];
    chip.elcr_mask = elcr_writable[i];
    chip.elcr &= elcr_writable[i];
    chip.priority_add &= 7;
    chip.irq_base &= 0xf8;
    chip.init_state &= 3;
    for (u8* flag : {&chip.read_reg_select, &chip.poll, &chip.special_mask, &chip.auto_eoi, &chip.rotate_on_auto_eoi,
                     &chip.special_fully_nested, &chip.init4}) {
      *flag = *flag != 0;
    }
  }
  intr_ = request(chip_[0], true) >= 0;
  // Told even when it is as before: who listens may have been made since the level last changed.
  if (on_intr_) on_intr_(intr_);
}

void Pic::save(state::Writer& out) const { put(out, state()); }

Result<> Pic::restore(state::Reader& in) {
  const auto state = get_pic(in);
  if (auto result = in.finish(); !result) {
    reset();
    return result;
  }
  set_state(state);
  return {};
}

}  // namespace nagaya::chipset
