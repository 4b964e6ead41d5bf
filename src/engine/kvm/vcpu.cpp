#include "engine/kvm/vcpu.hpp"

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/scope.hpp"
#include "engine/kvm/cpuid.hpp"
#include "engine/kvm/dirty_ring.hpp"
#include "engine/kvm/ioctl.hpp"
#include "engine/kvm/irqchip.hpp"
#include "engine/kvm/memory_slots.hpp"
#include "engine/kvm/msr_table.hpp"
#include "engine/kvm/system.hpp"
#include "host/timer_queue.hpp"

namespace nagaya::engine::kvm {
namespace {

constexpr u64 long_pause_ns = 1'000'000'000;

void count(std::atomic<u64>& counter) { counter.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

KvmVcpu::KvmVcpu(const VcpuContext& context, unsigned id, IoHandler& io, host::Fd fd, host::Mapping run,
                 std::shared_ptr<VcpuCounters> counters)
    : context_(context),
      id_(id),
      io_(io),
      fd_(std::move(fd)),
      mapping_(std::move(run)),
      run_(reinterpret_cast<kvm_run*>(mapping_.data())),
      counters_(std::move(counters)),
      kicker_(run_->immediate_exit),
      msr_unreadable_(msr_table().size()) {}

Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(const VcpuContext& context, unsigned id, IoHandler& io,
                                                 std::span<const CpuidEntry> cpuid,
                                                 std::shared_ptr<VcpuCounters> counters) {
  TRY(prepare_kicks());
  TRY_ASSIGN(const int number, request(context.vm_fd, KVM_CREATE_VCPU, u64{id}, "KVM_CREATE_VCPU"));
  host::Fd fd(number);
  TRY_ASSIGN(auto run, host::Mapping::shared(number, 0, context.system.run_size(), PROT_READ | PROT_WRITE));
  TRY(set_cpuid(number, cpuid));
  if (context.ring_entries > 0) {
    TRY_ASSIGN(auto ring, DirtyRing::map(number, context.ring_entries));
    context.memory.add_ring(std::move(ring));
  }
  auto vcpu =
      std::unique_ptr<KvmVcpu>(new KvmVcpu(context, id, io, std::move(fd), std::move(run), std::move(counters)));
  vcpu->xcr0_supported_ = xcr0_of(cpuid);
  return vcpu;
}

void KvmVcpu::kick() {
  kick_requested_.store(true);
  kicker_.kick();
}

void KvmVcpu::signal(VcpuSignal what, u8 vector) {
  // Delivery modes INIT (5) and start-up (6) of a message to this processor's APIC: Intel SDM vol. 3, 11.11.2.
  const u64 address = 0xfee00000 | u64{id_} << 12;
  switch (what) {
    case VcpuSignal::interrupt:
      break;  // the in-kernel APIC wakes its processor itself
    case VcpuSignal::nmi:
      // KVM_NMI waits for KVM_RUN to end, so the owner asks for it.
      nmi_requested_.store(true);
      kicker_.kick();
      break;
    case VcpuSignal::init:
      context_.irqchip.send_msi(address, 5u << 8 | 1u << 14);
      break;
    case VcpuSignal::sipi:
      context_.irqchip.send_msi(address, 6u << 8 | 1u << 14 | vector);
      break;
  }
}

bool KvmVcpu::take_requests() {
  kicker_.acknowledge();
  if (nmi_requested_.exchange(false)) (void)::ioctl(fd(), KVM_NMI);
  return kick_requested_.exchange(false);
}

Exit KvmVcpu::run() {
  if (shutdown_) return {ExitReason::shutdown};
  kicker_.enter();
  ScopeExit leave([&] { kicker_.leave(); });
  if (kicked_at_ns_ != 0 && host::monotonic_ns() - kicked_at_ns_ > long_pause_ns)
    (void)::ioctl(fd(), KVM_KVMCLOCK_CTRL);  // the guest's watchdog learns that it stood still; fails where it has none
  kicked_at_ns_ = 0;
  for (;;) {
    count(counters_->runs);
    if (::ioctl(fd(), KVM_RUN, 0) != 0) {
      const int code = errno;
      if (code != EINTR && code != EAGAIN) return {ExitReason::internal_error, describe_run_failure(code)};
      // Any port or MMIO access that was under way has been completed: this is an instruction boundary.
      if (code == EINTR && take_requests()) {
        count(counters_->kicks);
        kicked_at_ns_ = host::monotonic_ns();
        return {ExitReason::kicked};
      }
      continue;
    }
    if (Exit exit; handle_exit(exit)) return exit;
  }
}

// True when the caller of run() must know.
bool KvmVcpu::handle_exit(Exit& exit) {
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      handle_port();
      return false;
    case KVM_EXIT_MMIO:
      handle_mmio();
      return false;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      return false;
    case KVM_EXIT_DIRTY_RING_FULL:
      count(counters_->ring_full);
      if (auto drained = context_.memory.drain_full_ring(); !drained) {
        exit = {ExitReason::internal_error, drained.error().message()};
        return true;
      }
      return false;
    case KVM_EXIT_SHUTDOWN:
      shutdown_ = true;
      exit = {ExitReason::shutdown};
      return true;
    case KVM_EXIT_SYSTEM_EVENT:
      exit = {ExitReason::system_event};
      return true;
    case KVM_EXIT_INTERNAL_ERROR:
      exit = {ExitReason::internal_error, describe_internal_error()};
      return true;
    default:
      exit = {ExitReason::internal_error, describe_other_exit()};
      return true;
  }
}

void KvmVcpu::handle_port() {
  count(counters_->ports);
  const auto& io = run_->io;
  const u64 bytes = u64{io.size} * io.count;
  if (io.data_offset > mapping_.size() || bytes > mapping_.size() - io.data_offset) return;
  auto* data = reinterpret_cast<u8*>(run_) + io.data_offset;
  for (u32 i = 0; i < io.count; ++i, data += io.size) {
    if (io.direction == KVM_EXIT_IO_IN) {
      io_.port_read(io.port, std::span(data, io.size));
    } else {
      io_.port_write(io.port, std::span<const u8>(data, io.size));
    }
  }
}

void KvmVcpu::handle_mmio() {
  count(counters_->mmio);
  auto& mmio = run_->mmio;
  const u32 size = mmio.len < 8 ? mmio.len : 8;
  if (mmio.is_write) {
    io_.mmio_write(Gpa(mmio.phys_addr), std::span<const u8>(mmio.data, size));
  } else {
    io_.mmio_read(Gpa(mmio.phys_addr), std::span(mmio.data, size));
  }
}

}  // namespace nagaya::engine::kvm
