// The interrupt controllers of one machine: our models where the engine has none, else a thin face over the engine's
// own. Either way they are devices with the same names and the same saved state.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "base/result.hpp"
#include "bus/bus.hpp"
#include "bus/device.hpp"
#include "bus/irq.hpp"
#include "bus/timer.hpp"
#include "engine/engine.hpp"
#include "machine/vcpu_thread.hpp"

namespace nagaya::machine {

using VcpuThreads = std::span<const std::unique_ptr<VcpuThread>>;

class InterruptChips {
 public:
  virtual ~InterruptChips() = default;
  [[nodiscard]] virtual bus::IrqSink& sink() = 0;
  /// What Engine::create_vcpu wants: null when the local APICs are the engine's.
  [[nodiscard]] virtual engine::LocalApic* local_apic(unsigned vcpu) = 0;
  /// Claims what the guest addresses directly.
  virtual Result<> attach(bus::AddressMap& ports, bus::AddressMap& mmio) = 0;
  /// After the vCPUs exist and before any runs.
  virtual Result<> connect(VcpuThreads vcpus) = 0;
  /// In the order of save and restore: local APICs, PICs, I/O APIC, PIT.
  [[nodiscard]] virtual std::vector<bus::Device*> devices() = 0;
  /// The first failure to read or write the engine's controllers since the last call.
  [[nodiscard]] virtual Result<> check() = 0;
};

struct ChipsConfig {
  unsigned vcpus = 1;
  u64 tsc_hz = 0;
  bool x2apic = true;
  unsigned physical_bits = 36;
};

/// Our models from chipset.
[[nodiscard]] std::unique_ptr<InterruptChips> make_modelled_chips(bus::Clock& clock, const ChipsConfig& config);
/// The engine's (Capabilities::in_kernel_irqchip).
[[nodiscard]] std::unique_ptr<InterruptChips> make_engine_chips(engine::IrqChip& chip);

}  // namespace nagaya::machine
