// The processors' state as text.
#include <fmt/format.h>

#include "machine/machine.hpp"

namespace nagaya::machine {
namespace {

constexpr std::array gpr_names = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                  "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
constexpr std::array seg_names = {"ES", "CS", "SS", "DS", "FS", "GS"};
constexpr std::array run_states = {"running", "halted", "waits for start-up", "shut down"};

std::string one_segment(const char* name, const x86::Segment& s) {
  return fmt::format("{:<4} {:04x} base {:016x} limit {:08x} attr {:04x}{}\n", name, s.selector, s.base, s.limit, s.attr,
                     s.unusable ? " unusable" : "");
}

std::string print(unsigned id, const x86::CpuState& s) {
  std::string out = fmt::format("vcpu {}: {}\n", id, run_states[static_cast<std::size_t>(s.run_state) & 3]);
  for (std::size_t i = 0; i < gpr_names.size(); ++i) {
    out += fmt::format("{:<4} {:016x}{}", gpr_names[i], s.gpr[i], i % 4 == 3 ? "\n" : "  ");
  }
  out += fmt::format("RIP  {:016x}  FLAGS {:08x}\n", s.rip, s.rflags);
  out += fmt::format("CR0  {:08x}  CR2 {:016x}  CR3 {:016x}  CR4 {:08x}  CR8 {:x}  EFER {:x}\n", s.cr0, s.cr2, s.cr3, s.cr4,
                     s.cr8, s.msr.efer);
  for (std::size_t i = 0; i < seg_names.size(); ++i) out += one_segment(seg_names[i], s.seg[i]);
  out += one_segment("LDTR", s.ldtr) + one_segment("TR", s.tr);
  out += fmt::format("GDTR {:016x} {:04x}  IDTR {:016x} {:04x}\n", s.gdtr.base, s.gdtr.limit, s.idtr.base, s.idtr.limit);
  const x86::PendingEvents& e = s.events;
  if (e.exception_pending) out += fmt::format("pending: exception {}\n", e.vector);
  if (e.nmi_pending) out += "pending: NMI\n";
  return out;
}

}  // namespace

std::string Machine::registers() {
  const bool ran = !paused_;
  pause();
  std::string out;
  for (unsigned id = 0; id < config_.vcpus; ++id) {
    const auto state = cpu_state(id);
    out += state ? print(id, *state) : state.error().message() + "\n";
  }
  if (ran) resume();
  return out;
}

}  // namespace nagaya::machine
