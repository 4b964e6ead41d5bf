#include "engine/kvm/running_requests.hpp"

#include <linux/kvm.h>

#include <array>

#include "engine/kvm/abi.hpp"

namespace nagaya::engine::kvm {
namespace {

constexpr u32 low(unsigned long number) { return static_cast<u32>(number); }

constexpr std::array numbers = {
    // While guests run.
    low(KVM_RUN), low(KVM_IRQ_LINE), low(KVM_SIGNAL_MSI), low(KVM_NMI), low(KVM_IRQFD), low(KVM_IOEVENTFD), low(set_gsi_routing),
    low(KVM_KVMCLOCK_CTRL), low(KVM_TRANSLATE), low(KVM_SET_USER_MEMORY_REGION), low(KVM_GET_DIRTY_LOG), low(KVM_RESET_DIRTY_RINGS),
    // State: pauses, resets, saves.
    low(KVM_GET_REGS), low(KVM_SET_REGS), low(KVM_GET_SREGS), low(KVM_SET_SREGS), low(get_msrs_number), low(set_msrs_number),
    low(get_xsave), low(get_xsave2), low(set_xsave), low(KVM_GET_XCRS), low(KVM_SET_XCRS), low(KVM_GET_DEBUGREGS), low(KVM_SET_DEBUGREGS),
    low(KVM_GET_VCPU_EVENTS), low(KVM_SET_VCPU_EVENTS), low(KVM_GET_MP_STATE), low(KVM_SET_MP_STATE), low(KVM_GET_LAPIC), low(KVM_SET_LAPIC),
    low(KVM_GET_IRQCHIP), low(KVM_SET_IRQCHIP), low(KVM_GET_PIT2), low(KVM_SET_PIT2), low(KVM_GET_CLOCK), low(KVM_SET_CLOCK),
    low(KVM_GET_DEVICE_ATTR), low(KVM_SET_DEVICE_ATTR), low(KVM_CHECK_EXTENSION)};

}  // namespace

std::span<const u32> running_requests() { return numbers; }

}  // namespace nagaya::engine::kvm
