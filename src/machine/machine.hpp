// A whole virtual machine: memory, engine, processors, board; and what can be done with it.
//
// All functions are for one thread, the control thread, except where noted. What guests ask for (power-off, reset, debug exit,
// crash) stops the processors at once and waits until the control thread, woken by the notify hook, calls
// handle_events().
//
// Stated order. Pause: processors to an instruction boundary, clock, devices from the last built to the first.
// Resume: devices from the first to the last, clock, time stamp counters, processors. Save: CPUs, then devices in the order of
// building (interrupt controllers first), then RAM. Restore: the same order into a machine that never ran.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "machine/board.hpp"
#include "machine/clock.hpp"
#include "machine/engine_events.hpp"
#include "machine/engine_select.hpp"
#include "machine/guest_start.hpp"
#include "machine/interrupts.hpp"
#include "machine/vcpu_thread.hpp"
#include "memory/guest_memory.hpp"
#include "proto/exit_codes.hpp"
#include "proto/vm_config.hpp"
#include "state/archive.hpp"

namespace nagaya::machine {

struct MachineHooks {
  std::function<void()> notify;  ///< something happened: call handle_events(). Any thread; must not block.
  CharEnds ends{};
  NetLinks links{};
};

class Machine {
 public:
  /// Builds the machine, paused; call power_on() or restore() next. `selected` is the engine that executes it. To restore,
  /// give the archive already here: its processors show the CPUID they were saved with.
  static Result<std::unique_ptr<Machine>> create(const proto::VmConfig& config, SelectedEngine selected,
                                                 MachineHooks hooks, const state::ArchiveReader* saved = nullptr);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Loads the guest and puts all to the state after power-on. Stays paused.
  Result<> power_on();
  void resume();
  void pause();
  [[nodiscard]] bool paused() const { return paused_; }
  /// As a power cycle: RAM is lost, the guest loaded anew. Goes on running if it ran.
  Result<> reset();

  /// Takes what happened since the last call. A reset is carried out here unless config.no_reboot. An outcome means: the
  /// machine has ended and stays paused.
  [[nodiscard]] std::optional<proto::VmOutcome> handle_events();

  /// Writes the machine to an empty file, its disks back first; pauses around it. `name` is what errors call the file. On error
  /// it goes on undisturbed.
  Result<> save(int fd, const std::string& name);
  /// Fills a machine that never ran, built for `archive`, and RAM from the file at the descriptor's position (see
  /// saved_machine.hpp). On error the machine is of no use.
  Result<> restore(const state::ArchiveReader& archive, int ram_fd);

  struct DiskRef {
    std::string name, path;
  };
  /// Disks that found no space on the host since the last call. Their requests wait: the processors have been stopped
  /// and the machine is to be paused; a resume tries them again.
  [[nodiscard]] std::vector<DiskRef> take_full_disks();
  /// Bytes the host can still give a disk; ~0: unknown.
  [[nodiscard]] u64 disk_space(const std::string& name) const;
  /// Makes a disk larger while the guest runs, which is told.
  Result<> resize_disk(const std::string& name, u64 size);
  /// Plugs the cable of network card "net0" … in or out.
  Result<> set_link(const std::string& card, bool up);

  void press_power_button();
  [[nodiscard]] bool power_button_heard() const;
  /// A non-maskable interrupt to every processor.
  void send_nmi();
  /// The terminal of a console port has another size now.
  void resize_console(unsigned port, u16 columns, u16 rows);
  /// From now on the guest's connections to port P of the host arrive at "<path>_P".
  void connect_vsock_below(const std::string& path);
  /// What the guest is asked to keep of its memory, in bytes. Error when there is no balloon.
  Result<> set_balloon(u64 keep);
  /// State of the balloon and the guest's own statistics, for a person; asks the guest for fresh ones.
  [[nodiscard]] Result<std::string> balloon();
  [[nodiscard]] std::string statistics() const;
  /// The registers of all processors, for a person; pauses around it.
  [[nodiscard]] std::string registers();
  [[nodiscard]] const std::string& engine_line() const { return engine_line_; }
  [[nodiscard]] const std::string& start_summary() const { return start_summary_; }
  [[nodiscard]] const proto::VmConfig& config() const { return config_; }
  [[nodiscard]] const engine::Capabilities& capabilities() const { return engine_->capabilities(); }
  [[nodiscard]] memory::GuestMemory& memory() { return *memory_; }
  /// State of one processor; only while paused.
  [[nodiscard]] Result<x86::CpuState> cpu_state(unsigned vcpu);

 private:
  Machine(const proto::VmConfig& config, MachineHooks hooks);
  Result<> build(SelectedEngine selected, const state::ArchiveReader* saved);
  Result<> build_processors(std::span<const x86::CpuidEntry> offered, const state::ArchiveReader* saved);
  /// Any thread: stops the processors and remembers why.
  void request(proto::VmOutcome event);
  void on_exit(unsigned vcpu, const engine::Exit& exit);
  Result<> sync_disks();
  /// A disk's thread.
  void disk_full(std::size_t index);
  Result<> set_cpu_state(unsigned vcpu, const x86::CpuState& state);
  /// Guest TSCs as they stand, one instant for all processors.
  void freeze_tsc();
  void thaw_tsc();
  [[nodiscard]] Result<std::vector<u8>> describe();
  [[nodiscard]] std::vector<bus::Device*> devices() const;

  const proto::VmConfig config_;
  MachineHooks hooks_;
  std::string engine_line_, start_summary_;
  Result<boot::OpenBootFiles> boot_files_;  // an error counts when they are needed
  u64 tsc_hz_ = 0;
  bool paused_ = true;
  u64 frozen_clock_ns_ = 0;              // the engine's paravirtual clock while paused
  std::vector<std::optional<u64>> tsc_;  // guest TSC of each processor while paused, where the engine tells

  mutable std::mutex events_mutex_;
  std::vector<proto::VmOutcome> events_;  // guarded by events_mutex_
  std::set<std::size_t> full_disks_;      // guarded by events_mutex_

  // Built from top to bottom, destroyed from bottom to top: processors stop first.
  std::unique_ptr<memory::GuestMemory> memory_;
  std::unique_ptr<engine::Engine> engine_;
  MachineClock clock_;
  BoardIo io_;
  std::unique_ptr<InterruptChips> chips_;
  std::unique_ptr<EngineEvents> event_paths_;  // null: the engine has none
  std::unique_ptr<Board> board_;
  std::vector<std::unique_ptr<VcpuThread>> threads_;
};

}  // namespace nagaya::machine
