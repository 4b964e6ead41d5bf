#include "engine/soft/state_names.hpp"

#include <fmt/format.h>

#include <array>

#pragma GCC diagnostic ignored "-Winvalid-offsetof"

namespace nagaya::engine::soft {
namespace {

struct Name {
  u64 offset, size;
  const char* text;
};

#define FIELD(field) {offsetof(SoftCpu, field), sizeof(SoftCpu::field), #field}
constexpr Name fields[] = {FIELD(run_ok),     FIELD(pc_base),      FIELD(scratch),     FIELD(host_rsp),     FIELD(pext_page), FIELD(pext_index),
                           FIELD(saved_flags), FIELD(ret_slot),    FIELD(pext_offset), FIELD(bit_masks),    FIELD(link_site), FIELD(insn),
                           FIELD(lin_seg_base), FIELD(bounce),     FIELD(bounce_ea),   FIELD(bounce_write), FIELD(code_dropped), FIELD(need_heavy),
                           FIELD(irq_wanted)};
#undef FIELD
constexpr std::array thunk_names = {"lookup", "kick", "link", "execute", "execute_inline", "raise", "miss", "mem_slow", "commit", "segment"};
static_assert(thunk_names.size() == thunk_count);
constexpr std::array register_names = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr std::array tlb_names = {"kernel", "user", "kernel_ac"};

constexpr bool within(u64 offset, u64 start, u64 size) { return offset - start < size; }

}  // namespace

std::string thunk_name(Thunk thunk) { return fmt::format("thunk {}", thunk_names[thunk]); }

std::string state_name(u64 offset) {
  constexpr u64 registers = offsetof(SoftCpu, s) + offsetof(x86::CpuState, gpr);
  if (within(offset, registers, 128)) return fmt::format("gpr.{}", register_names[(offset - registers) / 8]);
  if (within(offset, offsetof(SoftCpu, tlb), sizeof(SoftCpu::tlb))) {
    const u64 inside = (offset - offsetof(SoftCpu, tlb)) % sizeof(TlbEntry);
    const char* part = inside == offsetof(TlbEntry, negtag_read)    ? "negtag_read"
                       : inside == offsetof(TlbEntry, negtag_write) ? "negtag_write"
                       : inside == offsetof(TlbEntry, host)         ? "host"
                                                                    : "addend";
    return fmt::format("tlb[{}].{}", tlb_names[(offset - offsetof(SoftCpu, tlb)) / sizeof(SoftCpu::tlb[0])], part);
  }
  if (within(offset, offsetof(SoftCpu, jump), sizeof(SoftCpu::jump)))
    return (offset - offsetof(SoftCpu, jump)) % sizeof(SoftCpu::jump[0]) == offsetof(JumpEntry, code) ? "jump.code" : "jump.neg_rip";
  for (const Name& n : fields) {
    if (!within(offset, n.offset, n.size)) continue;
    return offset == n.offset ? n.text : fmt::format("{}+{}", n.text, offset - n.offset);
  }
  return {};
}

}  // namespace nagaya::engine::soft
