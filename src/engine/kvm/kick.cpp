#include "engine/kvm/kick.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

namespace nagaya::engine::kvm {
namespace {

int kick_signal() { return SIGRTMIN; }

void on_kick(int) {}

Result<> install() {
  struct sigaction action{};
  action.sa_handler = on_kick;
  action.sa_flags = SA_RESTART;  // only KVM_RUN is to be interrupted, not a device's system call on this thread
  sigemptyset(&action.sa_mask);
  if (::sigaction(kick_signal(), &action, nullptr) != 0) return fail_errno("cannot handle the signal that kicks vCPUs");
  return {};
}

void unblock_here() {
  thread_local bool done = false;
  if (done) return;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kick_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  done = true;
}

}  // namespace

Result<> prepare_kicks() {
  static const Result<> installed = install();
  return installed;
}

void Kicker::enter() {
  unblock_here();
  std::lock_guard lock(mutex_);
  thread_ = static_cast<pid_t>(::syscall(SYS_gettid));
}

void Kicker::leave() {
  std::lock_guard lock(mutex_);
  thread_ = 0;
}

void Kicker::kick() {
  std::atomic_ref(immediate_exit_).store(1);
  std::lock_guard lock(mutex_);
  if (thread_ != 0) ::syscall(SYS_tgkill, ::getpid(), thread_, kick_signal());
}

void Kicker::acknowledge() { std::atomic_ref(immediate_exit_).store(0); }

}  // namespace nagaya::engine::kvm
