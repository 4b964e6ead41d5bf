// A throw-away VM of 64 KiB with one processor in 64-bit ring 0, to try out what a host's KVM really does. No interrupt
// controllers, so HLT ends a run. Every run is bounded by a timer.
#pragma once
#include <linux/kvm.h>

#include <chrono>
#include <memory>
#include <span>

#include "base/result.hpp"
#include "engine/kvm/kick.hpp"
#include "host/fd.hpp"
#include "host/mapping.hpp"

namespace nagaya::engine::kvm {

class System;

class ScratchGuest {
 public:
  /// Where things are in its memory, mapped one to one and for user code too.
  static constexpr u64 code_at = 0x8000, data_at = 0x9000;

  enum class End : u8 { halted, shutdown, refused, timeout };
  struct Outcome {
    End end = End::refused;
    u64 rax = 0, rbx = 0, rcx = 0;
    u64 elapsed_ns = 0;
    u32 suberror = 0;  ///< of a KVM internal error
  };

  static Result<std::unique_ptr<ScratchGuest>> create(const System& system);
  ~ScratchGuest();

  /// Runs `code` from a fresh state (CR4 with `extra_cr4`) until HLT, or `limit` is over. INT3 returns at once; any
  /// other exception sets RAX to `exception_mark` and halts; SYSCALL halts with RBX = 2 when it came out in kernel
  /// mode.
  Result<Outcome> run(std::span<const u8> code, std::chrono::microseconds limit, u64 extra_cr4 = 0);
  /// Sets an MSR from outside; false when KVM refuses.
  [[nodiscard]] bool can_set_msr(u32 index, u64 value) const;

  static constexpr u64 exception_mark = 0xbad;

 private:
  ScratchGuest() = default;
  Result<> reset(std::span<const u8> code, u64 extra_cr4);
  void lay_out();

  host::Fd vm_, vcpu_;
  host::Mapping memory_, mapping_;
  std::unique_ptr<Kicker> kicker_;
};

}  // namespace nagaya::engine::kvm
