// A tiny guest on one engine: RAM, processors, interrupt controllers, and a recorder in place of devices. The same from
// every engine's point of view; nothing here knows which one it is.
//
// What guests see (all of it is in guests/common.inc, too):
//   port E0h  write: a report, one line in the log ("r 1234")
//   port E1h  write: finish; the value is the last line ("end 0")
//   port E2h  write: interrupt line, bits 4:0, to the level of bit 7
//   port E3h  write: NMI to processor n
//   ports 500h..57Fh and memory at D000_0000h (64 KiB): recorded; reads answer a pattern of address and size
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "bus/bus.hpp"
#include "engine/engine.hpp"
#include "machine/clock.hpp"
#include "machine/interrupts.hpp"
#include "machine/vcpu_thread.hpp"
#include "memory/guest_memory.hpp"

namespace nagaya::conformance {

inline constexpr u64 image_at = 0x8000;
inline constexpr u64 mmio_at = 0xd0000000, mmio_bytes = 0x10000;

/// Mode in which processor 0 begins at `image_at`: segments flat, stack ready, tables of guests/common.inc in place.
enum class Mode : u8 { real, protected32, long64 };

enum class End : u8 { finished, paused, shutdown, internal_error, timeout };
[[nodiscard]] const char* name_of(End end);

/// What a guest leaves behind: memory and log are shared by whoever continues it.
struct World {
  std::unique_ptr<memory::GuestMemory> ram;
  std::mutex mutex;
  std::vector<std::string> log;  // guarded by mutex
  bool finished = false;         // guarded by mutex
};
[[nodiscard]] Result<std::shared_ptr<World>> make_world(u64 ram_bytes = 16 * MiB);

/// The architectural state of the machine between two runs.
struct Frozen {
  std::vector<x86::CpuState> cpus;
  std::vector<std::vector<u8>> devices;  ///< sections in the order of InterruptChips::devices()
  u64 clock_ns = 0;
};

class Guest final : engine::IoHandler {
 public:
  /// `engine`: "kvm" or "soft".
  static Result<std::unique_ptr<Guest>> create(const std::string& engine, std::shared_ptr<World> world,
                                               unsigned vcpus = 1);
  ~Guest();

  /// Loads guests/`image` and sets all processors to their first state.
  Result<> boot(const std::string& image, Mode mode);
  /// Runs until the guest finishes, `pause_after` (0: never) is over, or an exit. Every processor has stopped then.
  End run(std::chrono::microseconds pause_after = {});
  /// Only between runs.
  Result<Frozen> freeze();
  Result<> thaw(const Frozen& frozen);
  Result<x86::CpuState> state(unsigned vcpu = 0);
  Result<> set_state(const x86::CpuState& state, unsigned vcpu = 0);

  [[nodiscard]] std::vector<std::string> log() const;
  /// Detail of the exit that ended the last run.
  [[nodiscard]] const std::string& detail() const { return detail_; }
  [[nodiscard]] memory::GuestMemory& ram() { return *world_->ram; }
  [[nodiscard]] engine::Engine& engine() { return *engine_; }
  [[nodiscard]] engine::Vcpu& vcpu(unsigned id = 0) { return *threads_[id]->vcpu(); }
  [[nodiscard]] bus::IrqSink& irqs() { return chips_->sink(); }
  [[nodiscard]] const std::vector<x86::CpuidEntry>& cpuid() const { return threads_[0]->cpuid(); }

 private:
  explicit Guest(std::shared_ptr<World> world) : world_(std::move(world)) {}
  void port_read(u16 port, std::span<u8> data) override;
  void port_write(u16 port, std::span<const u8> data) override;
  void mmio_read(Gpa at, std::span<u8> data) override;
  void mmio_write(Gpa at, std::span<const u8> data) override;
  void note(std::string line);
  void stop(End end);
  void on_exit(const engine::Exit& exit);

  std::shared_ptr<World> world_;
  machine::MachineClock clock_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<machine::InterruptChips> chips_;
  bus::AddressMap ports_, mmio_;
  std::vector<std::unique_ptr<machine::VcpuThread>> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<End> end_;  // guarded by mutex_
  std::string detail_;      // guarded by mutex_ while running
};

/// The engines this host can run guests on, by name.
[[nodiscard]] const std::vector<std::string>& engines();
/// Class of the engine on this host for known_failures.txt: "soft", "kvm" or "kvm-paging-only".
[[nodiscard]] std::string class_of(const std::string& engine);

}  // namespace nagaya::conformance
