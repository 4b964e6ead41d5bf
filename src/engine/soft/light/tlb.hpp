// The inline TLBs, the second-level TLB and the jump cache: filling and flushing. Intel SDM vol. 3, 4.10.
#pragma once
#include "engine/soft/system.hpp"

namespace nagaya::engine::soft {

/// Brings the tables of a zeroed SoftCpu into their empty state. Once, before anything else here.
void tlb_init(SoftCpu& cpu);

/// MOV to CR3 (value already checked): sets s.cr3 without bit 63 and drops what the architecture demands. `keep`: bit
/// 63 of the operand with CR4.PCIDE, nothing of the new PCID is dropped.
void load_cr3(SoftCpu& cpu, u64 value, bool keep);
/// Drops the non-global translations of one PCID (INVPCID type 1).
void tlb_flush_pcid(SoftCpu& cpu, unsigned pcid);
/// Drops the non-global translations of all PCIDs (INVPCID type 3).
void tlb_flush_all_nonglobal(SoftCpu& cpu);
/// INVPCID type 0.
void tlb_flush_page_pcid(SoftCpu& cpu, u64 linear, unsigned pcid);
/// Drops the inline TLBs only: enough after a change of CR0.WP or CR4.SMAP, which take part in their tags.
void tlb_rights_changed(SoftCpu& cpu);

/// Enters a block into the jump cache and its log; drops old entries when the log is full. `global` as from
/// translate_fetch (for a block on two pages: of both). `linear`: of the block's first byte; INVLPG of its page or of
/// the page after drops the entry.
void jump_insert(SoftCpu& cpu, unsigned mode, u64 rip, u64 linear, const void* code, bool global);
/// The jump cache's second level, for 64-bit code. What is recalled may be the entry of a dropped block.
const void* jump_recall(SoftCpu& cpu, u32 mode, u64 rip, bool& global);
/// After jump_insert, whose filter of pages covers both levels.
void jump_remember(SoftCpu& cpu, u32 mode, u64 rip, const void* code, bool global);
/// Drops every entry of the jump cache.
void jump_flush(SoftCpu& cpu);

// ---- for softmmu.cpp
u64 l2_stamp(SoftCpu& cpu);  ///< stamp of the current PCID
const L2Entry* l2_find(SoftCpu& cpu, u64 page);
void l2_insert(SoftCpu& cpu, u64 page, u64 gpa, u64 rights);
/// Sets the inline entry of `page`; `writable` also enters the write tag, unless the page is special by then (false is
/// returned: the caller's store is a special one).
bool tlb_set(SoftCpu& cpu, TlbKind kind, u64 page, u64 gpa_page, u8* host, bool writable, bool global);

}  // namespace nagaya::engine::soft
