#include "engine/kvm/system.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "engine/kvm/ioctl.hpp"

namespace nagaya::engine::kvm {
namespace {

struct Need {
  int capability;
  const char* name;
};
constexpr Need needs[] = {
    {KVM_CAP_USER_MEMORY, "guest memory from user space"},
    {KVM_CAP_IRQCHIP, "in-kernel interrupt controllers"},
    {KVM_CAP_PIT2, "in-kernel timer (PIT2)"},
    {KVM_CAP_PIT_STATE2, "reading the timer's state"},
    {KVM_CAP_IMMEDIATE_EXIT, "immediate exit (Linux 4.13)"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_SET_TSS_ADDR"},
    {KVM_CAP_EXT_CPUID, "KVM_SET_CPUID2"},
    {KVM_CAP_MP_STATE, "processor run state"},
    {KVM_CAP_VCPU_EVENTS, "pending events"},
    {KVM_CAP_DEBUGREGS, "debug registers"},
    {KVM_CAP_XSAVE, "extended state"},
    {KVM_CAP_SIGNAL_MSI, "message-signalled interrupts"},
    {KVM_CAP_IOEVENTFD, "ioeventfd"},
    {KVM_CAP_IRQFD, "irqfd"},
    {KVM_CAP_READONLY_MEM, "read-only memory"},
};

std::string hint_for(int code) {
  if (code == EACCES || code == EPERM) return "add the user to the group that owns it (kvm), or use --engine soft";
  if (code == ENOENT || code == ENXIO || code == ENODEV)
    return "load the module kvm_intel or kvm_amd where the CPU has virtualization, or use --engine soft";
  return "use --engine soft";
}

}  // namespace

Result<System> System::open(const std::string& device) {
  System system;
  auto fd = host::Fd::open(device, O_RDWR);
  if (!fd) {
    Error error = std::move(fd).error();
    error.hint = hint_for(error.code);
    return std::unexpected(std::move(error));
  }
  system.device_ = std::move(*fd);
  TRY_ASSIGN(const int version, request(system.fd(), KVM_GET_API_VERSION, u64{0}, "KVM_GET_API_VERSION"));
  if (version != KVM_API_VERSION)
    return fail(fmt::format("{} speaks KVM API version {}, not 12", device, version), {}, "use --engine soft");
  for (const Need& need : needs) {
    if (system.extension(need.capability) <= 0)
      return fail(fmt::format("this host's KVM lacks {}", need.name), {}, "use --engine soft");
  }
  TRY_ASSIGN(const int size, request(system.fd(), KVM_GET_VCPU_MMAP_SIZE, u64{0}, "KVM_GET_VCPU_MMAP_SIZE"));
  if (static_cast<u64>(size) < sizeof(kvm_run)) return fail("KVM gives a run area that is too small");
  system.run_size_ = static_cast<u64>(size);
  return system;
}

int System::extension(int capability) const {
  const int result = ::ioctl(fd(), KVM_CHECK_EXTENSION, capability);
  return result < 0 ? 0 : result;
}

Result<host::Fd> System::create_vm() const {
  TRY_ASSIGN(const int vm, request(fd(), KVM_CREATE_VM, u64{0}, "KVM_CREATE_VM"));
  return host::Fd(vm);
}

u64 System::dirty_ring_bytes(int& capability) const {
  for (const int offered : {KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING}) {
    if (const int bytes = extension(offered); bytes > 0) {
      capability = offered;
      return static_cast<u64>(bytes);
    }
  }
  return 0;
}

}  // namespace nagaya::engine::kvm
