// A processor and some RAM for the tests of this room: no translated code, no devices. Guest-physical RAM starts at 0.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "engine/soft/light/arch.hpp"
#include "engine/soft/light/blocks.hpp"
#include "engine/soft/light/deliver.hpp"
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/paging.hpp"
#include "engine/soft/light/stack.hpp"
#include "engine/soft/light/tlb.hpp"
#include "engine/soft/light/transfer.hpp"

namespace nagaya::engine::soft {

/// One access that reached MMIO.
struct MmioAccess {
  u64 gpa;
  unsigned size;
  bool write;
  u64 value;
  bool operator==(const MmioAccess&) const = default;
};
/// What the stand-in for mmio_access() saw; reads give 0x11, 0x12 …
inline std::vector<MmioAccess> mmio_log;

class Env : public testing::Test {
 protected:
  static constexpr u64 ram_size = 8 << 20;
  static constexpr u64 rom_base = 0xf0000000;

  Env();
  ~Env() override;

  /// A value in RAM, at any alignment.
  template <class T>
  class Cell {
   public:
    explicit Cell(u8* where) : where_(where) {}
    operator T() const {
      T value;
      std::memcpy(&value, where_, sizeof value);
      return value;
    }
    Cell& operator=(T value) {
      std::memcpy(where_, &value, sizeof value);
      return *this;
    }
    Cell& operator=(const Cell& other) { return *this = static_cast<T>(other); }
    Cell(const Cell&) = default;
    Cell& operator|=(T bits) { return *this = static_cast<T>(*this | bits); }
    Cell& operator&=(T bits) { return *this = static_cast<T>(*this & bits); }

   private:
    u8* where_;
  };
  Cell<u64> q64(u64 gpa) { return Cell<u64>(ram_ + gpa); }
  Cell<u32> d32(u64 gpa) { return Cell<u32>(ram_ + gpa); }
  Cell<u16> w16(u64 gpa) { return Cell<u16>(ram_ + gpa); }
  Cell<u8> b8(u64 gpa) { return Cell<u8>(ram_ + gpa); }

  /// The fault a call left behind, taken away.
  Fault take_fault() {
    const Fault fault = cpu.fault;
    cpu.fault = {};
    return fault;
  }
  void expect_fault(u8 vector, u32 code) {
    const Fault fault = take_fault();
    EXPECT_TRUE(fault.pending);
    EXPECT_EQ(fault.vector, vector);
    EXPECT_TRUE(fault.has_code);
    EXPECT_EQ(fault.code, code);
    EXPECT_FALSE(cpu.need_heavy);
  }

  /// Flat segments at a CPL with GDT selectors as gdt_* below; PE set. `bits`: 16, 32 or 64 (sets LMA and paging
  /// tables).
  void protected_mode_at(unsigned ring, unsigned bits);
  /// 64-bit mode over an identity map of the first 8 MiB in 2 MiB user-writable pages (tables at 0x1000).
  void long_paging();
  void mark_code(u64 gpa) { shared.page_flags[gpa >> 12] |= page_has_code; }
  static u64 segment_descriptor(u32 base, u32 limit, unsigned access, unsigned flags);
  void set_gdt(u16 selector, u64 descriptor) { q64(gdt_base + (selector & 0xfff8)) = descriptor; }
  /// A gate in the legacy (8-byte) IDT and in the long (16-byte) one.
  void set_gate(u8 vector, unsigned access, u16 selector, u32 offset);
  void set_gate64(u8 vector, unsigned access, u16 selector, u64 offset, unsigned ist = 0);

  // The GDT that protected_mode_at() makes: code and data for ring n at code32 + 16 n, data + 16 n.
  static constexpr u16 code0 = 0x08, data0 = 0x10, code3 = 0x18, data3 = 0x20, code16 = 0x28, data16 = 0x30,
                       code64_0 = 0x38, code64_3 = 0x40, conforming = 0x48, tss_selector = 0x50, free_selector = 0x60;
  static constexpr u64 gdt_base = 0x10000, idt_base = 0x11000, tss_base = 0x12000, ldt_base = 0x13000;

  SoftCpu& cpu;
  u8* ram_;
  CodeShared shared;
  std::vector<u8> flags_ = std::vector<u8>(ram_size >> 12);
  std::vector<Block*> blocks_ = std::vector<Block*>(ram_size >> 12);
  std::vector<u64> dirty_ = std::vector<u64>(64);
  std::vector<u8> rom_ = std::vector<u8>(8192, 0x90);
};

}  // namespace nagaya::engine::soft
