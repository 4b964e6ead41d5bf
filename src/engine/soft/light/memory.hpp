// Accesses to guest linear memory from C++, beside mem_read and mem_write of system.hpp.
#pragma once
#include "engine/soft/system.hpp"

namespace nagaya::engine::soft {

/// Where one byte of linear memory is.
enum class PlaceKind : u8 {
  fault,    ///< cpu.fault is set
  ram,      ///< `host` may be accessed directly
  special,  ///< a write: `host` may be written, then store_special(gpa, size) must be called
  mmio,     ///< no RAM there (or a write to ROM): only heavy code goes on
};
struct Place {
  PlaceKind kind = PlaceKind::fault;
  u8* host = nullptr;
  u64 gpa = 0;  ///< unknown (all ones) for RAM that the inline TLB knew
};
/// Translates (TLB, then tables), fills the TLB. The result holds to the end of the page. For a read-modify-write ask
/// for Access::write.
Place locate(SoftCpu& cpu, u64 linear, Access access, TlbKind kind);

/// Host address of [linear, linear + size) when all of it (1 to 4096 bytes) is in one page that the inline TLB knows, else null.
inline u8* known_host(const SoftCpu& cpu, u64 linear, u64 size, bool write, TlbKind kind) {
  const TlbEntry& e = cpu.tlb[kind][tlb_index(linear)];
  const u64 offset = linear + (write ? e.negtag_write : e.negtag_read);
  return offset <= 4096 - size ? reinterpret_cast<u8*>(e.host + offset) : nullptr;
}

/// The linear address of the byte `n` after `linear`, wrapped at 4 GiB outside 64-bit code.
u64 linear_add(const SoftCpu& cpu, u64 linear, u64 n);

/// `kind` of implicit supervisor accesses: descriptor tables, TSS.
inline constexpr TlbKind implicit_kind = tlb_supervisor;

template <class T>
bool mem_get(SoftCpu& cpu, u64 linear, T& out, TlbKind kind) {
  return mem_read(cpu, linear, &out, sizeof out, kind);
}
template <class T>
bool mem_put(SoftCpu& cpu, u64 linear, T value, TlbKind kind) {
  return mem_write(cpu, linear, &value, sizeof value, kind);
}

/// ORs, then ANDs a byte with the bus lock held, where it is RAM.
bool mem_change_byte(SoftCpu& cpu, u64 linear, u8 set, u8 keep, TlbKind kind);

/// Copies without library calls; 1, 2, 4, 8 and 16 bytes as few accesses (8 and less: one).
void copy_bytes(void* to, const void* from, unsigned size);

/// Access to a guest-physical address without RAM: local APIC page, then the machine's I/O handler, at most 8 bytes at
/// a time. Heavy only. Lives in soft/mmio.cpp.
void mmio_access(SoftCpu& cpu, u64 gpa, void* data, unsigned size, bool write);

/// Brings a zeroed SoftCpu into the state the system half expects: TLBs, jump cache. Lives in soft/mmio.cpp.
void system_init(SoftCpu& cpu);

// ---- light/mem_slow.cpp: memory operands of re-encoded instructions that miss the inline TLB

/// Descriptor of an operand.
inline constexpr u32 slow_read = 1u << 16, slow_write = 1u << 17, slow_masked = 1u << 20,
                     slow_aligned = 1u << 21,  ///< #GP(0) unless a multiple of its size
                     slow_stack = 1u << 22;    ///< by way of SS: #SS(0) when not canonical
constexpr u32 slow_desc(unsigned size, bool read, bool write, TlbKind kind, bool masked = false, bool aligned = false,
                        bool stack = false) {
  return size | (read ? slow_read : 0) | (write ? slow_write : 0) | u32{kind} << 18 | (masked ? slow_masked : 0) |
         (aligned ? slow_aligned : 0) | (stack ? slow_stack : 0);
}
enum class Fill : u8 {
  filled,   ///< the same lookup hits now
  fault,    ///< cpu.fault is pending
  careful,  ///< across a page, MMIO, a special page, a breakpoint …: mem_slow() knows how
};
/// Brings the page of an operand into the inline TLB. `group`: of several instructions, whose faults are not raised here.
Fill mem_fill(SoftCpu& cpu, u64 linear, u32 desc, bool group);
/// Host address for the instruction to use in place of `linear`; size 1..4096 in bits 0..15 of `desc`.
///  - RAM within one page: its address; the next such access hits the TLB. A write to a special page: the same, with
///    bounce_write = 2 and bounce_ea = gpa, so that mem_commit() reports it after the instruction (the access itself
///    stays atomic).
///  - across a page, or MMIO (heavy): cpu.bounce, holding the bytes when the instruction reads; for a write
///  bounce_write = 1
///    and mem_commit() writes them back (of a masked store, 3: only the bytes that changed). A locked instruction
///    across a page is thus not atomic (a split lock).
///  - 0: a fault is pending or need_heavy is set.
///  - 1: a masked operand (`slow_masked`) of which some part is not accessible: interpret it.
u64 mem_slow(SoftCpu& cpu, u64 linear, u32 desc);
/// Completes the store of the instruction that mem_slow served. Nothing to do when bounce_write is 0.
bool mem_commit(SoftCpu& cpu);

}  // namespace nagaya::engine::soft
