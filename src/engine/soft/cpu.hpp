// The run-time block of one software vCPU. Translated code addresses it through the GS segment base, so every field is at
// a fixed offset and the type stays standard-layout. While translated code runs, most guest GPRs and the arithmetic
// flags live in host registers; whenever C++ runs, `s` is complete and current.
#pragma once
#include <atomic>
#include <cstddef>

#include "base/types.hpp"
#include "engine/soft/light/counters.hpp"
#include "x86/cpu_state.hpp"

namespace nagaya::x86 {
struct CpuidEntry;
}
namespace nagaya::engine {
class LocalApic;
class IoHandler;
using CpuidEntry = x86::CpuidEntry;
}  // namespace nagaya::engine

namespace nagaya::engine::soft {

/// One entry of the inline software TLB. A lookup computes `ea + negtag_*`: a value below 4096 is a hit and the offset
/// into the page; `host` is the host address of the page. An entry that must miss holds a tag of another set (see
/// miss_tag), so that no address whatever can hit it.
struct TlbEntry {
  u64 negtag_read;
  u64 negtag_write;
  u64 host;
  u64 addend;  ///< host - linear page: what to add to a linear address
};
inline constexpr unsigned tlb_bits = 13;
inline constexpr unsigned tlb_entries = 1u << tlb_bits;
constexpr u64 tlb_index(u64 linear) { return linear >> 12 & (tlb_entries - 1); }
/// Not of a neighbouring page: an operand that runs into the next page must not find its tag there.
constexpr u64 miss_tag(u64 index) { return 0 - ((index ^ (tlb_entries / 2)) << 12); }

/// Which TLB a block uses: fixed when it is translated.
enum TlbKind : u8 {
  tlb_supervisor = 0,     ///< CPL < 3, SMAP in force or off
  tlb_user = 1,           ///< CPL 3
  tlb_supervisor_ac = 2,  ///< CPL < 3 with CR4.SMAP and RFLAGS.AC set: user pages may be touched
  tlb_kinds = 3,
};

/// A direct-mapped cache from RIP (low 16 bits index it) to code, one per block mode in use.
struct JumpEntry {
  u64 neg_rip;      ///< hit when rip + neg_rip == 0
  const void* code;  ///< the block's indirect entry
};
inline constexpr unsigned jump_entries = 1u << 16;
inline constexpr unsigned max_modes = 24;

/// The jump cache's second level, for 64-bit code: outlives switches between address spaces. Live while `stamp` is, as in L2Entry.
struct JumpTag {
  u64 rip;
  u64 stamp;
  const void* code;
  u32 mode;
  u32 generation;
};
inline constexpr unsigned jump_tag_entries = 1u << 14;

/// One translation in the second-level TLB: raw rights of the walk, so that one entry serves every kind of access. It is live
/// while `stamp` is the current stamp of global pages or of the current PCID; a flush only issues a new stamp.
struct L2Entry {
  u64 page;    ///< linear page address
  u64 gpa;     ///< guest-physical page address (4 KiB piece of a large page)
  u64 stamp;   ///< 0 never matches
  u64 rights;  ///< of enum Right in light/paging.hpp
};
inline constexpr unsigned l2_ways = 4, l2_sets = 2048;

/// What the system half keeps beside the inline tables (light/tlb.cpp).
struct SystemCache {
  u64 stamp_counter, stamp_floor, global_stamp;  ///< a PCID's stamp below the floor is stale
  u64 pcid_stamp[4096];
  u8 l2_next_way[l2_sets];
  L2Entry l2[l2_sets][l2_ways];
  u8 tlb_flags[tlb_kinds][tlb_entries];  ///< per inline entry: in which log, and whether it is global
  u32 tlb_global_log_count[tlb_kinds];
  u16 tlb_global_log[tlb_kinds][2048];
  u32 jump_global_log_count;
  u32 jump_global_log[16384];
  u64 jump_pages[256];  ///< filter: hashed pages with entries in the jump cache
  JumpTag jump_tags[jump_tag_entries];
  u32 jump_generation;         ///< of the tags that a flush of the whole jump cache has left
  u32 fast_mode[tlb_kinds];    ///< index of the block mode of 64-bit code at CPL 0 or 3 in the present state, or ~0 (light/mode.cpp)
  u64 large_2m[16], large_1g[16];  ///< filters: hashed large pages of which pieces are cached
  u64 soft_next_rip;  ///< with Fault::software: the RIP to push
  u64 direct_stamp;  ///< of the translations that direct execution has mapped (direct_pages.hpp), or 0
  u64 direct_dropped[16];  ///< pages of them that were dropped since
  u32 direct_dropped_count;  ///< more than fit: all
  u8 soft_kind;       ///< with Fault::software: enum SoftInt of light/deliver.hpp
};

enum class Access : u8 { read = 0, write = 1, fetch = 2 };

/// Entry points that translated code jumps to (thunks.cpp). "Record": a number of CodeCache::record_id.
enum Thunk : u8 {
  thunk_lookup,    ///< R11 = RIP: find or make its block
  thunk_kick,      ///< RCX = offset from pc_base, sign-extended from ECX: the same
  thunk_link,      ///< ECX = LinkSite record: find or make its target, then patch the exit
  thunk_execute,   ///< ECX = KeptInsn record: execute it in C++
  thunk_execute_inline,  ///< the same, and go on behind it when nothing else is due
  thunk_raise,     ///< ECX = vector << 16 | offset of the instruction: raise that exception (error code 0 where it has one)
  thunk_miss,      ///< ECX = MissSite record, R11 = linear address unless the record tells: make the lookup hit and try again
  thunk_mem_slow,  ///< R11 = linear address, RCX -> {u32 desc, i32 offset}: continue at RCX + 8 with R11 = host address
  thunk_commit,    ///< RCX -> {i32 next offset, u32 stay}: write back the bounce buffer, continue at RCX + 8
  thunk_segment,   ///< R11 = offset, RCX -> {u32 size|access<<16|seg<<24, i32 offset}: segment checks, R11 = linear
  thunk_count
};
/// Bytes of data that stand behind the jump to a thunk, at RCX.
constexpr unsigned thunk_data(Thunk t) {
  return t == thunk_mem_slow || t == thunk_commit || t == thunk_segment ? 8 : 0;
}

/// An exception raised by the instruction being executed, not yet delivered.
struct Fault {
  bool pending = false;
  u8 vector = 0;
  bool has_code = false;
  bool software = false;  ///< INT n / INT3 / INTO: gate DPL is checked, RIP is of the next instruction
  u32 code = 0;
  u64 dr6_bits = 0;  ///< for #DB
};

/// Layout of the vector state in memory (CPUID leaf 0Dh of the host), for components 0 to 7.
struct XsaveSizes {
  bool known;  ///< else (and without XSAVEC) only execute_heavy() knows how
  bool align64[8];
  u16 size[8], offset[8];
};

/// Why translated code came back to the run loop.
enum class Leave : u32 {
  none = 0,
  translate,  ///< no block for s.rip in this mode
  heavy,      ///< the instruction at s.rip needs execute_heavy
  halted,
  kicked,
  shutdown,
  internal,   ///< cannot go on; detail in SoftCpu::leave_detail
};

struct Insn;
struct Block;
struct LinkSite;
class SoftVcpu;   // owner: threads, queues, APIC (C++ only)
class SoftEngine;

struct SoftCpu {
  // --- first, what translated code touches all the time
  u32 run_ok;  ///< 0 asks the guest to leave at the next block head (written by other threads)
  u32 flush_wanted;  ///< 1: drop all translations before translated code is entered again (written by other threads)
  u64 pc_base;       ///< RIP minus offset-in-page for the block that runs
  u64 scratch[8];    ///< for translated code within one instruction
  u64 host_rsp;      ///< stack of the run loop
  u64 pext_page;     ///< constant ~0xfff
  u64 pext_index;    ///< constant (tlb_entries-1) << 12
  u64 saved_flags;
  u64 ret_slot;
  u64 pext_offset;   ///< constant 0xfff
  u64 bit_masks[3];  ///< constants 15, 31, 63
  u64 flag_masks[3];  ///< constants: all but IF; all but DF; what PUSHF takes of s.rflags
  LinkSite* link_site;  ///< the exit that asked for a block, to be patched
  const Insn* insn;  ///< of the block exit that asks for C++ execution
  const void* thunks[16];  ///< entry points of thunks.cpp, by enum Thunk
  SoftCpu* self;
  struct CodeShared* shared;  ///< blocks and memory map of the engine (light/blocks.hpp)
  u64 lin_seg_base[6];  ///< linear base for ES CS SS DS FS GS as used by inline address computation
  alignas(64) u8 bounce[8192 + 64];  ///< operands that cross pages or are MMIO: the instruction runs on this copy
  u64 bounce_ea, bounce_ea2;
  u32 bounce_size;
  u32 bounce_write;
  // --- architectural state; complete whenever C++ runs
  alignas(64) x86::CpuState s;
  // --- execution
  Fault fault;
  Leave leave;
  u32 mode_index;  ///< dense index of the current block mode (selects the jump cache)
  bool heavy;      ///< true while C++ may touch vector registers, call devices and the system
  bool need_heavy;  ///< set by a light helper that met something only heavy code can do (MMIO, APIC MSR)
  bool careful_wanted;  ///< the instruction at careful_rip runs in a careful block
  bool code_dropped;  ///< the block that runs was invalidated by its own store: leave after this instruction
  bool stepping;      ///< the block that runs is a single instruction (interrupt shadow, TF, breakpoints)
  bool step_trap;     ///< TF was set when it began
  bool shadow_served; ///< it runs in an interrupt shadow: no MOV SS makes another one
  u8 data_hits;       ///< data and I/O breakpoints it met, as bits of DR6
  u32 jump_cs_limit;  ///< with jump_cs_base: CS that the jump cache's entries of 16- and 32-bit modes were made under
  u64 jump_cs_base;
  u32 direct_wanted;  ///< leave translated code when a program of CPL 3 goes on (direct.hpp)
  u64 program_returns;  ///< how often one did
  u32 irq_wanted;     ///< an interrupt waits for IF (or the end of a shadow); written by the owner thread
  u64 tsc_offset;
  XsaveSizes xsave_sizes;
  u64 host_xcr0;  ///< XSAVE components the engine carries
  u64 cpuid_signature;
  u64 tsc_khz;  ///< frequency of the host's (and so the guest's) TSC, for the paravirtual clock
  u64 kvm_clock_offset;  ///< ns added to the guest TSC (less TSC_ADJUST) in ns to give the paravirtual clock
  const CpuidEntry* cpuid;
  u32 cpuid_count;
  u32 id;
  u32 maxphyaddr;
  u32 features;  ///< of enum Feature below
  SoftVcpu* vcpu;
  SoftEngine* engine;
  LocalApic* apic;
  IoHandler* io;
  const char* leave_detail;
  Counters count;
  u32 mode_key;  ///< of mode_index, as last computed
  u64 careful_rip;
  u32 want_key;  ///< with Leave::translate: mode of the block to make
  // --- TLB bookkeeping: indices filled since the last flush, so that a flush costs what was used
  u32 tlb_log_count[tlb_kinds];
  u16 tlb_log[tlb_kinds][2048];
  u32 jump_log_count;
  u32 jump_log[4096];  ///< mode_index << 16 | index
  // --- the big tables
  alignas(4096) TlbEntry tlb[tlb_kinds][tlb_entries];
  alignas(4096) JumpEntry jump[max_modes][jump_entries];
  SystemCache sys;
};

/// CPUID-derived switches that the system instructions check.
enum Feature : u32 {
  feat_pcid = 1 << 0,
  feat_smep = 1 << 1,
  feat_smap = 1 << 2,
  feat_umip = 1 << 3,
  feat_fsgsbase = 1 << 4,
  feat_rdtscp = 1 << 5,
  feat_invpcid = 1 << 6,
  feat_xsave = 1 << 7,
  feat_nx = 1 << 8,
  feat_pdpe1gb = 1 << 9,
  feat_tsc_deadline = 1 << 10,
  feat_x2apic = 1 << 11,
  feat_rdpid = 1 << 12,
  feat_syscall = 1 << 13,
};

}  // namespace nagaya::engine::soft
