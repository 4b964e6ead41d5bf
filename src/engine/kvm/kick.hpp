// How another thread brings a vCPU's thread out of KVM_RUN, without a race: the kicker sets kvm_run::immediate_exit,
// then sends a signal whose handler does nothing. A signal that comes before the ioctl is not lost, because KVM_RUN
// then returns at once. Source: Linux Documentation/virt/kvm/api.rst, "immediate_exit".
#pragma once
#include <sys/types.h>

#include <mutex>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::engine::kvm {

/// Installs the empty handler (once per process); the error says who holds the signal.
[[nodiscard]] Result<> prepare_kicks();

class Kicker {
 public:
  explicit Kicker(u8& immediate_exit) : immediate_exit_(immediate_exit) {}
  /// The owner is about to enter KVM_RUN, or has left it for good. `enter` unblocks the signal in the calling thread.
  void enter();
  void leave();
  /// Any thread: KVM_RUN ends soon or does not begin.
  void kick();
  /// Owner, after KVM_RUN returned EINTR and before it looks at what was asked of it.
  void acknowledge();

 private:
  u8& immediate_exit_;  // in the area shared with the kernel
  std::mutex mutex_;
  pid_t thread_ = 0;  // inside run(); guarded by mutex_
};

}  // namespace nagaya::engine::kvm
