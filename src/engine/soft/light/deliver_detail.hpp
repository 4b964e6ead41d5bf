// Between the files that deliver events.
#pragma once
#include "engine/soft/light/deliver.hpp"
#include "engine/soft/light/stack.hpp"

namespace nagaya::engine::soft {

/// One event on its way through the IDT.
struct Event {
  u8 vector = 0;
  bool has_code = false;
  bool software = false;      ///< INT n, INT3, INTO: the gate's DPL is checked
  bool iopl_checked = false;  ///< INT n in virtual-8086 mode
  unsigned ext = 1;           ///< EXT bit of error codes raised on the way
  u32 code = 0;
  u64 rip = 0;    ///< to push
  u64 flags = 0;  ///< to push
};

bool deliver_real(SoftCpu& cpu, const Event& event);
bool deliver_protected(SoftCpu& cpu, const Event& event);
bool deliver_long(SoftCpu& cpu, const Event& event);

/// The pointer to the stack of ring `ring` in the current 16- or 32-bit TSS. `ext`: EXT for the error code.
bool tss_stack(SoftCpu& cpu, unsigned ring, unsigned ext, u16& ss, u32& esp);
/// RSP of ring `ring`, or of IST entry `ist` when not 0, in the current 64-bit TSS.
bool tss_stack64(SoftCpu& cpu, unsigned ring, unsigned ist, unsigned ext, u64& rsp);
/// Checks an inner ring's SS and makes it a Stack (its pushes raise #SS(selector + ext)). #TS and #SS as for gates.
bool inner_stack(SoftCpu& cpu, u16 selector, u32 esp, unsigned ring, unsigned ext, Stack& out);
/// Kind of pushes on the stack of a ring that code at the present CPL enters.
TlbKind stack_kind(const SoftCpu& cpu, unsigned ring);

}  // namespace nagaya::engine::soft
