// Registers of the local APIC as the guest reads and writes them: xAPIC page, x2APIC MSRs, APIC base.
#include "bus/bytes.hpp"
#include "chipset/lapic.hpp"
#include "chipset/lapic_layout.hpp"

namespace nagaya::chipset {

using namespace apic;

u32 Lapic::ldr() const {
  return x2apic() ? (config_.id >> 4) << 16 | u32{1} << (config_.id & 15) : u32{xapic_ldr_} << 24;
}

bool Lapic::read_register(u32 offset, u32& value) const {
  value = 0;
  if (offset >= reg_isr && offset < reg_esr) {
    const u32 word = (offset - reg_isr) / 16;
    value = (word < 8 ? isr_ : word < 16 ? tmr_ : irr_).words[word % 8];
    return true;
  }
  if (offset >= reg_lvt && offset < reg_lvt + 16 * lvt_count) {
    value = lvt_[(offset - reg_lvt) / 16];
    return true;
  }
  switch (offset) {
    case reg_id:
      value = x2apic() ? config_.id : u32{xapic_id_} << 24;
      return true;
    case reg_version:
      value = version;
      return true;
    case reg_tpr:
      value = tpr_;
      return true;
    case reg_ppr:
      value = ppr();
      return true;
    case reg_ldr:
      value = ldr();
      return true;
    case reg_svr:
      value = svr_;
      return true;
    case reg_esr:
      value = esr_;
      return true;
    case reg_icr:
      value = icr_low_;
      return true;
    case reg_initial_count:
      value = initial_count_;
      return true;
    case reg_current_count:
      value = current_count();
      return true;
    case reg_divide:
      value = divide_;
      return true;
    // Only in the page:
    case reg_apr:
    case reg_rrd:
    case reg_eoi:
      return !x2apic();
    case reg_dfr:
      value = dfr_;
      return !x2apic();
    case reg_icr_high:
      value = icr_high_;
      return !x2apic();
    default:
      return false;
  }
}

u32 Lapic::lvt_mask(Lvt entry) const {
  switch (entry) {
    case lvt_timer:
      return config_.tsc_hz ? 0x710ff : 0x310ff;
    case lvt_error:
      return 0x110ff;
    case lvt_lint0:
    case lvt_lint1:
      return 0x1f7ff;
    default:
      return 0x117ff;
  }
}

void Lapic::write_lvt(Lvt entry, u32 value, After& after) {
  value &= lvt_mask(entry) & ~(lvt_status | lvt_remote_irr);
  if (!sw_enabled()) value |= lvt_masked;
  if (entry == lvt_timer) change_timer_mode(value);
  const u32 remote = lvt_[entry] & lvt_remote_irr;
  lvt_[entry] = value | (value & lvt_level ? remote : 0);
  if (entry == lvt_lint0 && lint0_ && value & lvt_level) deliver_local(lvt_lint0, after);
}

/// Disabling by software masks all LVT entries (SDM vol. 3, 11.4.7.2).
void Lapic::write_svr(u32 value) {
  svr_ = value & svr_defined;
  if (sw_enabled()) return;
  for (u32& lvt : lvt_) lvt |= lvt_masked;
}

void Lapic::raise_error(u32 bits, After& after) {
  errors_ |= bits;
  deliver_local(lvt_error, after);
}

void Lapic::write_icr(u64 value, After& after) {
  icr_low_ = static_cast<u32>(value) & 0x000c'cfff;
  icr_high_ = static_cast<u32>(value >> 32);
  const auto mode = static_cast<DeliveryMode>(value >> 8 & 7);
  if ((mode == DeliveryMode::fixed || mode == DeliveryMode::lowest) && static_cast<u8>(value) < 16) {
    raise_error(error_send_vector, after);
    return;
  }
  after.send = true;
  after.icr = value;
  after.x2apic = x2apic();
}

/// Registers that the page and the MSRs share. False when there is nothing to write at `offset`.
bool Lapic::write_register(u32 offset, u32 value, After& after) {
  if (offset >= reg_lvt && offset < reg_lvt + 16 * lvt_count) {
    write_lvt(static_cast<Lvt>((offset - reg_lvt) / 16), value, after);
    return true;
  }
  switch (offset) {
    case reg_tpr:
      tpr_ = static_cast<u8>(value);
      return true;
    case reg_eoi:
      end_of_interrupt(after);
      return true;
    case reg_svr:
      write_svr(value);
      return true;
    case reg_esr:
      esr_ = errors_;
      errors_ = 0;
      return true;
    case reg_initial_count:
      start_count(value);
      return true;
    case reg_divide:
      change_divide(value & divide_defined);
      return true;
    default:
      return false;
  }
}

// Registers are 32 bits wide at 16-byte steps (SDM vol. 3, 11.4.1); what lies between reads as zero.
void Lapic::mmio_read(u32 offset, std::span<u8> data) {
  After after;
  u32 value = 0;
  {
    std::lock_guard lock(mutex_);
    if (!read_register(offset & 0xff0, value)) raise_error(error_register, after);
    update(after);
  }
  finish(after);
  const u32 byte = offset & 0xf;
  bus::store_le(data, byte < 4 ? u64{value} >> (8 * byte) : 0);
}

void Lapic::mmio_write(u32 offset, std::span<const u8> data) {
  if (data.size() != 4 || offset & 0xf) return;
  const u32 value = static_cast<u32>(bus::load_le(data));
  offset &= 0xff0;
  After after;
  {
    std::lock_guard lock(mutex_);
    if (!hw_enabled() || x2apic()) return;  // the page moved away while this access was under way
    switch (offset) {
      case reg_id:
        xapic_id_ = static_cast<u8>(value >> 24);
        break;
      case reg_ldr:
        xapic_ldr_ = static_cast<u8>(value >> 24);
        break;
      case reg_dfr:
        dfr_ = value | 0x0fff'ffff;
        break;
      case reg_icr:
        write_icr(u64{icr_high_} << 32 | value, after);
        break;
      case reg_icr_high:
        icr_high_ = value & 0xff00'0000;
        break;
      default: {
        u32 ignored = 0;
        if (!write_register(offset, value, after) && !read_register(offset, ignored))
          raise_error(error_register, after);
      }
    }
    publish();
    update(after);
  }
  finish(after);
}

/// Writes that set a reserved bit or aim at a read-only register fault (SDM vol. 3, 11.12.1.3).
bool Lapic::write_x2apic(u32 offset, u64 value, After& after) {
  u64 defined = 0;
  switch (offset) {
    case reg_icr: {
      constexpr u64 reserved = 0xfff0'0000 | 3 << 16 | 1 << 13;
      if (value & reserved) return false;
      write_icr(value, after);
      return true;
    }
    case reg_self_ipi:
      if (value > 0xff) return false;
      if (value < 16) {
        raise_error(error_send_vector, after);
      } else if (sw_enabled()) {
        request(static_cast<u8>(value), false, after);
      }
      return true;
    case reg_eoi:
    case reg_esr:
      break;
    case reg_tpr:
      defined = 0xff;
      break;
    case reg_svr:
      defined = svr_defined;
      break;
    case reg_initial_count:
      defined = 0xffff'ffff;
      break;
    case reg_divide:
      defined = divide_defined;
      break;
    default:
      if (offset < reg_lvt || offset >= reg_lvt + 16 * lvt_count) return false;
      defined = lvt_mask(static_cast<Lvt>((offset - reg_lvt) / 16));
  }
  return !(value & ~defined) && write_register(offset, static_cast<u32>(value), after);
}

bool Lapic::read_msr(u32 index, u64& value) {
  std::lock_guard lock(mutex_);
  value = 0;
  if (index == msr_apic_base) {
    value = base_;
    return true;
  }
  if (index == msr_tsc_deadline) {
    value = deadline_;
    return config_.tsc_hz != 0;
  }
  if (index < msr_x2apic_first || index > msr_x2apic_last || !x2apic()) return false;
  const u32 offset = (index - msr_x2apic_first) * 16;
  u32 low = 0;
  if (!read_register(offset, low)) return false;
  value = low;
  if (offset == reg_icr) value |= u64{icr_high_} << 32;
  return true;
}

bool Lapic::write_msr(u32 index, u64 value) {
  After after;
  {
    std::lock_guard lock(mutex_);
    bool good = false;
    if (index == msr_apic_base) {
      good = write_base(value, after);
    } else if (index == msr_tsc_deadline) {
      good = config_.tsc_hz != 0;
      if (good) set_deadline(value, after);
    } else if (index >= msr_x2apic_first && index <= msr_x2apic_last && x2apic()) {
      good = write_x2apic((index - msr_x2apic_first) * 16, value, after);
    }
    if (!good) return false;
    update(after);
  }
  finish(after);
  return true;
}

bool Lapic::valid_base(u64 value) const {
  const u64 address_bits = config_.physical_bits >= 64 ? ~u64{0} : (u64{1} << config_.physical_bits) - 1;
  const u64 defined = (address_bits & ~u64{0xfff}) | base_enabled | base_bsp | (config_.x2apic ? base_x2apic : 0);
  return !(value & ~defined) && (value & (base_enabled | base_x2apic)) != base_x2apic;
}

/// Transitions of SDM vol. 3, figure 11-27: x2APIC is entered from xAPIC only and left through disabled only.
bool Lapic::write_base(u64 value, After& after) {
  if (!valid_base(value)) return false;
  const bool to_x2apic = value & base_x2apic, to_enabled = value & base_enabled;
  if (x2apic() && to_enabled && !to_x2apic) return false;
  if (!hw_enabled() && to_x2apic) return false;
  const bool disables = hw_enabled() && !to_enabled, enters_x2apic = !x2apic() && to_x2apic;
  base_ = value;
  if (disables) {  // the next enabling finds the state of power-on, but no firmware's virtual wire
    const u8 tpr = tpr_;
    clear_registers(false);
    tpr_ = tpr;
    xapic_id_ = static_cast<u8>(config_.id);
  }
  if (enters_x2apic) icr_high_ = 0;
  publish();
  update(after);
  return true;
}

}  // namespace nagaya::chipset
