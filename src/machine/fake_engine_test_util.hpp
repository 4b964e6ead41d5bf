// An engine for tests: its processors execute nothing but a script of I/O accesses, and keep whatever state they are given.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/engine.hpp"

namespace nagaya::machine::testing {

/// What the test sees of all processors.
struct FakeControl {
  /// Runs on the vCPU's thread each time it is told to run; returning means a wait for the next kick.
  std::function<void(unsigned vcpu, engine::IoHandler& io)> script = [](unsigned, engine::IoHandler&) {};
  std::function<engine::Exit(unsigned vcpu)> exit = [](unsigned) { return engine::Exit{}; };  ///< asked once per script
  unsigned max_vcpus = 8;
  bool fail_create = false, fail_set_state = false;
  std::vector<x86::CpuidEntry> cpuid;
  std::atomic<unsigned> runs = 0, created = 0;
};

class FakeVcpu final : public engine::Vcpu {
 public:
  FakeVcpu(FakeControl& control, unsigned id, engine::IoHandler& io) : control_(control), id_(id), io_(io) {}

  engine::Exit run() override {
    ++control_.runs;
    control_.script(id_, io_);
    if (const engine::Exit exit = control_.exit(id_); exit.reason != engine::ExitReason::kicked) return exit;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return kicked_; });
    kicked_ = false;
    return {};
  }
  void kick() override {
    const std::lock_guard lock(mutex_);
    kicked_ = true;
    changed_.notify_all();
  }
  void signal(engine::VcpuSignal, u8) override {}
  Result<x86::CpuState> state() override { return state_; }
  Result<> set_state(const x86::CpuState& state) override {
    if (control_.fail_set_state) return fail("fake state");
    state_ = state;
    return {};
  }
  Result<u64> tsc_offset() override { return offset_; }
  Result<> set_tsc_offset(u64 offset) override {
    offset_ = offset;
    return {};
  }
  Result<x86::LapicState> lapic_state() override { return fail("no local APIC"); }
  Result<> set_lapic_state(const x86::LapicState&) override { return fail("no local APIC"); }

 private:
  FakeControl& control_;
  const unsigned id_;
  engine::IoHandler& io_;
  x86::CpuState state_;
  u64 offset_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool kicked_ = false;
};

class FakeEngine final : public engine::Engine {
 public:
  explicit FakeEngine(FakeControl& control) : control_(control) {
    capabilities_.name = "fake";
    capabilities_.max_vcpus = control.max_vcpus;
  }
  const engine::Capabilities& capabilities() const override { return capabilities_; }
  Result<> set_memory(std::span<const engine::MemoryRegion>) override { return {}; }
  Result<std::unique_ptr<engine::Vcpu>> create_vcpu(unsigned id, engine::IoHandler& io, engine::LocalApic*,
                                                    std::span<const engine::CpuidEntry>) override {
    if (control_.fail_create) return fail("fake refusal");
    ++control_.created;
    return std::make_unique<FakeVcpu>(control_, id, io);
  }
  Result<std::vector<engine::CpuidEntry>> supported_cpuid() override { return control_.cpuid; }
  engine::IrqChip* irqchip() override { return nullptr; }
  Result<> set_dirty_log(bool) override { return {}; }
  Result<std::vector<Gpa>> take_dirty() override { return std::vector<Gpa>{}; }
  void memory_written(Gpa, u64) override {}
  Result<> add_io_event(const engine::IoEvent&) override { return fail("none"); }
  Result<> remove_io_event(const engine::IoEvent&) override { return fail("none"); }
  Result<> add_irqfd(int, unsigned) override { return fail("none"); }
  Result<> remove_irqfd(int, unsigned) override { return fail("none"); }
  Result<u64> clock_ns() override { return clock_; }
  Result<> set_clock_ns(u64 value) override {
    clock_ = value;
    return {};
  }
  std::string statistics() const override { return "fake"; }

 private:
  FakeControl& control_;
  engine::Capabilities capabilities_;
  u64 clock_ = 12345;
};

}  // namespace nagaya::machine::testing
