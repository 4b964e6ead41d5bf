// Exceptions and interrupts: what is delivered, and what follows when a delivery faults. Intel SDM vol. 3, ch. 6, 17.
#include "engine/soft/light/deliver.hpp"

#include "engine/soft/light/deliver_detail.hpp"

namespace nagaya::engine::soft {
namespace {

enum class Class : u8 { benign, contributory, page_fault, double_fault };

Class class_of(u8 vector) {
  switch (vector) {
    case vec_de:
    case vec_ts:
    case vec_np:
    case vec_ss:
    case vec_gp:
      return Class::contributory;
    case vec_pf:
      return Class::page_fault;
    case vec_df:
      return Class::double_fault;
    default:
      return Class::benign;
  }
}

// RF is set in the image that fault-class exceptions push; instruction breakpoints (#DB), traps and #DF push it as it
// is.
bool sets_rf(u8 vector) {
  return vector != vec_db && vector != vec_bp && vector != vec_of && vector != vec_df && vector != vec_mc;
}

Event event_of(SoftCpu& cpu, const Fault& fault) {
  Event event;
  event.vector = fault.vector;
  event.has_code = fault.has_code;
  event.code = fault.code;
  event.rip = cpu.s.rip;
  event.flags = cpu.s.rflags;
  if (fault.software) {
    const auto how = static_cast<SoftInt>(cpu.sys.soft_kind);
    event.software = how != SoftInt::icebp;
    event.iopl_checked = how == SoftInt::int_n;
    event.ext = how == SoftInt::icebp;
    event.rip = cpu.sys.soft_next_rip;
    event.has_code = false;
  } else if (sets_rf(fault.vector)) {
    event.flags |= flag_rf;
  }
  return event;
}

// What a debug exception does to the debug registers as it is taken. SDM vol. 3, 17.2.
void take_debug(SoftCpu& cpu, const Fault& fault) {
  if (fault.vector != vec_db || fault.software) return;
  cpu.s.dr6 = (cpu.s.dr6 & ~0xfull) | fault.dr6_bits;
  cpu.s.dr7 &= ~0x2000ull;      // GD
  cpu.s.msr.debugctl &= ~3ull;  // LBR, BTF
}

bool deliver_once(SoftCpu& cpu, const Event& event) {
  if (!protected_mode(cpu)) return deliver_real(cpu, event);
  return long_mode(cpu) ? deliver_long(cpu, event) : deliver_protected(cpu, event);
}

bool shut_down(SoftCpu& cpu) {
  cpu.fault = {};
  cpu.s.run_state = x86::RunState::shutdown;
  cpu.leave = Leave::shutdown;
  return false;
}

bool deliver(SoftCpu& cpu, Event event, Class first, const Fault& original) {
  for (;;) {
    cpu.fault = {};
    cpu.need_heavy = false;
    if (deliver_once(cpu, event)) {
      cpu.s.events.interrupt_shadow = cpu.s.events.mov_ss_shadow = false;
      cpu.fault = {};
      return true;
    }
    if (cpu.need_heavy) {
      cpu.fault = original;  // the same delivery starts again in heavy mode
      return false;
    }
    const Fault second = cpu.fault;
    const Class next = class_of(second.vector);
    if (first == Class::double_fault && next != Class::benign) return shut_down(cpu);
    const bool twice = (first == Class::contributory && next == Class::contributory) ||
                       (first == Class::page_fault && next != Class::benign);
    if (twice) {
      event = Event{};
      event.vector = vec_df;
      event.has_code = true;
      event.rip = cpu.s.rip;
      event.flags = cpu.s.rflags;
      first = Class::double_fault;
    } else {
      take_debug(cpu, second);
      event = event_of(cpu, second);
      first = next;
    }
  }
}

}  // namespace

bool raise(SoftCpu& cpu, u8 vector) {
  cpu.fault = {};
  cpu.fault.pending = true;
  cpu.fault.vector = vector;
  return false;
}

bool raise(SoftCpu& cpu, u8 vector, u32 code) {
  raise(cpu, vector);
  cpu.fault.has_code = true;
  cpu.fault.code = code;
  return false;
}

bool raise_software(SoftCpu& cpu, u8 vector, u64 next_rip, SoftInt how) {
  raise(cpu, vector);
  cpu.fault.software = true;
  cpu.sys.soft_next_rip = next_rip;
  cpu.sys.soft_kind = static_cast<u8>(how);
  return false;
}

bool raise_debug(SoftCpu& cpu, u64 dr6_bits) {
  raise(cpu, vec_db);
  cpu.fault.dr6_bits = dr6_bits;
  return false;
}

bool deliver_fault(SoftCpu& cpu) {
  const Fault fault = cpu.fault;
  take_debug(cpu, fault);
  return deliver(cpu, event_of(cpu, fault), fault.software ? Class::benign : class_of(fault.vector), fault);
}

bool deliver_interrupt(SoftCpu& cpu, u8 vector, bool nmi) {
  ++(nmi ? cpu.count.nmis : cpu.count.interrupts);
  Event event;
  event.vector = nmi ? u8{vec_nmi} : vector;
  event.rip = cpu.s.rip;
  event.flags = cpu.s.rflags;
  const bool done = deliver(cpu, event, Class::benign, Fault{});
  if (done && nmi) cpu.s.events.nmi_blocked = true;
  if (done && cpu.s.run_state == x86::RunState::halted) cpu.s.run_state = x86::RunState::running;
  return done;
}

}  // namespace nagaya::engine::soft
