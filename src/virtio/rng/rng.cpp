#include "virtio/rng/rng.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <chrono>

namespace nagaya::virtio {
namespace {

/// Bytes given per request at most: a cheap request must not cost the host much. Drivers take less than they ask for.
constexpr u64 most_per_request = 4096;

u64 now_ns() {
  return static_cast<u64>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                              std::chrono::steady_clock::now().time_since_epoch())
                              .count());
}

}  // namespace

Rng::Rng(std::string name, memory::GuestMemory& memory, const RngConfig& config)
    : VirtioDevice(std::move(name), type::rng, memory, {64}), config_(config), worker_("virtio-rng", [this](unsigned) {
        serve_all(0, chain_, [this](const Chain& chain) { return serve(chain); });
      }, 1) {}

Rng::~Rng() { stop(); }

void Rng::start() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = false;
  }
  worker_.go();
}

void Rng::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  worker_.halt();
}

/// Waits until some of the budget is there, a second's worth at most; 0 when the device stops.
u64 Rng::allowance(u64 wanted) {
  if (wanted == 0) return 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    const u64 now = now_ns();
    const u64 elapsed = std::min<u64>(now - refilled_ns_, 1'000'000'000);
    const u64 gained = elapsed * std::min(config_.bytes_per_second, 16 * GiB) / 1'000'000'000;
    if (gained > 0) {
      budget_ = std::min(budget_ + gained, std::max(config_.bytes_per_second, most_per_request));
      refilled_ns_ = now;
    }
    if (budget_ > 0) break;
    // One byte's time, so that the next look finds something.
    const auto pause = std::chrono::nanoseconds(std::max<u64>(1'000'000, 1'000'000'000 / config_.bytes_per_second));
    if (stopped_.wait_for(lock, pause, [this] { return stopping_; })) return 0;
  }
  const u64 granted = std::min(budget_, wanted);
  budget_ -= granted;
  return granted;
}

std::optional<u64> Rng::serve(const Chain& chain) {
  const u64 wanted = allowance(std::min(chain.writable_bytes, most_per_request));
  if (wanted == 0 && chain.writable_bytes != 0) return {};
  std::array<u8, most_per_request> random;
  u64 got = 0;
  while (got < wanted) {
    const ssize_t n = getrandom(random.data() + got, wanted - got, 0);
    if (n <= 0) break;  // EINTR of a large request; what is there suffices
    got += static_cast<u64>(n);
  }
  return chain.write(0, std::span(random).first(got));
}

}  // namespace nagaya::virtio
