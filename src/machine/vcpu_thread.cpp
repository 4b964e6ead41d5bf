#include "machine/vcpu_thread.hpp"

#include <fmt/format.h>

#include "host/thread.hpp"

namespace nagaya::machine {

VcpuThread::VcpuThread(unsigned id, std::function<void(const engine::Exit&)> on_exit)
    : id_(id), on_exit_(std::move(on_exit)) {
  thread_ = host::start_thread(fmt::format("vcpu{}", id), [this] { loop(); });
}

VcpuThread::~VcpuThread() {
  stop();
  wait_parked();
  call([this] { vcpu_.reset(); });
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  wake_.notify_one();
}

Result<> VcpuThread::create(engine::Engine& engine, engine::IoHandler& io, engine::LocalApic* apic,
                            std::vector<engine::CpuidEntry> cpuid) {
  cpuid_ = std::move(cpuid);
  Result<> result;
  call([&] {
    auto made = engine.create_vcpu(id_, io, apic, cpuid_);
    if (made) {
      vcpu_ = std::move(*made);
    } else {
      result = std::unexpected(std::move(made.error()).within(fmt::format("vCPU {}", id_)));
    }
  });
  return result;
}

void VcpuThread::run() {
  {
    const std::lock_guard lock(mutex_);
    if (!vcpu_) return;
    want_run_ = true;
  }
  wake_.notify_one();
}

void VcpuThread::stop() {
  const std::lock_guard lock(mutex_);
  want_run_ = false;
  if (vcpu_ && !parked_) vcpu_->kick();
}

void VcpuThread::wait_parked() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return parked_ && !want_run_; });
}

void VcpuThread::call(const std::function<void()>& task) {
  if (std::this_thread::get_id() == thread_.get_id()) return task();
  std::unique_lock lock(mutex_);
  task_ = &task;
  wake_.notify_one();
  changed_.wait(lock, [&] { return task_ == nullptr; });
}

void VcpuThread::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    parked_ = true;
    if (!want_run_) changed_.notify_all();
    wake_.wait(lock, [&] { return task_ != nullptr || want_run_ || quit_; });
    if (task_ != nullptr) {
      const auto* task = task_;
      lock.unlock();
      (*task)();
      lock.lock();
      task_ = nullptr;
      changed_.notify_all();
    } else if (quit_) {
      return;
    } else {
      parked_ = false;
      lock.unlock();
      const engine::Exit exit = vcpu_->run();
      lock.lock();
      if (exit.reason == engine::ExitReason::kicked) continue;
      want_run_ = false;
      lock.unlock();
      on_exit_(exit);
      lock.lock();
    }
  }
}

}  // namespace nagaya::machine
