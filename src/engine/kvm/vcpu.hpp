// One processor: the run loop around KVM_RUN, and its state.
#pragma once
#include <linux/kvm.h>

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "engine/engine.hpp"
#include "engine/kvm/kick.hpp"
#include "host/fd.hpp"
#include "host/mapping.hpp"

namespace nagaya::engine::kvm {

class System;
class MemorySlots;
class KvmIrqChip;

/// What happened to one vCPU, for people. Written by its thread, read by any.
struct VcpuCounters {
  std::atomic<u64> runs{0}, ports{0}, mmio{0}, kicks{0}, ring_full{0};
  std::atomic<u64> refused_msrs{0};  ///< bit i: entry i of msr_table could not be written
};

/// What a vCPU shares with its VM; outlives it.
struct VcpuContext {
  const System& system;
  int vm_fd;
  MemorySlots& memory;
  KvmIrqChip& irqchip;
  u32 ring_entries;  ///< 0: dirty pages come by bitmaps
  u64 xsave_bytes;
};

class KvmVcpu final : public Vcpu {
 public:
  static Result<std::unique_ptr<KvmVcpu>> create(const VcpuContext& context, unsigned id, IoHandler& io,
                                                 std::span<const CpuidEntry> cpuid,
                                                 std::shared_ptr<VcpuCounters> counters);

  Exit run() override;
  void kick() override;
  void signal(VcpuSignal what, u8 vector) override;
  Result<x86::CpuState> state() override;
  Result<> set_state(const x86::CpuState& state) override;
  Result<u64> tsc_offset() override;
  Result<> set_tsc_offset(u64 offset) override;
  Result<x86::LapicState> lapic_state() override;
  Result<> set_lapic_state(const x86::LapicState& state) override;

 private:
  KvmVcpu(const VcpuContext& context, unsigned id, IoHandler& io, host::Fd fd, host::Mapping run,
          std::shared_ptr<VcpuCounters> counters);
  [[nodiscard]] int fd() const { return fd_.get(); }

  // vcpu.cpp
  bool take_requests();
  bool handle_exit(Exit& exit);
  void handle_port();
  void handle_mmio();
  // vcpu_failure.cpp: sentences for a person
  [[nodiscard]] std::string describe_internal_error() const;
  [[nodiscard]] std::string describe_place(std::span<const u8> instruction = {}) const;
  [[nodiscard]] std::string describe_run_failure(int code) const;
  [[nodiscard]] std::string describe_other_exit() const;
  // vcpu_state.cpp
  Result<> read_msrs(x86::Msrs& msrs);
  Result<> write_msrs(const x86::Msrs& msrs);
  Result<> withdraw_interrupt(kvm_vcpu_events& events);

  const VcpuContext context_;
  const unsigned id_;
  IoHandler& io_;
  host::Fd fd_;
  host::Mapping mapping_;
  kvm_run* run_;
  std::shared_ptr<VcpuCounters> counters_;
  Kicker kicker_;
  std::atomic<bool> kick_requested_{false}, nmi_requested_{false};
  bool shutdown_ = false;   // a triple fault happened; KVM has reset the processor since
  u64 xcr0_supported_ = 3;  // from this vCPU's CPUID
  u64 kicked_at_ns_ = 0;    // when run() last returned because of a kick
  std::vector<bool> msr_unreadable_;
};

}  // namespace nagaya::engine::kvm
