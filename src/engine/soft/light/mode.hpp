// The block mode: everything about the CPU's state that a translation depends on, packed into a key. Blocks are found by
// guest-physical address and mode.
#pragma once
#include "engine/soft/cpu.hpp"

namespace nagaya::engine::soft {

/// How the address of a segment is formed inline.
enum class SegClass : u8 {
  flat = 0,    ///< base 0, no limit
  based = 1,   ///< base added, limit 4 GiB and writable
  checked = 2  ///< through linear_address()
};

/// Bits of the key.
namespace mode_bits {
inline constexpr u32 code_shift = 0;   // 2 bits: CodeSize
inline constexpr u32 kind_shift = 2;   // 2 bits: TlbKind
inline constexpr u32 stack32 = 1 << 4;
inline constexpr u32 cr0_em = 1 << 5;
inline constexpr u32 cr0_ts = 1 << 6;
inline constexpr u32 cr0_mp = 1 << 7;
inline constexpr u32 sse = 1 << 8;     // CR4.OSFXSR
inline constexpr u32 avx = 1 << 9;     // CR4.OSXSAVE and XCR0[2:1]
inline constexpr u32 avx512 = 1 << 10; // and XCR0[7:5]
inline constexpr u32 step = 1 << 11;   // one instruction per block
inline constexpr u32 seg_shift = 12;   // 2 bits each for ES CS SS DS FS GS
inline constexpr u32 cs_flat = 1 << 24;  // RIP and linear address agree in their low 12 bits and do not wrap
/// Every memory operand has its whole slow path in the block, and a check of its own: for instructions whose operands cross
/// pages, are not RAM, or hold translated code.
inline constexpr u32 careful = 1 << 25;
inline constexpr u32 inner_ring = 1 << 26;  // CPL 1 or 2
inline constexpr u32 tsc = 1 << 27;         // RDTSC raises nothing (CR4.TSD, CPL)
inline constexpr u32 rdtscp = 1 << 28;      // RDTSCP exists
inline constexpr u32 fsgsbase = 1 << 29;    // 64-bit code with CR4.FSGSBASE
}  // namespace mode_bits

/// Forgets the modes in SystemCache::fast_mode.
void forget_fast_modes(SoftCpu& cpu);

/// Key of the state, without `step`.
u32 compute_mode_key(const SoftCpu& cpu);

/// Typed view of a key.
struct Mode {
  u32 key;
  [[nodiscard]] unsigned code_size() const { return key >> mode_bits::code_shift & 3; }
  [[nodiscard]] bool is64() const { return code_size() == 2; }
  [[nodiscard]] TlbKind kind() const { return static_cast<TlbKind>(key >> mode_bits::kind_shift & 3); }
  [[nodiscard]] bool has(u32 bit) const { return (key & bit) != 0; }
  [[nodiscard]] SegClass seg(unsigned n) const { return static_cast<SegClass>(key >> (mode_bits::seg_shift + 2 * n) & 3); }
};

}  // namespace nagaya::engine::soft
