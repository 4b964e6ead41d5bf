// The page walker's results as the TLBs keep them, and the state of one translated page. Source: Intel SDM vol. 3,
// ch. 4.
#pragma once
#include "engine/soft/system.hpp"

namespace nagaya::engine::soft {

/// Rights of a translation: what the tables say, before CR0/CR4 and the kind of access are applied.
enum Right : u64 {
  right_write = 1,  ///< R/W set at every level
  right_user = 2,   ///< U/S set at every level
  right_nx = 4,     ///< XD set at some level
  right_dirty = 8,
  right_global = 16,
  right_2m = 32,  ///< a piece of a 2 or 4 MiB page
  right_1g = 64,
};

/// True when the mode (CR0.WP, CR4.SMEP/SMAP) allows the access with these rights. Intel SDM vol. 3, 4.6.
bool permitted(const SoftCpu& cpu, u64 rights, Access access, TlbKind kind);

/// Walks the tables of the current mode, sets accessed and dirty bits, and keeps the result in the second-level TLB.
/// False: #PF (CR2 set) or, for an address that is not canonical in long mode, #GP(0).
bool walk_tables(SoftCpu& cpu, u64 linear, Access access, TlbKind kind, u64& gpa, u64& rights);

/// The same through the second-level TLB.
bool translate(SoftCpu& cpu, u64 linear, Access access, TlbKind kind, u64& gpa, u64& rights);

/// Translates an instruction fetch at the current CPL. `global` (may be null): the page is a global one, so that a
/// jump-cache entry for it may outlive a CR3 write.
bool translate_fetch(SoftCpu& cpu, u64 linear, u64& gpa, bool* global = nullptr);

/// The four PDPTEs of PAE paging at `cr3` have no reserved bit set where present (else MOV to CR raises #GP(0)).
/// Outside RAM they read as ones: false.
bool pdptes_valid(SoftCpu& cpu, u64 cr3);

}  // namespace nagaya::engine::soft
