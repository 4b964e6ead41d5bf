// The contract between a machine and the engine that executes its processors. No KVM type appears here; an engine sees
// the machine only through the callback interfaces below, and a device never sees an engine.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "x86/cpu_state.hpp"
#include "x86/cpuid.hpp"
#include "x86/irqchip_state.hpp"

namespace nagaya::engine {

/// What an engine can do. Query, never guess by name.
struct Capabilities {
  std::string name;                ///< "kvm" or "soft"
  bool in_kernel_irqchip = false;  ///< PIC, IOAPIC, LAPIC and PIT are the engine's (use IrqChip), else the machine's
  bool dirty_ring = false;
  bool eventfds = false;  ///< ioeventfd/irqfd are handled by the engine
  unsigned max_vcpus = 1;
};

/// One run of guest-physical memory backed by host memory. `size` and both addresses are multiples of 4 KiB.
struct MemoryRegion {
  Gpa gpa;
  u64 size = 0;
  Hva hva = nullptr;
  bool readonly = false;  ///< ROM: guest writes go to the I/O callbacks
  int fd = -1;            ///< the file that it is a shared mapping of, from `fd_offset` on; -1: not told
  u64 fd_offset = 0;
};

/// The machine as one vCPU sees it: ports, MMIO, and (only when the irqchip is not the engine's) its local APIC.
/// Called on the vCPU's thread. Sizes: port 1, 2, 4; MMIO 1..8. Never throws.
class IoHandler {
 public:
  virtual ~IoHandler() = default;
  virtual void port_read(u16 port, std::span<u8> data) = 0;
  virtual void port_write(u16 port, std::span<const u8> data) = 0;
  virtual void mmio_read(Gpa at, std::span<u8> data) = 0;
  virtual void mmio_write(Gpa at, std::span<const u8> data) = 0;
};

/// The local APIC of one vCPU as the software engine sees it. Called on that vCPU's thread; `pending` also from others.
class LocalApic {
 public:
  virtual ~LocalApic() = default;
  /// True when a maskable interrupt (from APIC or PIC) could be taken now, were IF set.
  [[nodiscard]] virtual bool interrupt_pending() = 0;
  /// Acknowledges the highest one and returns its vector, or -1 when it has gone.
  [[nodiscard]] virtual int acknowledge_interrupt() = 0;
  /// Task priority as CR8 shows it (bits 3:0).
  [[nodiscard]] virtual u8 cr8() = 0;
  virtual void set_cr8(u8 value) = 0;
  /// MSRs of the APIC: IA32_APIC_BASE (1Bh), IA32_TSC_DEADLINE (6E0h), x2APIC 800h..8FFh. False: raise #GP.
  [[nodiscard]] virtual bool read_msr(u32 index, u64& value) = 0;
  [[nodiscard]] virtual bool write_msr(u32 index, u64 value) = 0;
  /// The xAPIC page's address when enabled in xAPIC mode, else ~0 (it is per processor, so not on the shared bus).
  [[nodiscard]] virtual Gpa mmio_base() = 0;
  virtual void mmio_read(u32 offset, std::span<u8> data) = 0;
  virtual void mmio_write(u32 offset, std::span<const u8> data) = 0;
  /// The guest's TSC = host TSC + offset changed (WRMSR to the TSC, restore).
  virtual void set_tsc_offset(u64 offset) = 0;
};

/// Why Vcpu::run came back.
enum class ExitReason : u8 {
  kicked,          ///< kick() was called: state is at an instruction boundary
  shutdown,        ///< triple fault
  system_event,    ///< the engine itself asks for power-off or reset (unused by the PC; kept for in-kernel events)
  internal_error,  ///< the engine cannot go on; Exit::detail says why, for a person
};
struct Exit {
  ExitReason reason = ExitReason::kicked;
  std::string detail{};
};

/// Signals another processor can raise. Thread-safe.
enum class VcpuSignal : u8 { interrupt, nmi, init, sipi };

/// One processor. `run`, `state` and `set_state` are called by the one thread that owns it; `kick` and `signal` by any.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  /// Executes until an exit. HLT waits inside.
  [[nodiscard]] virtual Exit run() = 0;
  /// Makes run() return `kicked` soon, also when it has not been entered yet.
  virtual void kick() = 0;
  /// `interrupt`: look at LocalApic again (wakes HLT). `init`/`sipi`: as the IPI; `vector` for sipi only.
  virtual void signal(VcpuSignal what, u8 vector = 0) = 0;
  [[nodiscard]] virtual Result<x86::CpuState> state() = 0;
  [[nodiscard]] virtual Result<> set_state(const x86::CpuState& state) = 0;
  /// Guest TSC less host TSC, modulo 2^64: exact, so that several vCPUs can be given one offset and agree to the cycle,
  /// which `CpuState::msr.tsc` cannot do. The owner thread calls, while not in run(). Error: the engine cannot tell.
  [[nodiscard]] virtual Result<u64> tsc_offset() { return fail("TSC offset", "this engine does not tell it"); }
  [[nodiscard]] virtual Result<> set_tsc_offset(u64 /*offset*/) { return fail("TSC offset", "this engine does not set it"); }
  /// Local APIC state when the irqchip is the engine's; an error otherwise.
  [[nodiscard]] virtual Result<x86::LapicState> lapic_state() = 0;
  [[nodiscard]] virtual Result<> set_lapic_state(const x86::LapicState& state) = 0;
};

/// The engine's own interrupt controllers (Capabilities::in_kernel_irqchip). GSI numbering: 0..23 IOAPIC pins, of which
/// 0..15 also reach the PICs.
class IrqChip {
 public:
  virtual ~IrqChip() = default;
  virtual void set_line(unsigned gsi, bool level) = 0;
  virtual void send_msi(u64 address, u32 data) = 0;
  /// Routes reads of port 61h-style timer to the engine's PIT; false when it has none.
  [[nodiscard]] virtual Result<std::array<x86::PicState, 2>> pic_state() = 0;
  [[nodiscard]] virtual Result<> set_pic_state(const std::array<x86::PicState, 2>&) = 0;
  [[nodiscard]] virtual Result<x86::IoapicState> ioapic_state() = 0;
  [[nodiscard]] virtual Result<> set_ioapic_state(const x86::IoapicState&) = 0;
  [[nodiscard]] virtual Result<x86::PitState> pit_state() = 0;
  [[nodiscard]] virtual Result<> set_pit_state(const x86::PitState&) = 0;
};

/// An eventfd signalled when the guest writes `size` bytes at an address (any value, or `match`). size 0: any size.
struct IoEvent {
  bool port = false;  ///< address is a port number, else guest-physical
  u64 address = 0;
  u32 size = 0;
  bool has_match = false;
  u64 match = 0;
  int eventfd = -1;
};

/// CPUID leaves as the guest sees them (engine-independent policy is x86's; the engine takes the final table).
using CpuidEntry = x86::CpuidEntry;

/// One virtual machine's executor.
class Engine {
 public:
  virtual ~Engine() = default;
  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
  /// Replaces the memory map. vCPUs must not be running (paused or not started).
  [[nodiscard]] virtual Result<> set_memory(std::span<const MemoryRegion> regions) = 0;
  /// `apic` is null when the irqchip is the engine's. `cpuid`: the table this vCPU shows. References outlive the vCPU.
  [[nodiscard]] virtual Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned id, IoHandler& io, LocalApic* apic,
                                                                  std::span<const CpuidEntry> cpuid) = 0;
  /// CPUID features the engine can give a guest on this host, before machine policy (topology, APIC ids).
  [[nodiscard]] virtual Result<std::vector<CpuidEntry>> supported_cpuid() = 0;
  /// Null unless Capabilities::in_kernel_irqchip.
  [[nodiscard]] virtual IrqChip* irqchip() = 0;
  /// Starts or stops recording which pages the guest writes (vCPUs paused or running).
  [[nodiscard]] virtual Result<> set_dirty_log(bool on) = 0;
  /// Pages written since the last call (sorted, page-aligned), recording continues. vCPUs paused or running.
  [[nodiscard]] virtual Result<std::vector<Gpa>> take_dirty() = 0;
  /// A device is about to write / has written guest memory directly: code translated from there must go.
  virtual void memory_written(Gpa at, u64 size) = 0;
  [[nodiscard]] virtual Result<> add_io_event(const IoEvent& event) = 0;
  [[nodiscard]] virtual Result<> remove_io_event(const IoEvent& event) = 0;
  /// Interrupt `gsi` on each signal of the eventfd (edge). Only with Capabilities::eventfds.
  [[nodiscard]] virtual Result<> add_irqfd(int eventfd, unsigned gsi) = 0;
  [[nodiscard]] virtual Result<> remove_irqfd(int eventfd, unsigned gsi) = 0;
  /// Sends a message-signalled interrupt on each signal of the eventfd; again to change the message. Only with
  /// Capabilities::eventfds.
  [[nodiscard]] virtual Result<> set_msi_irqfd(int /*eventfd*/, u64 /*address*/, u32 /*data*/) {
    return fail("cannot add an irqfd", "this engine has none");
  }
  virtual void remove_msi_irqfd(int /*eventfd*/) {}
  /// The paravirtual clock guests read (KVM clock), nanoseconds since the machine began. It stands in a saved machine and is
  /// set after the vCPUs' states, so that the guest's monotonic time goes on where it stopped.
  [[nodiscard]] virtual Result<u64> clock_ns() { return 0; }
  [[nodiscard]] virtual Result<> set_clock_ns(u64 /*value*/) { return {}; }
  /// One line per counter for a person (exits, translations …), may be empty.
  [[nodiscard]] virtual std::string statistics() const = 0;
};

}  // namespace nagaya::engine
