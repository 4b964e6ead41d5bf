#include "machine/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "base/log.hpp"
#include "chipset/pm.hpp"
#include "host/tsc.hpp"
#include "machine/saved_machine.hpp"
#include "virtio/balloon/balloon.hpp"
#include "virtio/console/console.hpp"
#include "virtio/vsock/vsock.hpp"
#include "x86/pc_layout.hpp"

namespace nagaya::machine {
namespace {

using proto::Outcome;
using proto::VmOutcome;

ChipsConfig chips_config(const proto::VmConfig& config, u64 tsc_hz, std::span<const x86::CpuidEntry> cpuid) {
  const x86::CpuidEntry* features = x86::find_cpuid(cpuid, 1);
  const x86::CpuidEntry* sizes = x86::find_cpuid(cpuid, 0x8000'0008);
  return {.vcpus = config.vcpus,
          .tsc_hz = tsc_hz,
          .x2apic = features != nullptr && (features->ecx >> 21 & 1) != 0,
          .physical_bits = sizes != nullptr ? sizes->eax & 0xff : 36};
}

}  // namespace

Machine::Machine(const proto::VmConfig& config, MachineHooks hooks) : config_(config), hooks_(std::move(hooks)) {}

Machine::~Machine() { pause(); }

Result<std::unique_ptr<Machine>> Machine::create(const proto::VmConfig& config, SelectedEngine selected,
                                                 MachineHooks hooks, const state::ArchiveReader* saved) {
  TRY(config.validate());
  auto machine = std::unique_ptr<Machine>(new Machine(config, std::move(hooks)));
  TRY(machine->build(std::move(selected), saved));
  return machine;
}

Result<> Machine::build(SelectedEngine selected, const state::ArchiveReader* saved) {
  engine_line_ = std::move(selected.line);
  tsc_hz_ = host::tsc_hz();
  boot_files_ = open_boot_files(config_);
  TRY_ASSIGN(memory_, memory::GuestMemory::create(config_.memory, x86::pc::ram_low_limit));
  if (!config_.firmware.empty()) TRY(map_firmware(*memory_, config_.firmware));
  engine_ = std::move(selected.engine);
  const unsigned most = engine_->capabilities().max_vcpus;
  if (config_.vcpus > most) {
    return fail(fmt::format("{} vCPUs", config_.vcpus), fmt::format("engine {} offers {}", engine_->capabilities().name, most));
  }
  memory_->on_write([engine = engine_.get()](Gpa at, u64 size) { engine->memory_written(at, size); });

  if (engine_->capabilities().eventfds) event_paths_ = std::make_unique<EngineEvents>(*engine_);
  chips_ = engine_->irqchip() != nullptr ? make_engine_chips(*engine_->irqchip())
                                         : make_modelled_chips(clock_, chips_config(config_, tsc_hz_, selected.cpuid));
  TRY(chips_->attach(io_.ports, io_.mmio));
  BoardSignals signals{.power_off = [this] { request({Outcome::power_off}); },
                       .reset = [this] { request({Outcome::reset}); },
                       .debug_exit = [this](u32 status) { request({Outcome::debug_exit, static_cast<int>(status)}); },
                       .disk_full = [this](std::size_t index) { disk_full(index); }};
  board_ = std::make_unique<Board>(*memory_, clock_, io_, chips_->sink(), event_paths_.get(), std::move(signals), hooks_.ends);
  board_->links = std::move(hooks_.links);
  TRY(populate(*board_, io_, config_));
  // Devices may have brought memory along.
  std::vector<engine::MemoryRegion> regions;
  for (const memory::Region& r : memory_->regions()) regions.push_back({r.gpa, r.size, r.hva, r.readonly, r.is_ram() ? memory_->fd() : -1, r.file_offset});
  TRY(engine_->set_memory(regions));
  TRY(build_processors(selected.cpuid, saved));
  for (bus::Device* device : devices()) device->pause();
  return {};
}

Result<> Machine::build_processors(std::span<const x86::CpuidEntry> offered, const state::ArchiveReader* saved) {
  tsc_.resize(config_.vcpus);
  for (unsigned id = 0; id < config_.vcpus; ++id) {
    const x86::CpuidPolicy policy{
        .vcpu = id, .vcpus = config_.vcpus, .kvm_features = x86::default_kvm_features, .tsc_hz = tsc_hz_};
    auto cpuid = x86::make_cpuid(offered, policy);
    if (saved != nullptr) {
      TRY_ASSIGN(cpuid, saved_cpuid(*saved, id, cpuid, engine_->capabilities().name));
    }
    threads_.push_back(std::make_unique<VcpuThread>(id, [this, id](const engine::Exit& exit) { on_exit(id, exit); }));
    TRY(threads_[id]->create(*engine_, io_, chips_->local_apic(id), std::move(cpuid)));
  }
  return chips_->connect(threads_);
}

std::vector<bus::Device*> Machine::devices() const {
  std::vector<bus::Device*> out = chips_->devices();
  for (const auto& device : board_->devices) out.push_back(device.get());
  return out;
}

Result<> Machine::power_on() {
  memory_->zero_ram();
  TRY_ASSIGN(auto start, load_guest(*memory_, config_, boot_files_));
  start_summary_ = std::move(start.summary);
  clock_.set_now(0);
  for (unsigned id = 0; id < config_.vcpus; ++id) {
    x86::CpuState state = id == 0 ? start.boot_processor : x86::reset_state(false);
    state.apic_base = x86::reset_state(id == 0).apic_base;
    if (id != 0 || !config_.firmware.empty()) {
      // DX after RESET is the processor's signature (SDM vol. 3, 10.1.2).
      state.gpr[x86::RDX] = x86::cpuid_lookup(threads_[id]->cpuid(), 1, 0)[0];
    }
    TRY(set_cpu_state(id, state));
  }
  for (bus::Device* device : devices()) device->reset();
  TRY(chips_->check());
  if (config_.firmware.empty()) board_->pci.program();
  frozen_clock_ns_ = 0;
  tsc_.assign(config_.vcpus, 0);
  return {};
}

Result<> Machine::set_cpu_state(unsigned vcpu, const x86::CpuState& state) {
  Result<> result;
  threads_[vcpu]->call([&] { result = threads_[vcpu]->vcpu()->set_state(state); });
  if (!result) return std::unexpected(std::move(result.error()).within(fmt::format("vCPU {}", vcpu)));
  return {};
}

Result<x86::CpuState> Machine::cpu_state(unsigned vcpu) {
  Result<x86::CpuState> result;
  threads_[vcpu]->call([&] { result = threads_[vcpu]->vcpu()->state(); });
  if (!result) return std::unexpected(std::move(result.error()).within(fmt::format("vCPU {}", vcpu)));
  // The models of the local APIC know these two better than the engine that calls them.
  if (engine::LocalApic* apic = chips_->local_apic(vcpu); apic != nullptr) {
    result->cr8 = apic->cr8();
    (void)apic->read_msr(0x1b, result->apic_base);
  }
  if (paused_ && tsc_[vcpu]) result->msr.tsc = *tsc_[vcpu];
  return result;
}

void Machine::pause() {
  if (paused_) return;
  for (const auto& thread : threads_) thread->stop();
  for (const auto& thread : threads_) thread->wait_parked();
  freeze_tsc();
  clock_.pause();
  for (bus::Device* device : devices() | std::views::reverse) device->pause();
  paused_ = true;
}

void Machine::resume() {
  if (!paused_) return;
  {
    const std::lock_guard lock(events_mutex_);
    if (!events_.empty()) return;  // the guest asked for something that comes first
  }
  for (bus::Device* device : devices()) device->resume();
  clock_.resume();
  thaw_tsc();
  paused_ = false;
  for (const auto& thread : threads_) thread->run();
}

void Machine::freeze_tsc() {
  const u64 now = host::rdtsc();
  for (unsigned id = 0; id < config_.vcpus; ++id) {
    threads_[id]->call([&] {
      const auto offset = threads_[id]->vcpu()->tsc_offset();
      tsc_[id] = offset ? std::optional(now + *offset) : std::nullopt;
    });
  }
  if (const auto clock = engine_->clock_ns()) frozen_clock_ns_ = *clock;
}

void Machine::thaw_tsc() {
  const u64 now = host::rdtsc();
  for (unsigned id = 0; id < config_.vcpus; ++id) {
    if (!tsc_[id]) continue;
    threads_[id]->call([&] {
      if (auto done = threads_[id]->vcpu()->set_tsc_offset(*tsc_[id] - now); !done) {
        log::debug("vCPU {}: {}", id, done.error().message());
      }
    });
  }
  if (auto done = engine_->set_clock_ns(frozen_clock_ns_); !done) log::warning("{}", done.error().message());
}

Result<> Machine::reset() {
  const bool ran = !paused_;
  pause();
  {
    const std::lock_guard lock(events_mutex_);
    events_.clear();
  }
  TRY(power_on());
  if (ran) resume();
  return {};
}

void Machine::request(VmOutcome event) {
  {
    const std::lock_guard lock(events_mutex_);
    events_.push_back(std::move(event));
  }
  for (const auto& thread : threads_) thread->stop();
  hooks_.notify();
}

void Machine::on_exit(unsigned vcpu, const engine::Exit& exit) {
  switch (exit.reason) {
    case engine::ExitReason::kicked: return;
    case engine::ExitReason::shutdown: return request({Outcome::triple_fault, 0, fmt::format("on vCPU {}", vcpu)});
    case engine::ExitReason::system_event: return request({Outcome::power_off});
    case engine::ExitReason::internal_error:
      return request({Outcome::internal_error, 0, fmt::format("vCPU {}: {}", vcpu, exit.detail)});
  }
}

std::optional<VmOutcome> Machine::handle_events() {
  std::vector<VmOutcome> events;
  {
    const std::lock_guard lock(events_mutex_);
    if (events_.empty()) return std::nullopt;
  }
  pause();
  {
    const std::lock_guard lock(events_mutex_);
    events.swap(events_);
  }
  // The first one counts: what the guest did in the instant after it does not.
  VmOutcome event = std::move(events.front());
  const bool restart = event.outcome == Outcome::reset || event.outcome == Outcome::triple_fault;
  if (!restart || config_.no_reboot) return event;
  static log::RateLimit crashes(10);  // a guest may crash as often as it likes, but not fill the host's log
  if (event.outcome == Outcome::triple_fault && crashes.pass()) {
    log::warning("the guest crashed with a triple fault {}: restarting it", event.detail);
  }
  if (auto done = power_on(); !done) return VmOutcome{Outcome::failed, 0, "cannot restart: " + done.error().message()};
  resume();
  return std::nullopt;
}

void Machine::press_power_button() {
  if (board_->pm != nullptr) board_->pm->press_power_button();
}

bool Machine::power_button_heard() const { return board_->pm != nullptr && board_->pm->power_button_heard(); }

void Machine::send_nmi() {
  for (const auto& thread : threads_) thread->vcpu()->signal(engine::VcpuSignal::nmi);
}

void Machine::resize_console(unsigned port, u16 columns, u16 rows) {
  if (board_->console != nullptr) board_->console->resize(port, columns, rows);
}

void Machine::connect_vsock_below(const std::string& path) {
  if (board_->vsock != nullptr) board_->vsock->connect_below(path);
}

Result<> Machine::set_balloon(u64 keep) {
  if (board_->balloon == nullptr) return fail("this machine has no balloon", {}, "start it with --balloon");
  return board_->balloon->set_target(keep);
}

Result<std::string> Machine::balloon() {
  if (board_->balloon == nullptr) return fail("this machine has no balloon", {}, "start it with --balloon");
  return board_->balloon->describe();
}

}  // namespace nagaya::machine
