#include "chipset/host_bridge.hpp"

#include "bus/bytes.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::chipset {
namespace {

namespace pc = x86::pc;
using bus::Bdf;

constexpr u32 address_enable = u32{1} << 31, address_defined = 0x80ff'fffc;
constexpr u64 config_data = pc::pci_config_data - pc::pci_config_address,
              reset_control_offset = pc::reset_port - pc::pci_config_address;

Bdf bdf_of(u32 bits) {
  return {static_cast<u8>(bits >> 8), static_cast<u8>(bits >> 3 & 31), static_cast<u8>(bits & 7)};
}

}  // namespace

/// CF8h-CFFh. Only a doubleword access reaches CONFIG_ADDRESS; a byte at CF9h is the reset control register, the rest
/// of those four ports is nobody's.
struct HostBridge::Ports final : bus::IoTarget {
  Ports(HostBridge& b, IoTarget* r) : bridge(b), reset(r) {}

  void io_read(u64 offset, std::span<u8> data) override {
    const u32 address = bridge.address_;
    if (offset == 0 && data.size() == 4) {
      bus::store_le(data, address);
    } else if (offset == reset_control_offset && data.size() == 1 && reset) {
      reset->io_read(0, data);
    } else if (offset >= config_data && address & address_enable) {
      bridge.pci_.config_read(bdf_of(address >> 8), reg(address, offset), data);
    } else {
      bus::read_ones(data);
    }
  }

  void io_write(u64 offset, std::span<const u8> data) override {
    const u32 address = bridge.address_;
    if (offset == 0 && data.size() == 4) {
      bridge.address_ = static_cast<u32>(bus::load_le(data)) & address_defined;
    } else if (offset == reset_control_offset && data.size() == 1 && reset) {
      reset->io_write(0, data);
    } else if (offset >= config_data && address & address_enable) {
      bridge.pci_.config_write(bdf_of(address >> 8), reg(address, offset), data);
    }
  }

  static u16 reg(u32 address, u64 offset) { return static_cast<u16>((address & 0xfc) | (offset & 3)); }
  HostBridge& bridge;
  IoTarget* reset;
};

/// Address bits: bus(27:20) device(19:15) function(14:12) register(11:0).
struct HostBridge::Ecam final : bus::IoTarget {
  explicit Ecam(HostBridge& b) : bridge(b) {}
  void io_read(u64 offset, std::span<u8> data) override {
    bridge.pci_.config_read(bdf_of(static_cast<u32>(offset >> 12)), static_cast<u16>(offset & 0xfff), data);
  }
  void io_write(u64 offset, std::span<const u8> data) override {
    bridge.pci_.config_write(bdf_of(static_cast<u32>(offset >> 12)), static_cast<u16>(offset & 0xfff), data);
  }
  HostBridge& bridge;
};

// A host bridge that no driver wants to program: systems take its windows from ACPI.
HostBridge::HostBridge(bus::PciBus& pci)
    : PciDevice("host_bridge", {.vendor = 0x8086, .device = 0x0d57, .class_code = 0x060000}), pci_(pci) {}

HostBridge::~HostBridge() = default;

Result<> HostBridge::attach(bus::AddressMap& ports, bus::AddressMap& mmio, u64 ecam_base, u64 ecam_size,
                            bus::IoTarget* reset_control) {
  ports_ = std::make_unique<Ports>(*this, reset_control);
  ecam_ = std::make_unique<Ecam>(*this);
  TRY(ports.add(pc::pci_config_address, 8, *ports_, "pci configuration"));
  TRY(mmio.add(ecam_base, ecam_size, *ecam_, "pci ecam"));
  return pci_.add(*this, Bdf{});
}

void HostBridge::bar_read(unsigned, u64, std::span<u8> data) { bus::read_ones(data); }

void HostBridge::save_device(state::Writer& out) const { out.put(address_.load()); }

void HostBridge::restore_device(state::Reader& in) { address_ = in.get<u32>() & address_defined; }

}  // namespace nagaya::chipset
