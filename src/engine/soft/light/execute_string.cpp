// MOVS, STOS, LODS, CMPS and SCAS, alone or repeated. A repeated one runs in pieces that stay within one page of source
// and destination: the very host instruction works on the host addresses of those pages, so that overlaps, direction and
// flags are right by construction. One call does about a page and returns with RIP unchanged when more is to do, so that
// the caller can take interrupts; a fault or need_heavy in the middle leaves RCX, RSI and RDI at the element it concerns.
// Source: Intel SDM vol. 2, REP.
#include "engine/soft/light/execute.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/light/watch.hpp"

namespace nagaya::engine::soft::exec {
namespace {

constexpr u64 bytes_per_call = 4096;

/// What the host instruction works on: host addresses and a count of elements.
struct Run {
  const u8* source;
  u8* destination;
  u64 count;
  u64 rax;
  u64 flags;  ///< arithmetic flags in and out
};

// One repeated host instruction on a run, direction by DF. `source`, `destination` and `count` come back advanced.
#define NAGAYA_HOST_STRING(text)                                                                                        \
  asm volatile(text : "+S"(run.source), "+D"(run.destination), "+c"(run.count) : "a"(run.rax) : "memory", "cc")
#define NAGAYA_HOST_STRINGS(op)                       \
  switch (size) {                                     \
    case 1: NAGAYA_HOST_STRING("rep " op "b"); break; \
    case 2: NAGAYA_HOST_STRING("rep " op "w"); break; \
    case 4: NAGAYA_HOST_STRING("rep " op "l"); break; \
    default: NAGAYA_HOST_STRING("rep " op "q"); break; \
  }
// Compares give their flags. The red zone is not ours to push into: step over it.
#define NAGAYA_HOST_COMPARE(text)                                                                             \
  asm volatile("lea -128(%%rsp), %%rsp\n\t" text "\n\tpushfq\n\tpopq %[flags]\n\tlea 128(%%rsp), %%rsp"         \
               : "+S"(run.source), "+D"(run.destination), "+c"(run.count), [flags] "=&r"(run.flags)            \
               : "a"(run.rax)                                                                                 \
               : "memory", "cc")
#define NAGAYA_HOST_COMPARES(prefix, op)                      \
  switch (size) {                                             \
    case 1: NAGAYA_HOST_COMPARE(prefix " " op "b"); break;     \
    case 2: NAGAYA_HOST_COMPARE(prefix " " op "w"); break;     \
    case 4: NAGAYA_HOST_COMPARE(prefix " " op "l"); break;     \
    default: NAGAYA_HOST_COMPARE(prefix " " op "q"); break;    \
  }

/// Runs `run.count` (not 0) elements; `repne` selects the end condition of a compare.
void host_run(Run& run, StringOp op, unsigned size, bool down, bool repne) {
  if (down) asm volatile("std" ::: "cc");
  switch (op) {
    case StringOp::movs: NAGAYA_HOST_STRINGS("movs"); break;
    case StringOp::stos: NAGAYA_HOST_STRINGS("stos"); break;
    case StringOp::cmps:
      if (repne) {
        NAGAYA_HOST_COMPARES("repne", "cmps");
      } else {
        NAGAYA_HOST_COMPARES("repe", "cmps");
      }
      break;
    case StringOp::scas:
      if (repne) {
        NAGAYA_HOST_COMPARES("repne", "scas");
      } else {
        NAGAYA_HOST_COMPARES("repe", "scas");
      }
      break;
    case StringOp::lods: break;
  }
  if (down) asm volatile("cld" ::: "cc");
}
#undef NAGAYA_HOST_COMPARES
#undef NAGAYA_HOST_COMPARE
#undef NAGAYA_HOST_STRINGS
#undef NAGAYA_HOST_STRING

struct Operation {
  StringOp op;
  u8 size;
  u8 source_seg;
  bool repeat, repne, down;
  u8 addrsize;
  [[nodiscard]] bool reads_source() const { return op == StringOp::movs || op == StringOp::lods || op == StringOp::cmps; }
  [[nodiscard]] bool has_destination() const { return op != StringOp::lods; }
  [[nodiscard]] bool writes() const { return op == StringOp::movs || op == StringOp::stos; }
  [[nodiscard]] bool compares() const { return op == StringOp::cmps || op == StringOp::scas; }
};

/// How many elements from `offset` on stay within the page of `linear` and within the address size; 0 when the first one
/// does not.
u64 elements_here(const Operation& o, u64 offset, u64 linear) {
  const u64 in_page = linear & 4095, size = o.size;
  if (in_page + size > 4096) return 0;
  if (o.addrsize < 8 && offset + size > size_mask(o.addrsize) + 1) return 0;
  u64 n = o.down ? in_page / size + 1 : (4096 - in_page) / size;
  if (o.addrsize < 8) {
    const u64 to_wrap = o.down ? offset / size + 1 : (size_mask(o.addrsize) + 1 - offset) / size;
    if (to_wrap < n) n = to_wrap;
  }
  return n;
}

/// Linear address of the lowest byte of `n` elements that start at `offset`; falls back to n = 1 when a later one is
/// beyond the segment.
bool segment_run(SoftCpu& cpu, const Operation& o, u8 seg, u64 offset, Access access, u64& n, u64& linear) {
  if (n > 1) {
    const u64 lowest = o.down ? offset - (n - 1) * o.size : offset;
    if (linear_address(cpu, seg, lowest, static_cast<unsigned>(n * o.size), access, linear)) {
      if (o.down) linear += (n - 1) * o.size;
      return true;
    }
    cpu.fault.pending = false;
    n = 1;
  }
  return linear_address(cpu, seg, offset, o.size, access, linear);
}

enum class Step : u8 { failed, more, ended };

void step_registers(SoftCpu& cpu, const Operation& o, u64 n) {
  const u64 move = o.down ? 0 - n * o.size : n * o.size;
  if (o.reads_source()) write_gpr(cpu, RSI, o.addrsize, true, cpu.s.gpr[RSI] + move);
  if (o.has_destination()) write_gpr(cpu, RDI, o.addrsize, true, cpu.s.gpr[RDI] + move);
  if (o.repeat) write_gpr(cpu, RCX, o.addrsize, true, cpu.s.gpr[RCX] - n);
}

Step after_compare(SoftCpu& cpu, const Operation& o, u64 flags) {
  cpu.s.rflags = (cpu.s.rflags & ~arithmetic_flags) | (flags & arithmetic_flags);
  return static_cast<bool>(flags & flag_zf) == o.repne ? Step::ended : Step::more;
}

/// One element by way of mem_read and mem_write: across pages, MMIO.
Step one_element(SoftCpu& cpu, const Operation& o, u64 source, u64 destination, TlbKind kind) {
  u64 a = 0, b = 0;
  if (o.reads_source() && !mem_read(cpu, source, &a, o.size, kind)) return Step::failed;
  if (o.compares()) {
    if (!mem_read(cpu, destination, &b, o.size, kind)) return Step::failed;
    Run run{reinterpret_cast<const u8*>(&a), reinterpret_cast<u8*>(&b), 1, cpu.s.gpr[RAX], 0};
    host_run(run, o.op, o.size, false, o.repne);
    step_registers(cpu, o, 1);
    return after_compare(cpu, o, run.flags);
  }
  if (o.op == StringOp::stos) a = cpu.s.gpr[RAX];
  if (o.writes() && !mem_write(cpu, destination, &a, o.size, kind)) return Step::failed;
  if (o.op == StringOp::lods) write_gpr(cpu, RAX, o.size, true, a);
  step_registers(cpu, o, 1);
  return Step::more;
}

/// As many elements as one page of each operand holds, at most `limit`.
Step one_run(SoftCpu& cpu, const Operation& o, u64 limit, u64& done) {
  const u64 mask = size_mask(o.addrsize);
  const u64 source_offset = cpu.s.gpr[RSI] & mask, destination_offset = cpu.s.gpr[RDI] & mask;
  const TlbKind kind = current_kind(cpu);
  const Access to = o.writes() ? Access::write : Access::read;
  u64 source = 0, destination = 0, n = limit;
  // The segment part first for one element, which gives the place within the page; then for all that fit there.
  if (o.reads_source()) {
    if (!linear_address(cpu, o.source_seg, source_offset, o.size, Access::read, source)) return Step::failed;
    if (const u64 fit = elements_here(o, source_offset, source); fit < n) n = fit;
  }
  if (o.has_destination()) {
    if (!linear_address(cpu, ES, destination_offset, o.size, to, destination)) return Step::failed;
    if (const u64 fit = elements_here(o, destination_offset, destination); fit < n) n = fit;
  }
  if (n > 1 && o.reads_source() && !segment_run(cpu, o, o.source_seg, source_offset, Access::read, n, source)) return Step::failed;
  if (n > 1 && o.has_destination() && !segment_run(cpu, o, ES, destination_offset, to, n, destination)) return Step::failed;

  Place from, into;
  if (n > 0 && o.reads_source()) {
    from = locate(cpu, source, Access::read, kind);
    if (from.kind == PlaceKind::fault) return Step::failed;
    if (from.kind == PlaceKind::mmio) n = 0;
  }
  if (n > 0 && o.has_destination()) {
    into = locate(cpu, destination, to, kind);
    if (into.kind == PlaceKind::fault) return Step::failed;
    if (into.kind == PlaceKind::mmio) n = 0;
  }
  if (o.reads_source() && n > 0) note_access(cpu, source, o.size, false);
  if (o.has_destination() && n > 0) note_access(cpu, destination, o.size, o.writes());
  if (n == 0) {
    done = 1;
    return one_element(cpu, o, source, destination, kind);
  }

  if (o.op == StringOp::lods) {
    const u8* last = o.down ? from.host - (n - 1) * o.size : from.host + (n - 1) * o.size;
    u64 value = 0;
    copy_bytes(&value, last, o.size);
    write_gpr(cpu, RAX, o.size, true, value);
    step_registers(cpu, o, n);
    done = n;
    return Step::more;
  }
  Run run{from.host, into.host, n, cpu.s.gpr[RAX], 0};
  host_run(run, o.op, o.size, o.down, o.repne);
  done = n - run.count;
  step_registers(cpu, o, done);
  if (o.compares()) return after_compare(cpu, o, run.flags);
  if (into.kind == PlaceKind::special) {
    store_special(cpu, into.gpa - (o.down ? (n - 1) * o.size : 0), static_cast<unsigned>(n * o.size));
  }
  return Step::more;
}

/// A repeated MOVS or STOS of 64-bit code upwards, all of it in pages that the inline TLB knows. False: not that case.
bool within_pages(SoftCpu& cpu, const Insn& insn, StringOp op) {
  const bool moves = op == StringOp::movs;
  if ((!moves && op != StringOp::stos) || !(insn.rep || insn.repne) || insn.addrsize != 8 || insn.seg >= FS || cpu.heavy) return false;
  if (!code64(cpu) || (cpu.s.rflags & (flag_df | flag_tf)) || (cpu.s.dr7 & 0xff)) return false;
  const unsigned size = insn.opcode & 1 ? insn.opsize : 1;
  const u64 count = cpu.s.gpr[RCX], bytes = count * size;
  if (count - 1 >= 4096 / size) return false;
  const TlbKind kind = current_kind(cpu);
  const u64 to = cpu.s.gpr[RDI], from = cpu.s.gpr[RSI];
  Run run{nullptr, known_host(cpu, to, bytes, true, kind), count, cpu.s.gpr[RAX], 0};
  if (!run.destination) return false;
  if (moves) {
    run.source = known_host(cpu, from, bytes, false, kind);
    if (!run.source) return false;
    cpu.s.gpr[RSI] = from + bytes;
  }
  host_run(run, op, size, false, false);
  cpu.s.gpr[RDI] = to + bytes;
  cpu.s.gpr[RCX] = 0;
  return true;
}

}  // namespace

bool string(SoftCpu& cpu, const Insn& insn, StringOp op) {
  if (within_pages(cpu, insn, op)) return advance(cpu, insn);
  const Operation o{.op = op,
                    .size = static_cast<u8>(insn.opcode & 1 ? insn.opsize : 1),
                    .source_seg = insn.seg,
                    .repeat = insn.rep || insn.repne,
                    .repne = insn.repne,
                    .down = flag(cpu, flag_df),
                    .addrsize = insn.addrsize};
  if (!o.repeat) {
    u64 done;
    return one_run(cpu, o, 1, done) != Step::failed && advance(cpu, insn);
  }
  // Single-stepped, or with breakpoints on data: a trap after each iteration.
  u64 budget = flag(cpu, flag_tf) || any_watched(cpu) ? 1 : bytes_per_call / o.size;
  for (;;) {
    const u64 left = read_gpr(cpu, RCX, o.addrsize, true);
    if (left == 0) return advance(cpu, insn);
    if (budget == 0) {
      // Traps between iterations push RF, so that a breakpoint on the instruction is not met again. SDM vol. 3, 18.3.1.1.
      if (flag(cpu, flag_tf) || (cpu.s.dr7 & 0xff)) set_flag(cpu, flag_rf, true);
      return true;
    }
    u64 done = 0;
    switch (one_run(cpu, o, left < budget ? left : budget, done)) {
      case Step::failed: return false;
      case Step::ended: return advance(cpu, insn);
      case Step::more: break;
    }
    budget -= done;
  }
}

}  // namespace nagaya::engine::soft::exec
