// The host thread that owns one vCPU: it executes the guest when told to run, and anything else the machine wants done
// with that vCPU (read state, write state) while parked.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.hpp"
#include "engine/engine.hpp"

namespace nagaya::machine {

class VcpuThread {
 public:
  /// `on_exit` hears exits other than kicks, on this thread; the vCPU is parked then.
  VcpuThread(unsigned id, std::function<void(const engine::Exit&)> on_exit);
  ~VcpuThread();
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  /// Creates the vCPU, on its thread.
  Result<> create(engine::Engine& engine, engine::IoHandler& io, engine::LocalApic* apic,
                  std::vector<engine::CpuidEntry> cpuid);
  /// Null before create. Its thread-safe functions (kick, signal) may be called by anyone.
  [[nodiscard]] engine::Vcpu* vcpu() const { return vcpu_.get(); }
  [[nodiscard]] const std::vector<engine::CpuidEntry>& cpuid() const { return cpuid_; }

  void run();
  /// Asks the guest to stop at an instruction boundary; any thread, also this one from inside an I/O callback.
  void stop();
  /// Waits until it has stopped. Not from this thread.
  void wait_parked();
  /// Executes `task` on the thread and waits for it. Only while parked; from the thread itself it just runs.
  void call(const std::function<void()>& task);
  [[nodiscard]] unsigned id() const { return id_; }

 private:
  void loop();

  const unsigned id_;
  const std::function<void(const engine::Exit&)> on_exit_;
  std::vector<engine::CpuidEntry> cpuid_;  // the vCPU refers to it
  std::unique_ptr<engine::Vcpu> vcpu_;

  std::mutex mutex_;
  std::condition_variable wake_, changed_;
  bool want_run_ = false, quit_ = false, parked_ = true;  // guarded by mutex_
  const std::function<void()>* task_ = nullptr;           // guarded by mutex_
  std::jthread thread_;
};

}  // namespace nagaya::machine
