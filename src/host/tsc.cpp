#include "host/tsc.hpp"

#include <cpuid.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host/fd.hpp"
#include "host/timer_queue.hpp"

namespace nagaya::host {
namespace {

__extension__ using u128 = unsigned __int128;

/// The kernel's factors from TSC to nanoseconds, as any performance event shows them (linux/perf_event.h, "cap_user_time").
u64 from_kernel() {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.size = sizeof attributes;
  attributes.config = PERF_COUNT_SW_DUMMY;
  attributes.exclude_kernel = 1;
  const Fd fd(static_cast<int>(::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!fd) return 0;
  void* at = ::mmap(nullptr, page_size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return 0;
  const auto* page = static_cast<const volatile perf_event_mmap_page*>(at);
  u64 hz = 0;
  if (page->cap_user_time != 0 && page->time_mult != 0 && page->time_shift < 64) {
    // ns = cycles × mult >> shift
    hz = static_cast<u64>((static_cast<u128>(1'000'000'000) << page->time_shift) / page->time_mult);
  }
  ::munmap(at, page_size);
  return hz;
}

u64 from_cpuid() {
  u32 a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_max(0, nullptr) >= 0x15) {
    __cpuid(0x15, a, b, c, d);
    if (a != 0 && b != 0 && c != 0) return u64{c} * b / a;
  }
  __cpuid(1, a, b, c, d);
  if ((c >> 31 & 1) != 0) {
    __cpuid(0x40000000, a, b, c, d);
    if (a >= 0x40000010) {
      __cpuid(0x40000010, a, b, c, d);
      return u64{a} * 1000;
    }
  }
  return 0;
}

u64 measured() {
  struct Sample {
    u64 tsc, ns;
  };
  // The tightest of some pairs of readings: one that was interrupted is no good.
  const auto sample = [] {
    Sample best{};
    u64 narrowest = ~u64{0};
    for (int i = 0; i < 16; ++i) {
      const u64 before = rdtsc(), ns = monotonic_ns(), after = rdtsc();
      if (after - before < narrowest) narrowest = after - before, best = {before + narrowest / 2, ns};
    }
    return best;
  };
  const Sample first = sample();
  const timespec wait{0, 10'000'000};
  ::nanosleep(&wait, nullptr);
  const Sample second = sample();
  return static_cast<u64>(static_cast<u128>(second.tsc - first.tsc) * 1'000'000'000 / (second.ns - first.ns));
}

/// A processor slower or faster than these does not exist: the source is wrong.
bool plausible(u64 hz) { return hz >= 100'000'000 && hz <= 20'000'000'000; }

}  // namespace

u64 tsc_hz() {
  static const u64 hz = [] {
    if (const u64 told = from_kernel(); plausible(told)) return told;
    if (const u64 told = from_cpuid(); plausible(told)) return told;
    const u64 seen = measured();
    return plausible(seen) ? seen : u64{1'000'000'000};
  }();
  return hz;
}

}  // namespace nagaya::host
