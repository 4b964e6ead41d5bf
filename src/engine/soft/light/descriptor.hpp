// Segment descriptors: fetch, fields, segment registers from them. Intel SDM vol. 3, 3.4.5 and 3.5.
#pragma once
#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/memory.hpp"

namespace nagaya::engine::soft {

struct Descriptor {
  u64 low = 0, high = 0;  ///< `high`: second half of a 16-byte system descriptor of long mode
  u64 linear = 0;         ///< where it was read

  [[nodiscard]] unsigned type() const { return low >> 40 & 15; }
  [[nodiscard]] bool s() const { return low >> 44 & 1; }  ///< code or data
  [[nodiscard]] unsigned dpl() const { return low >> 45 & 3; }
  [[nodiscard]] bool present() const { return low >> 47 & 1; }
  [[nodiscard]] bool l() const { return low >> 53 & 1; }
  [[nodiscard]] bool db() const { return low >> 54 & 1; }
  [[nodiscard]] bool code() const { return s() && (type() & 8); }
  [[nodiscard]] bool conforming() const { return type() & 4; }  ///< of code
  [[nodiscard]] bool writable_data() const { return s() && (type() & 0xa) == 2; }
  [[nodiscard]] bool readable() const { return s() && (type() & 0xa) != 8; }  ///< data, or code that can be read
  [[nodiscard]] u16 attr() const { return static_cast<u16>(low >> 40 & 0xf0ff); }
  [[nodiscard]] u64 base() const { return (low >> 16 & 0xffffff) | (low >> 56 << 24); }
  [[nodiscard]] u32 limit() const {
    const u32 raw = static_cast<u32>((low & 0xffff) | (low >> 32 & 0xf0000));
    return low >> 55 & 1 ? raw << 12 | 0xfff : raw;
  }
};

inline bool null_selector(u16 selector) { return (selector & 0xfffc) == 0; }

/// Reads the descriptor of a selector that is not null. Beyond its table's limit (or a null LDT): `vector` with
/// (selector & ~3) | ext. `wide`: a 16-byte system descriptor, as TSS, LDT and call gates are in long mode.
bool fetch_descriptor(SoftCpu& cpu, u16 selector, Descriptor& out, u8 vector = 13, unsigned ext = 0, bool wide = false);
/// True when the selector is within its table; no fault, except that the caller's read may raise one (LAR, LSL, VERR,
/// VERW).
bool selector_in_table(const SoftCpu& cpu, u16 selector, bool wide, u64& linear);
/// Sets the accessed bit of a code or data descriptor in memory (locked) and in `d`.
bool mark_accessed(SoftCpu& cpu, Descriptor& d);
/// Fills a segment register from a code or data descriptor.
void set_segment(x86::Segment& seg, u16 selector, const Descriptor& d);
/// The segment register as after a load in real or virtual-8086 mode.
void set_paragraph(SoftCpu& cpu, u8 seg, u16 selector);
/// A null segment register; `dpl` matters for SS, where it is the CPL.
void set_null(x86::Segment& seg, u16 selector, unsigned dpl = 0);
/// On return to an outer ring: ES, DS, FS, GS that the new CPL may not use become null.
void drop_inner_segments(SoftCpu& cpu, unsigned new_cpl);

/// LLDT with its operand (CPL and mode checks are the caller's).
bool load_ldtr(SoftCpu& cpu, u16 selector);
/// LTR with its operand: marks the TSS busy.
bool load_tr(SoftCpu& cpu, u16 selector);
/// LAR, LSL, VERR, VERW for a selector. `ok`: the ZF result. False only for a fault or need_heavy.
bool lar(SoftCpu& cpu, u16 selector, bool& ok, u32& rights);
bool lsl(SoftCpu& cpu, u16 selector, bool& ok, u32& limit);
bool verify(SoftCpu& cpu, u16 selector, bool write, bool& ok);

}  // namespace nagaya::engine::soft
