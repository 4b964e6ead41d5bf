// The in-kernel PIC pair, IOAPIC and PIT of one VM.
#pragma once
#include "engine/engine.hpp"

namespace nagaya::engine::kvm {

class KvmIrqChip final : public IrqChip {
 public:
  /// Creates the controllers (before any vCPU) and the timer with port 61h.
  static Result<> create(int vm_fd);
  explicit KvmIrqChip(int vm_fd) : vm_(vm_fd) {}

  void set_line(unsigned gsi, bool level) override;
  void send_msi(u64 address, u32 data) override;
  Result<std::array<x86::PicState, 2>> pic_state() override;
  Result<> set_pic_state(const std::array<x86::PicState, 2>& state) override;
  Result<x86::IoapicState> ioapic_state() override;
  Result<> set_ioapic_state(const x86::IoapicState& state) override;
  Result<x86::PitState> pit_state() override;
  Result<> set_pit_state(const x86::PitState& state) override;

 private:
  const int vm_;
};

}  // namespace nagaya::engine::kvm
