// What of one guest program's memory is mapped in a vCPU's process for direct execution. A mapping is a translation that the processor
// keeps, like an entry of a TLB: it comes from a walk that set the accessed bit, may be written only once the dirty bit is set, and goes when
// the guest flushes it.
#pragma once
#include <unordered_map>
#include <vector>

#include "engine/soft/cpu.hpp"
#include "engine/soft/direct/process.hpp"

namespace nagaya::engine::soft {

class DirectPages {
 public:
  explicit DirectPages(direct::Process& process) : process_(process) {}

  /// Drops what the guest has flushed since, all of it when another address space is current. False: the process is of no use any more.
  [[nodiscard]] bool sync(SoftCpu& cpu);
  enum class Fixed : u8 {
    yes,      ///< what faulted may be tried again
    no,       ///< it is not for us: the guest's own fault, a device, code that must be translated
    failed,   ///< the process is of no use any more
  };
  /// After a page fault at `address` of the instruction at `rip`.
  [[nodiscard]] Fixed fix(SoftCpu& cpu, u64 address, u64 rip);
  /// Nothing more can be mapped before all is dropped: each call makes at most three mappings of one, of which the host allows 65530 by default.
  [[nodiscard]] bool full() const { return calls_ > 20'000; }

  u64 mapped = 0, pieces = 0, drops = 0;  ///< for the statistics

 private:
  [[nodiscard]] bool drop_all(SoftCpu& cpu);
  struct Rights {
    bool write = false, execute = false, scanned = false;
  };
  struct Mapping {
    u64 page, gpa, size;
    Rights rights;
  };
  [[nodiscard]] bool describe(SoftCpu& cpu, u64 page, u64 gpa, u64 rights, bool fetch, Mapping& out) const;
  void around(SoftCpu& cpu, const Mapping& first);
  void whole_table(SoftCpu& cpu, const u64* table, u64 begin, bool write, bool execute, const Mapping& first);
  [[nodiscard]] bool apply(SoftCpu& cpu);
  [[nodiscard]] const Rights* find(u64 page) const;

  direct::Process& process_;
  std::unordered_map<u64, Rights> small_, large_;  // by linear address, 4 KiB and 2 MiB
  std::vector<Mapping> wanted_;
  u64 budget_ = 0, in_a_row_ = 0;  ///< how many more may be mapped, and how many faults there were since the process was entered
  u64 next_ = 0, tables_ = 1;  ///< where a fault would go on in one direction, and how many tables were read last
  u64 calls_ = 0;  ///< of mmap since all was dropped
};

}  // namespace nagaya::engine::soft
