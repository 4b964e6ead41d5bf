#include "engine/kvm/kvm_engine.hpp"

#include <fmt/format.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <bit>
#include <mutex>

#include "engine/kvm/abi.hpp"
#include "engine/kvm/cpuid.hpp"
#include "engine/kvm/host_limits.hpp"
#include "engine/kvm/ioctl.hpp"
#include "engine/kvm/irqchip.hpp"
#include "engine/kvm/memory_slots.hpp"
#include "engine/kvm/msi_routes.hpp"
#include "engine/kvm/msr_table.hpp"
#include "engine/kvm/system.hpp"
#include "engine/kvm/vcpu.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::engine::kvm {
namespace {

class KvmEngine final : public Engine {
 public:
  KvmEngine(System system, host::Fd vm, const KvmOptions& options, u32 ring_entries)
      : system_(std::move(system)),
        vm_(std::move(vm)),
        memory_(vm_.get(), options.reserved, static_cast<u64>(std::max(system_.extension(KVM_CAP_NR_MEMSLOTS), 32))),
        irqchip_(vm_.get()),
        messages_(vm_.get(), static_cast<unsigned>(std::max(system_.extension(KVM_CAP_IRQ_ROUTING), 0))),
        context_{system_, vm_.get(), memory_, irqchip_, ring_entries, xsave_bytes()} {
    capabilities_.name = "kvm";
    capabilities_.in_kernel_irqchip = true;
    capabilities_.dirty_ring = ring_entries > 0;
    capabilities_.eventfds = true;
    const int most = system_.extension(KVM_CAP_MAX_VCPUS);
    capabilities_.max_vcpus = std::min(x86::pc::max_cpus, most > 0 ? static_cast<unsigned>(most) : 4u);
  }

  const Capabilities& capabilities() const override { return capabilities_; }
  Result<> set_memory(std::span<const MemoryRegion> regions) override { return memory_.set(regions); }

  Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned id, IoHandler& io, LocalApic*,
                                            std::span<const CpuidEntry> cpuid) override {
    if (id >= capabilities_.max_vcpus)
      return fail(fmt::format("KVM on this host holds {} processors", capabilities_.max_vcpus));
    auto counters = std::make_shared<VcpuCounters>();
    TRY_ASSIGN(auto vcpu, KvmVcpu::create(context_, id, io, cpuid, counters));
    std::lock_guard lock(mutex_);
    counters_.push_back(std::move(counters));
    return std::unique_ptr<Vcpu>(std::move(vcpu));
  }

  Result<std::vector<CpuidEntry>> supported_cpuid() override {
    TRY_ASSIGN(const HostLimits limits, measure_limits(system_));
    return kvm::supported_cpuid(system_, limits.cpuid);
  }
  IrqChip* irqchip() override { return &irqchip_; }
  Result<> set_dirty_log(bool on) override { return memory_.set_log(on); }
  Result<std::vector<Gpa>> take_dirty() override { return memory_.take(); }
  void memory_written(Gpa at, u64 size) override { memory_.wrote(at, size); }
  Result<> add_io_event(const IoEvent& event) override { return io_event(event, 0); }
  Result<> remove_io_event(const IoEvent& event) override { return io_event(event, KVM_IOEVENTFD_FLAG_DEASSIGN); }
  Result<> add_irqfd(int eventfd, unsigned gsi) override { return irqfd(eventfd, gsi, 0); }
  Result<> remove_irqfd(int eventfd, unsigned gsi) override { return irqfd(eventfd, gsi, KVM_IRQFD_FLAG_DEASSIGN); }
  Result<> set_msi_irqfd(int eventfd, u64 address, u32 data) override { return messages_.set(eventfd, address, data); }
  void remove_msi_irqfd(int eventfd) override { messages_.remove(eventfd); }

  Result<u64> clock_ns() override {
    kvm_clock_data clock{};
    TRY_KVM(vm_.get(), KVM_GET_CLOCK, &clock);
    return u64{clock.clock};
  }
  Result<> set_clock_ns(u64 value) override {
    kvm_clock_data clock{};
    clock.clock = value;
    TRY_KVM(vm_.get(), KVM_SET_CLOCK, &clock);
    return {};
  }

  std::string statistics() const override {
    u64 runs = 0, ports = 0, mmio = 0, kicks = 0, full = 0, refused = 0;
    std::lock_guard lock(mutex_);
    for (const auto& c : counters_) {
      runs += c->runs, ports += c->ports, mmio += c->mmio, kicks += c->kicks, full += c->ring_full;
      refused |= c->refused_msrs;
    }
    std::string text = fmt::format("KVM_RUN calls {}\nport exits {}\nMMIO exits {}\nkicks {}\ndirty rings full {}\n",
                                   runs, ports, mmio, kicks, full);
    for (std::size_t i = 0; i < msr_table().size(); ++i) {
      if (refused >> i & 1) text += fmt::format("MSR refused by the host {}\n", msr_table()[i].name);
    }
    return text;
  }

 private:
  u64 xsave_bytes() const {
    const int bytes = ::ioctl(vm_.get(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
    return std::max<u64>(sizeof(XsaveArea), bytes > 0 ? static_cast<u64>(bytes) : 0);
  }

  Result<> io_event(const IoEvent& event, u32 flags) {
    kvm_ioeventfd request{};
    request.addr = event.address;
    request.len = event.size;
    request.fd = event.eventfd;
    request.datamatch = event.match;
    request.flags =
        flags | (event.port ? KVM_IOEVENTFD_FLAG_PIO : 0) | (event.has_match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0);
    TRY_KVM(vm_.get(), KVM_IOEVENTFD, &request);
    return {};
  }

  Result<> irqfd(int eventfd, unsigned gsi, u32 flags) {
    if (gsi >= x86::pc::gsi_count) return fail(fmt::format("there is no interrupt line {}", gsi));
    kvm_irqfd request{};
    request.fd = static_cast<u32>(eventfd);
    request.gsi = gsi;
    request.flags = flags;
    TRY_KVM(vm_.get(), KVM_IRQFD, &request);
    return {};
  }

  System system_;
  host::Fd vm_;
  MemorySlots memory_;
  KvmIrqChip irqchip_;
  MsiRoutes messages_;
  VcpuContext context_;
  Capabilities capabilities_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<VcpuCounters>> counters_;  // guarded by mutex_
};

// Enables the dirty ring where wanted and offered; 0 entries mean bitmaps.
Result<u32> enable_ring(const System& system, int vm, const KvmOptions& options) {
  int capability = 0;
  const u64 largest = system.dirty_ring_bytes(capability);
  if (options.dirty_rings == DirtyRings::never || largest == 0) return 0;
  if (!std::has_single_bit(options.dirty_ring_entries) || options.dirty_ring_entries < 1024)
    return fail("the size of a dirty ring must be a power of two, 1024 or more");
  TRY_ASSIGN(const HostLimits limits, measure_limits(system));
  if (!limits.dirty_ring && options.dirty_rings == DirtyRings::automatic) return 0;
  const u64 bytes = std::min<u64>(u64{options.dirty_ring_entries} * sizeof(kvm_dirty_gfn), std::bit_floor(largest));
  kvm_enable_cap enable{};
  enable.cap = static_cast<u32>(capability);
  enable.args[0] = bytes;
  // A host that offers the ring and then refuses it still has bitmaps.
  if (!request(vm, KVM_ENABLE_CAP, &enable, "KVM_CAP_DIRTY_LOG_RING")) return 0;
  return static_cast<u32>(bytes / sizeof(kvm_dirty_gfn));
}

}  // namespace

Result<std::unique_ptr<Engine>> create_kvm_engine(const KvmOptions& options) {
  TRY_ASSIGN(System system, System::open(options.device));
  TRY_ASSIGN(host::Fd vm, system.create_vm());
  // Intel CPUs without unrestricted guests run real mode with help of these four pages.
  u64 identity = options.reserved.value;
  if (system.extension(KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0) TRY_KVM(vm.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity);
  TRY(request(vm.get(), KVM_SET_TSS_ADDR, options.reserved.value + page_size, "KVM_SET_TSS_ADDR"));
  TRY(KvmIrqChip::create(vm.get()));
  // In x2APIC mode the ID register holds 32 bits, as on hardware, and destination FFh is no broadcast.
  constexpr u64 wide_ids = KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK;
  if ((static_cast<u64>(system.extension(KVM_CAP_X2APIC_API)) & wide_ids) == wide_ids) {
    kvm_enable_cap enable{};
    enable.cap = KVM_CAP_X2APIC_API;
    enable.args[0] = wide_ids;
    TRY_KVM(vm.get(), KVM_ENABLE_CAP, &enable);
  }
  TRY_ASSIGN(const u32 ring, enable_ring(system, vm.get(), options));
  return std::unique_ptr<Engine>(std::make_unique<KvmEngine>(std::move(system), std::move(vm), options, ring));
}

}  // namespace nagaya::engine::kvm
