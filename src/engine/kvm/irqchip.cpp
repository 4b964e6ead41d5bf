#include "engine/kvm/irqchip.hpp"

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "engine/kvm/convert_irqchip.hpp"
#include "engine/kvm/ioctl.hpp"
#include "host/timer_queue.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::engine::kvm {

Result<> KvmIrqChip::create(int vm_fd) {
  TRY(request(vm_fd, KVM_CREATE_IRQCHIP, u64{0}, "KVM_CREATE_IRQCHIP"));
  kvm_pit_config pit{};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;
  TRY_KVM(vm_fd, KVM_CREATE_PIT2, &pit);
  return {};
}

void KvmIrqChip::set_line(unsigned gsi, bool level) {
  if (gsi >= x86::pc::gsi_count) return;
  kvm_irq_level line{};
  line.irq = gsi;
  line.level = level;
  // The only failure is an interrupt nobody wants.
  (void)::ioctl(vm_, KVM_IRQ_LINE, &line);
}

void KvmIrqChip::send_msi(u64 address, u32 data) {
  kvm_msi msi{};
  msi.address_lo = static_cast<u32>(address);
  msi.address_hi = static_cast<u32>(address >> 32);
  msi.data = data;
  (void)::ioctl(vm_, KVM_SIGNAL_MSI, &msi);  // a guest's nonsense message reaches nobody
}

Result<std::array<x86::PicState, 2>> KvmIrqChip::pic_state() {
  std::array<x86::PicState, 2> state;
  for (unsigned i = 0; i < 2; ++i) {
    kvm_irqchip chip{};
    chip.chip_id = i == 0 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
    TRY_KVM(vm_, KVM_GET_IRQCHIP, &chip);
    state[i] = from_kvm(chip.chip.pic);
  }
  return state;
}

Result<> KvmIrqChip::set_pic_state(const std::array<x86::PicState, 2>& state) {
  for (unsigned i = 0; i < 2; ++i) {
    kvm_irqchip chip{};
    chip.chip_id = i == 0 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE;
    chip.chip.pic = to_kvm(state[i]);
    TRY_KVM(vm_, KVM_SET_IRQCHIP, &chip);
  }
  return {};
}

Result<x86::IoapicState> KvmIrqChip::ioapic_state() {
  kvm_irqchip chip{};
  chip.chip_id = KVM_IRQCHIP_IOAPIC;
  TRY_KVM(vm_, KVM_GET_IRQCHIP, &chip);
  return from_kvm(chip.chip.ioapic);
}

Result<> KvmIrqChip::set_ioapic_state(const x86::IoapicState& state) {
  kvm_irqchip chip{};
  chip.chip_id = KVM_IRQCHIP_IOAPIC;
  chip.chip.ioapic = to_kvm(state);
  TRY_KVM(vm_, KVM_SET_IRQCHIP, &chip);
  return {};
}

Result<x86::PitState> KvmIrqChip::pit_state() {
  kvm_pit_state2 pit{};
  TRY_KVM(vm_, KVM_GET_PIT2, &pit);
  return from_kvm(pit, host::monotonic_ns());
}

Result<> KvmIrqChip::set_pit_state(const x86::PitState& state) {
  kvm_pit_state2 pit = to_kvm(state, host::monotonic_ns());
  TRY_KVM(vm_, KVM_SET_PIT2, &pit);
  return {};
}

}  // namespace nagaya::engine::kvm
