#include "machine/cpu_archive.hpp"

#include <fmt/format.h>

namespace nagaya::machine {
namespace {

constexpr u32 most_cpuid_entries = 1024;

/// One order of all fields for both directions: `io(field)` writes or reads each.
template <class Io>
void segments(x86::CpuState& s, Io& io) {
  const auto one = [&](x86::Segment& seg) {
    io(seg.base), io(seg.limit), io(seg.selector), io(seg.attr), io(seg.unusable);
  };
  for (x86::Segment& seg : s.seg) one(seg);
  one(s.ldtr), one(s.tr);
  io(s.gdtr.base), io(s.gdtr.limit), io(s.idtr.base), io(s.idtr.limit);
}

template <class Io>
void msrs(x86::Msrs& m, Io& io) {
  for (u64* field : {&m.efer, &m.star, &m.lstar, &m.cstar, &m.sfmask, &m.kernel_gs_base, &m.sysenter_cs, &m.sysenter_esp,
                     &m.sysenter_eip, &m.tsc, &m.tsc_aux, &m.tsc_adjust, &m.pat, &m.misc_enable, &m.mtrr_def_type}) {
    io(*field);
  }
  for (u64& field : m.mtrr_fixed) io(field);
  for (u64& field : m.mtrr_var) io(field);
  for (u64* field : {&m.debugctl, &m.spec_ctrl, &m.xss, &m.kvm_wall_clock, &m.kvm_system_time, &m.kvm_async_pf_en,
                     &m.kvm_async_pf_int, &m.kvm_steal_time, &m.kvm_pv_eoi, &m.kvm_poll_control}) {
    io(*field);
  }
}

template <class Io>
void all(x86::CpuState& s, Io& io) {
  for (u64& field : s.gpr) io(field);
  io(s.rip), io(s.rflags);
  segments(s, io);
  io(s.cr0), io(s.cr2), io(s.cr3), io(s.cr4), io(s.cr8), io(s.xcr0);
  for (u64& field : s.dr) io(field);
  io(s.dr6), io(s.dr7);
  msrs(s.msr, io);
  io(s.apic_base), io(s.run_state);
  x86::PendingEvents& e = s.events;
  io(e.exception_pending), io(e.vector), io(e.has_error_code), io(e.error_code), io(e.interrupt_shadow),
      io(e.mov_ss_shadow), io(e.nmi_pending), io(e.nmi_blocked);
}

}  // namespace

void put(state::Writer& out, const x86::CpuState& state) {
  x86::CpuState copy = state;
  const auto io = [&](auto& field) { out.put(field); };
  all(copy, io);
  out.put(static_cast<u32>(x86::xsave_size));
  out.put_bytes(std::span(state.xsave).first(x86::xsave_size));
}

Result<x86::CpuState> get_cpu(state::Reader& in) {
  x86::CpuState state;
  const auto io = [&](auto& field) { in.get(field); };
  all(state, io);
  if (state.run_state > x86::RunState::shutdown) in.reject("the run state is none");
  if (state.events.vector > 31) in.reject("an exception's vector is past 31");
  if (in.get<u32>() != x86::xsave_size) {
    in.reject("the XSAVE image has another size");
  } else {
    in.get_bytes(std::span(state.xsave).first(x86::xsave_size));
  }
  TRY(in.finish());
  return state;
}

void put(state::Writer& out, const std::vector<x86::CpuidEntry>& table) {
  out.put(static_cast<u32>(table.size()));
  for (const x86::CpuidEntry& e : table) {
    out.put(e.function), out.put(e.index), out.put(e.significant_index);
    out.put(e.eax), out.put(e.ebx), out.put(e.ecx), out.put(e.edx);
  }
}

Result<std::vector<x86::CpuidEntry>> get_cpuid(state::Reader& in) {
  const u32 count = in.get<u32>();
  if (count > most_cpuid_entries) return fail("saved CPUID table", fmt::format("{} entries", count));
  std::vector<x86::CpuidEntry> table(count);
  for (x86::CpuidEntry& e : table) {
    in.get(e.function), in.get(e.index), in.get(e.significant_index);
    in.get(e.eax), in.get(e.ebx), in.get(e.ecx), in.get(e.edx);
  }
  TRY(in.finish());
  return table;
}

}  // namespace nagaya::machine
