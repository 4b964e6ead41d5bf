// The software engine's own classes; nothing outside src/engine/soft includes this.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "engine/soft/code_cache.hpp"
#include "engine/soft/observe.hpp"
#include "engine/soft/soft_engine.hpp"
#include "engine/soft/system.hpp"
#include "engine/soft/translate.hpp"

namespace nagaya::engine::soft {

class SoftVcpu;
class Direct;

class SoftEngine final : public Engine {
 public:
  static Result<std::unique_ptr<Engine>> create(const SoftOptions& options);
  ~SoftEngine() override;

  const Capabilities& capabilities() const override { return capabilities_; }
  Result<> set_memory(std::span<const MemoryRegion> regions) override;
  Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned id, IoHandler& io, LocalApic* apic, std::span<const CpuidEntry> cpuid) override;
  Result<std::vector<CpuidEntry>> supported_cpuid() override;
  IrqChip* irqchip() override { return nullptr; }
  Result<> set_dirty_log(bool on) override;
  Result<std::vector<Gpa>> take_dirty() override;
  void memory_written(Gpa at, u64 size) override;
  Result<> add_io_event(const IoEvent& event) override;
  Result<> remove_io_event(const IoEvent& event) override;
  Result<> add_irqfd(int eventfd, unsigned gsi) override;
  Result<> remove_irqfd(int eventfd, unsigned gsi) override;
  Result<u64> clock_ns() override;
  Result<> set_clock_ns(u64 value) override;
  std::string statistics() const override;

  // --- for SoftVcpu
  void attach(SoftVcpu& vcpu);
  void detach(SoftVcpu& vcpu);
  /// Around translated code: waits while someone holds the world.
  void begin_guest();
  void end_guest();
  /// Runs `work` while no vCPU is inside translated code. Not from inside it.
  void exclusive(const std::function<void()>& work);
  /// Makes the block that `cpu` wants next. Faults of the fetch are left pending in `cpu`.
  void translate_for(SoftCpu& cpu);
  void kick_apic_id(u64 apic_id);
  /// Before a vCPU sleeps, with the time since it last woke: a guest at rest gives back what the code cache took while it worked.
  void rest(u64 awake_tsc);
  [[nodiscard]] const CodeCache& cache() const { return *cache_; }
  [[nodiscard]] u64 host_xcr0() const { return host_xcr0_; }
  [[nodiscard]] DirectExecution direct() const { return options_.direct; }
  [[nodiscard]] u64 tsc_khz() const { return tsc_khz_; }

 private:
  SoftEngine() = default;
  void flush_code();             // with the world held
  void evict(unsigned segment);  // the same: drops the translations in one part of the cache
  /// Has every vCPU drop its TLBs before it enters translated code again. With the world held; a vCPU may still be in C++, where
  /// it writes only with a look at the page's marks afterwards.
  void flush_tlbs();
  /// With the world held: no process for direct execution may write guest memory any more until it has asked again.
  void release_direct();
  void unmap_tables();
  u32 register_mode(u32 key);

  Capabilities capabilities_;
  SoftOptions options_;
  CodeShared shared_;
  u64 host_xcr0_ = 3, tsc_khz_ = 0;
  u64 mapped_pages_ = 0;
  std::unique_ptr<CodeCache> cache_;
  std::unique_ptr<Translator> translator_;
  std::mutex translate_mutex_;  // guards cache_ and translator_ while vCPUs run
  u64 flushes_ = 0, evictions_ = 0, translated_ = 0, translation_tsc_ = 0;
  std::unique_ptr<Observer> observer_;  // null: nobody looks; guarded by translate_mutex_
  std::string departed_;  // counters of vCPUs that are gone, for the observer; guarded by vcpus_mutex_

  std::atomic<u64> rest_began_{0}, awake_tsc_{0};  // since when it is watched how long vCPUs are awake, and how long they were

  std::mutex world_mutex_;
  std::condition_variable world_changed_;
  unsigned inside_ = 0;   // vCPUs inside translated code; guarded by world_mutex_
  unsigned holders_ = 0;  // exclusive sections waiting or running; guarded by world_mutex_
  bool held_ = false;
  mutable std::mutex vcpus_mutex_;
  std::vector<SoftVcpu*> vcpus_;  // guarded by vcpus_mutex_
};

class SoftVcpu final : public Vcpu {
 public:
  static Result<std::unique_ptr<Vcpu>> create(SoftEngine& engine, CodeShared& shared, unsigned id, IoHandler& io, LocalApic* apic,
                                              std::span<const CpuidEntry> cpuid);
  ~SoftVcpu() override;

  Exit run() override;
  void kick() override;
  void signal(VcpuSignal what, u8 vector) override;
  Result<x86::CpuState> state() override;
  Result<> set_state(const x86::CpuState& state) override;
  Result<x86::LapicState> lapic_state() override;
  Result<> set_lapic_state(const x86::LapicState& state) override;
  Result<u64> tsc_offset() override;
  Result<> set_tsc_offset(u64 offset) override;

  /// Ends a HLT without an interrupt (KVM_HC_KICK_CPU).
  void pv_kick() {
    pv_kick_.store(true);
    poke();
  }
  /// Asks for a look at the requests at the next block head; any thread.
  void poke();
  [[nodiscard]] SoftCpu& cpu() { return *cpu_; }
  [[nodiscard]] const SoftCpu& cpu() const { return *cpu_; }
  [[nodiscard]] SoftEngine& engine() { return engine_; }
  [[nodiscard]] const Direct* direct() const { return direct_.get(); }

 private:
  explicit SoftVcpu(SoftEngine& engine);
  /// INIT, SIPI and NMI that were signalled go into the state.
  void take_requests();
  /// Handles requests, exceptions and interrupts. False: nothing to execute now (waits for `poke`).
  bool prepare();
  void sleep();
  /// What follows the instruction executed last, when it was a single step: traps.
  void end_instruction();

  SoftEngine& engine_;
  SoftCpu* cpu_ = nullptr;
  std::unique_ptr<Direct> direct_;
  u64 woke_ = 0;  // time stamp of the end of its last sleep
  std::vector<CpuidEntry> cpuid_;
  std::atomic<bool> kicked_{false};
  std::atomic<u32> requests_{0};  // bits by VcpuSignal
  std::atomic<u32> sipi_vector_{0};
  std::atomic<bool> pv_kick_{false};
};

/// Installs the process-wide handlers for faults of re-encoded instructions (once), and this thread's signal stack and mask.
Result<> enter_thread(SoftVcpu& vcpu);

/// The counters of one vCPU as text.
std::string statistics_of(const SoftVcpu& vcpu);

/// CPUID of this host less what the engine does not carry, plus what it gives on any host.
std::vector<CpuidEntry> host_cpuid();
/// Empty when this host can run the engine, else what it lacks.
std::string missing_host_features();
/// XSAVE components carried: x87, SSE, AVX and, where the host has it, AVX-512.
u64 carried_xcr0();
/// Feature bits (enum Feature) from a CPUID table.
u32 features_of(std::span<const CpuidEntry> cpuid);

}  // namespace nagaya::engine::soft
