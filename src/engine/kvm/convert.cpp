#include "engine/kvm/convert.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace nagaya::engine::kvm {
namespace {

using x86::CpuState;
using x86::Segment;

kvm_segment segment(const Segment& in) {
  kvm_segment out{};
  out.base = in.base;
  out.limit = in.limit;
  out.selector = in.selector;
  out.type = in.type();
  out.s = in.s();
  out.dpl = in.dpl();
  out.present = in.present();
  out.avl = in.attr >> 12 & 1;
  out.l = in.l();
  out.db = in.db();
  out.g = in.g();
  out.unusable = in.unusable;
  return out;
}

Segment segment(const kvm_segment& in) {
  Segment out;
  out.base = in.base;
  out.limit = in.limit;
  out.selector = in.selector;
  out.attr = static_cast<u16>((in.type & 0xf) | (in.s & 1) << 4 | (in.dpl & 3) << 5 | (in.present & 1) << 7 |
                              (in.avl & 1) << 12 | (in.l & 1) << 13 | (in.db & 1) << 14 | (in.g & 1) << 15);
  out.unusable = in.unusable != 0;
  return out;
}

kvm_dtable table(const x86::TableRegister& in) { return {.base = in.base, .limit = in.limit, .padding = {}}; }
x86::TableRegister table(const kvm_dtable& in) { return {.base = in.base, .limit = in.limit}; }

}  // namespace

void to_kvm(const CpuState& state, kvm_regs& out) {
  const auto& g = state.gpr;
  out = {.rax = g[x86::RAX],
         .rbx = g[x86::RBX],
         .rcx = g[x86::RCX],
         .rdx = g[x86::RDX],
         .rsi = g[x86::RSI],
         .rdi = g[x86::RDI],
         .rsp = g[x86::RSP],
         .rbp = g[x86::RBP],
         .r8 = g[8],
         .r9 = g[9],
         .r10 = g[10],
         .r11 = g[11],
         .r12 = g[12],
         .r13 = g[13],
         .r14 = g[14],
         .r15 = g[15],
         .rip = state.rip,
         .rflags = state.rflags | 2};
}

void from_kvm(const kvm_regs& in, CpuState& state) {
  state.gpr = {in.rax, in.rcx, in.rdx, in.rbx, in.rsp, in.rbp, in.rsi, in.rdi,
               in.r8,  in.r9,  in.r10, in.r11, in.r12, in.r13, in.r14, in.r15};
  state.rip = in.rip;
  state.rflags = in.rflags;
}

void to_kvm(const CpuState& state, kvm_sregs& out) {
  out = {};
  out.es = segment(state.seg[x86::ES]);
  out.cs = segment(state.seg[x86::CS]);
  out.ss = segment(state.seg[x86::SS]);
  out.ds = segment(state.seg[x86::DS]);
  out.fs = segment(state.seg[x86::FS]);
  out.gs = segment(state.seg[x86::GS]);
  out.ldt = segment(state.ldtr);
  out.tr = segment(state.tr);
  out.gdt = table(state.gdtr);
  out.idt = table(state.idtr);
  out.cr0 = state.cr0;
  out.cr2 = state.cr2;
  out.cr3 = state.cr3;
  out.cr4 = state.cr4;
  out.cr8 = state.cr8;
  out.efer = state.msr.efer;
  out.apic_base = state.apic_base;
}

void from_kvm(const kvm_sregs& in, CpuState& state) {
  state.seg[x86::ES] = segment(in.es);
  state.seg[x86::CS] = segment(in.cs);
  state.seg[x86::SS] = segment(in.ss);
  state.seg[x86::DS] = segment(in.ds);
  state.seg[x86::FS] = segment(in.fs);
  state.seg[x86::GS] = segment(in.gs);
  state.ldtr = segment(in.ldt);
  state.tr = segment(in.tr);
  state.gdtr = table(in.gdt);
  state.idtr = table(in.idt);
  state.cr0 = in.cr0;
  state.cr2 = in.cr2;
  state.cr3 = in.cr3;
  state.cr4 = in.cr4;
  state.cr8 = in.cr8;
  state.msr.efer = in.efer;
  state.apic_base = in.apic_base;
}

void to_kvm(const CpuState& state, kvm_debugregs& out) {
  out = {};
  std::copy(state.dr.begin(), state.dr.end(), out.db);
  out.dr6 = state.dr6;
  out.dr7 = state.dr7;
}

void from_kvm(const kvm_debugregs& in, CpuState& state) {
  std::copy(std::begin(in.db), std::end(in.db), state.dr.begin());
  state.dr6 = in.dr6;
  state.dr7 = in.dr7;
}

Result<> to_kvm(const CpuState& state, kvm_vcpu_events& out) {
  const x86::PendingEvents& events = state.events;
  out = {};
  if (events.exception_pending) {
    if (events.vector > 31 || events.vector == 2)
      return fail(fmt::format("the saved processor waits for exception {}, which does not exist", events.vector));
    out.exception.injected = 1;
    out.exception.nr = events.vector;
    out.exception.has_error_code = events.has_error_code;
    out.exception.error_code = events.error_code;
  }
  if (events.interrupt_shadow) out.interrupt.shadow |= KVM_X86_SHADOW_INT_STI;
  if (events.mov_ss_shadow) out.interrupt.shadow |= KVM_X86_SHADOW_INT_MOV_SS;
  out.nmi.pending = events.nmi_pending;
  out.nmi.masked = events.nmi_blocked;
  out.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  return {};
}

void from_kvm(const kvm_vcpu_events& in, CpuState& state) {
  x86::PendingEvents events;
  events.exception_pending = in.exception.injected != 0;
  if (events.exception_pending) {
    events.vector = in.exception.nr;
    events.has_error_code = in.exception.has_error_code != 0;
    events.error_code = events.has_error_code ? in.exception.error_code : 0;
  }
  events.interrupt_shadow = in.interrupt.shadow & KVM_X86_SHADOW_INT_STI;
  events.mov_ss_shadow = in.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
  // An NMI whose delivery was broken off waits again, and does not block itself.
  events.nmi_pending = in.nmi.pending != 0 || in.nmi.injected != 0;
  events.nmi_blocked = in.nmi.masked != 0 && in.nmi.injected == 0;
  state.events = events;
}

kvm_mp_state to_kvm(x86::RunState run_state) {
  switch (run_state) {
    case x86::RunState::halted:
      return {KVM_MP_STATE_HALTED};
    case x86::RunState::wait_for_sipi:
      return {KVM_MP_STATE_INIT_RECEIVED};
    case x86::RunState::running:
    case x86::RunState::shutdown:
      break;
  }
  return {KVM_MP_STATE_RUNNABLE};
}

x86::RunState from_kvm(const kvm_mp_state& in) {
  switch (in.mp_state) {
    case KVM_MP_STATE_HALTED:
      return x86::RunState::halted;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
      return x86::RunState::wait_for_sipi;
    default:
      return x86::RunState::running;
  }
}

}  // namespace nagaya::engine::kvm
