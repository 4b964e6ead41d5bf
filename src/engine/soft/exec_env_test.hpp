// A processor, some RAM at guest-physical 0 and a recorder of port and MMIO accesses, for tests that execute single
// instructions given as bytes: light first, heavy when asked for.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <span>
#include <vector>

#include "engine/engine.hpp"
#include "engine/soft/decode.hpp"
#include "engine/soft/light/blocks.hpp"
#include "engine/soft/light/descriptor.hpp"
#include "engine/soft/light/memory.hpp"
#include "engine/soft/light/operand.hpp"
#include "engine/soft/light/tlb.hpp"

namespace nagaya::engine::soft {

struct IoAccess {
  u64 address;
  unsigned size;
  bool write, port;
  u64 value;
  bool operator==(const IoAccess&) const = default;
};

class RecordingIo final : public IoHandler {
 public:
  void port_read(u16 port, std::span<u8> data) override { read(port, data, true); }
  void port_write(u16 port, std::span<const u8> data) override { write(port, data, true); }
  void mmio_read(Gpa at, std::span<u8> data) override { read(at.value, data, false); }
  void mmio_write(Gpa at, std::span<const u8> data) override { write(at.value, data, false); }
  std::vector<IoAccess> log;
  u64 answer = 0x1122334455667788;

 private:
  void read(u64 at, std::span<u8> data, bool port) {
    std::memcpy(data.data(), &answer, data.size());
    log.push_back({at, static_cast<unsigned>(data.size()), false, port, 0});
  }
  void write(u64 at, std::span<const u8> data, bool port) {
    u64 value = 0;
    std::memcpy(&value, data.data(), data.size());
    log.push_back({at, static_cast<unsigned>(data.size()), true, port, value});
  }
};

class ExecEnv : public testing::Test {
 protected:
  static constexpr u64 ram_size = 8 << 20;
  static constexpr u64 rip0 = 0x4000;
  ExecEnv();
  ~ExecEnv() override;

  /// Flat protected or long mode at a CPL. Long mode: an identity map of the first 8 MiB, 4 KiB pages below 2 MiB (tables at
  /// 0x1000, the 4 KiB table at 0x5000 .. see page()), user-writable. 16 bits: real mode.
  void mode(unsigned bits, unsigned ring = 0);
  /// The page-table entry of a linear address below 2 MiB in long mode.
  u64& page(u64 linear) { return *reinterpret_cast<u64*>(ram_ + 0x200000 + (linear >> 12) * 8); }
  void unmap(u64 linear) {
    page(linear) = 0;
    tlb_flush_all(cpu);
  }

  /// Executes the bytes at the current RIP. False: a fault is pending (see take_fault).
  bool run(std::initializer_list<int> bytes);
  /// The same, repeated while RIP stays (REP); gives up after many calls.
  bool run_all(std::initializer_list<int> bytes);
  /// The instruction raised this fault, with this error code if it has one.
  void expect_fault(u8 vector, u32 code = 0);
  void cpuid_set(u32 function, u32 index, u32 a, u32 b, u32 c, u32 d);

  u64& reg(unsigned i) { return cpu.s.gpr[i]; }
  template <class T = u64>
  T& at(u64 gpa) {
    return *reinterpret_cast<T*>(ram_ + gpa);
  }

  SoftCpu& cpu;
  u8* ram_;
  RecordingIo io;
  CodeShared shared;
  bool was_heavy = false;  ///< the last run() needed execute_heavy
  std::vector<x86::CpuidEntry> cpuid_;
  std::vector<u8> flags_ = std::vector<u8>(ram_size >> 12);
  std::vector<Block*> blocks_ = std::vector<Block*>(ram_size >> 12);
  std::vector<u64> dirty_ = std::vector<u64>(64);
};

}  // namespace nagaya::engine::soft
