// Direct execution: a program of the guest that computes runs as it is, in a process whose address space is the program's. Whatever it
// cannot do there (system calls, faults of its own, devices, instructions that would show the host) is left to translated code, which goes on
// at that very instruction. docs/design/direct-execution.md
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "engine/soft/cpu.hpp"
#include "engine/soft/direct/process.hpp"
#include "engine/soft/direct_pages.hpp"
#include "engine/soft/soft_engine.hpp"

namespace nagaya::engine::soft {

class Direct {
 public:
  /// For the calling thread's vCPU, over the memory that the engine has now.
  static Result<std::unique_ptr<Direct>> create(const CodeShared& shared, DirectExecution how, u64 tsc_khz);

  /// Whenever the vCPU leaves translated code, before interrupts are delivered: looks whether a program has computed for long.
  void notice(SoftCpu& cpu);
  /// Between two instructions of the guest: whether to go on here.
  [[nodiscard]] bool wanted(const SoftCpu& cpu) const { return cpu.direct_wanted && is_program(cpu); }
  enum class Ended : u8 {
    not_here,  ///< nothing was executed
    gone_on,   ///< the guest's state is at another instruction
    lost,      ///< the host has killed the process, and the guest's registers with it
  };
  /// The vCPU is inside the world (SoftEngine::begin_guest).
  [[nodiscard]] Ended run(SoftCpu& cpu);
  /// Any thread, after closing the gate (SoftCpu::run_ok): ends run() soon.
  void interrupt();
  [[nodiscard]] std::string statistics() const;

 private:
  explicit Direct(std::unique_ptr<direct::Process> process) : process_(std::move(process)), pages_(*process_) {}
  [[nodiscard]] static bool is_program(const SoftCpu& cpu);
  [[nodiscard]] bool possible(const SoftCpu& cpu) const;
  [[nodiscard]] bool put(SoftCpu& cpu);
  [[nodiscard]] bool take(SoftCpu& cpu, const direct::StopInfo& stop);
  void settle(SoftCpu& cpu, u64 inside, u64 around, bool served);

  std::unique_ptr<direct::Process> process_;
  DirectPages pages_;
  DirectExecution how_ = DirectExecution::automatic;
  std::vector<u8> fresh_image_, image_;  // vector state: as it was at the beginning, and what goes to and fro
  std::atomic<bool> inside_{false};
  bool useless_ = false;  // the host does not let it go on
  i64 balance_us_ = 0;  // what it has brought so far
  i64 advance_us_ = 0;  // how far below zero the balance may be
  u64 tsc_khz_ = 0, renewed_ = 0;
  u64 closed_until_ = 0, closed_ms_ = 0, closed_space_ = 0, others_until_ = 0;  // until when it pauses, for one address space and for the others
  u64 seen_at_ = 0, seen_returns_ = 0;  // when the vCPU was last seen outside of a program, and how often one had gone on by then
  u64 entered_ = 0, stops_[8] = {}, fixes_ = 0, inside_us_ = 0, around_us_ = 0, pauses_ = 0;
};

}  // namespace nagaya::engine::soft
