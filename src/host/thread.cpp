#include "host/thread.hpp"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <csignal>

namespace nagaya::host {
namespace {

std::atomic<Capabilities> kept_in_threads = all_capabilities;

}  // namespace

void keep_in_threads(Capabilities capabilities) { kept_in_threads = capabilities; }

void name_this_thread(const std::string& name) { pthread_setname_np(pthread_self(), name.substr(0, 15).c_str()); }

std::jthread start_thread(std::string name, std::function<void()> body) {
  sigset_t block, before;
  sigfillset(&block);
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS}) sigdelset(&block, fault);
  pthread_sigmask(SIG_SETMASK, &block, &before);  // inherited by the new thread from its first instruction
  std::jthread thread([name = std::move(name), body = std::move(body)] {
    name_this_thread(name);
    // It gives up what it does not have in any case; an error would be the kernel's.
    if (const Capabilities keep = kept_in_threads; keep != all_capabilities) (void)keep_capabilities(keep);
    body();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

Result<> pin_this_thread(unsigned cpu) {
  if (cpu >= CPU_SETSIZE) return fail("cannot pin a thread", "no such CPU");
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (const int code = pthread_setaffinity_np(pthread_self(), sizeof set, &set); code != 0) {
    return fail_errno("cannot pin a thread", code);
  }
  return {};
}

unsigned usable_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  const int count = CPU_COUNT(&set);
  return count > 0 ? static_cast<unsigned>(count) : 1;
}

}  // namespace nagaya::host
