// Interrupt controllers as models of our own: PIC pair, I/O APIC, local APICs, PIT.
#include "chipset/apic_bus.hpp"
#include "chipset/ioapic.hpp"
#include "chipset/irq_router.hpp"
#include "chipset/lapic.hpp"
#include "chipset/pic.hpp"
#include "chipset/pit.hpp"
#include "machine/interrupts.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::machine {
namespace {

class ModelledChips final : public InterruptChips {
 public:
  ModelledChips(bus::Clock& clock, const ChipsConfig& config)
      : pic_(chipset::IrqRouter::elcr),
        ioapic_(apics_, x86::pc::ioapic_id),
        router_(pic_, ioapic_, apics_),
        pit_(clock, bus::IrqLine(router_, x86::pc::pit_irq)) {
    for (unsigned id = 0; id < config.vcpus; ++id) {
      const chipset::Lapic::Config lapic{.id = id,
                                         .bsp = id == 0,
                                         .tsc_hz = config.tsc_hz,
                                         .x2apic = config.x2apic,
                                         .physical_bits = config.physical_bits};
      lapics_.push_back(std::make_unique<chipset::Lapic>(lapic, clock, apics_, [this] { return pic_.acknowledge(); }));
    }
  }

  bus::IrqSink& sink() override { return router_; }
  engine::LocalApic* local_apic(unsigned vcpu) override { return lapics_[vcpu].get(); }

  Result<> attach(bus::AddressMap& ports, bus::AddressMap& mmio) override {
    TRY(pic_.attach(ports));
    TRY(ioapic_.attach(mmio, x86::pc::ioapic_base));
    TRY(ports.add(x86::pc::pit_port, chipset::Pit::io_size, pit_.ports(), "pit"));
    return ports.add(x86::pc::port61, 1, pit_.port61(), "port 61h");
  }

  Result<> connect(VcpuThreads vcpus) override {
    for (std::size_t i = 0; i < vcpus.size(); ++i) {
      lapics_[i]->connect([vcpu = vcpus[i]->vcpu()](engine::VcpuSignal what, u8 vector) { vcpu->signal(what, vector); });
    }
    return {};
  }

  std::vector<bus::Device*> devices() override {
    std::vector<bus::Device*> out;
    for (auto& lapic : lapics_) out.push_back(lapic.get());
    out.insert(out.end(), {&pic_, &ioapic_, &pit_});
    return out;
  }

  Result<> check() override { return {}; }

 private:
  chipset::ApicBus apics_;
  chipset::Pic pic_;
  chipset::Ioapic ioapic_;
  chipset::IrqRouter router_;
  chipset::Pit pit_;
  std::vector<std::unique_ptr<chipset::Lapic>> lapics_;
};

}  // namespace

std::unique_ptr<InterruptChips> make_modelled_chips(bus::Clock& clock, const ChipsConfig& config) {
  return std::make_unique<ModelledChips>(clock, config);
}

}  // namespace nagaya::machine
