#include "guest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

#include "engine/kvm/kvm_engine.hpp"
#include "engine/kvm/probe_kvm.hpp"
#include "host/tsc.hpp"
#include "start_state.hpp"
#if NAGAYA_CONFORMANCE_SOFT
#include "engine/soft/soft_engine.hpp"
#endif

namespace nagaya::conformance {
namespace {

constexpr auto run_limit = std::chrono::seconds(60);
constexpr u16 report_port = 0xe0, finish_port = 0xe1, line_port = 0xe2, nmi_port = 0xe3;
constexpr u16 test_ports = 0x500, test_ports_end = 0x580;

u64 value_of(std::span<const u8> data) {
  u64 value = 0;
  std::memcpy(&value, data.data(), std::min<std::size_t>(data.size(), 8));
  return value;
}

// What a read of the recorded ranges answers: every byte tells its own address.
void pattern(u64 address, std::span<u8> data) {
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>((address + i) * 17 + 3);
}

const engine::ProbeResult& probed() {
  static const engine::ProbeResult result = engine::kvm::probe_kvm();
  return result;
}

Result<std::unique_ptr<engine::Engine>> make_engine(const std::string& name) {
  if (name == "kvm") return engine::kvm::create_kvm_engine();
#if NAGAYA_CONFORMANCE_SOFT
  if (name == "soft") return engine::soft::create_soft_engine();
#endif
  return fail("there is no engine " + name);
}

}  // namespace

const std::vector<std::string>& engines() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found;
#if NAGAYA_CONFORMANCE_SOFT
    found.emplace_back("soft");
#endif
    if (probed().usable()) found.emplace_back("kvm");
    return found;
  }();
  return names;
}

std::string class_of(const std::string& engine) {
  if (engine == "kvm" && probed().verdict == engine::ProbeVerdict::emulates_kernel) return "kvm-paging-only";
  return engine;
}

const char* name_of(End end) {
  switch (end) {
    case End::finished:
      return "finished";
    case End::paused:
      return "paused";
    case End::shutdown:
      return "shutdown";
    case End::internal_error:
      return "internal error";
    case End::timeout:
      return "timeout";
  }
  return "?";
}

Result<std::shared_ptr<World>> make_world(u64 ram_bytes) {
  auto world = std::make_shared<World>();
  TRY_ASSIGN(world->ram, memory::GuestMemory::create(ram_bytes));
  return world;
}

Result<std::unique_ptr<Guest>> Guest::create(const std::string& name, std::shared_ptr<World> world, unsigned vcpus) {
  auto guest = std::unique_ptr<Guest>(new Guest(std::move(world)));
  TRY_ASSIGN(guest->engine_, make_engine(name));
  engine::Engine& engine = *guest->engine_;
  std::vector<engine::MemoryRegion> regions;
  for (const memory::Region& r : guest->ram().regions()) regions.push_back({r.gpa, r.size, r.hva, r.readonly});
  TRY(engine.set_memory(regions));
  guest->ram().on_write([&engine](Gpa at, u64 size) { engine.memory_written(at, size); });
  TRY_ASSIGN(const auto offered, engine.supported_cpuid());
  const u64 tsc_hz = host::tsc_hz();
  guest->chips_ = engine.irqchip() ? machine::make_engine_chips(*engine.irqchip())
                                   : machine::make_modelled_chips(guest->clock_, {.vcpus = vcpus, .tsc_hz = tsc_hz});
  TRY(guest->chips_->attach(guest->ports_, guest->mmio_));
  for (unsigned id = 0; id < vcpus; ++id) {
    const x86::CpuidPolicy policy{.vcpu = id, .vcpus = vcpus, .kvm_features = 0, .tsc_hz = tsc_hz};
    auto thread =
        std::make_unique<machine::VcpuThread>(id, [raw = guest.get()](const engine::Exit& e) { raw->on_exit(e); });
    TRY(thread->create(engine, *guest, guest->chips_->local_apic(id), x86::make_cpuid(offered, policy)));
    guest->threads_.push_back(std::move(thread));
  }
  TRY(guest->chips_->connect(guest->threads_));
  for (bus::Device* device : guest->chips_->devices()) {
    device->reset();
    device->pause();
  }
  TRY(guest->chips_->check());
  return guest;
}

Guest::~Guest() {
  for (const auto& thread : threads_) thread->stop();
  for (const auto& thread : threads_) thread->wait_parked();
  world_->ram->on_write({});
  threads_.clear();
}

Result<> Guest::boot(const std::string& image, Mode mode) {
  std::ifstream file(std::string(NAGAYA_CONFORMANCE_GUESTS) + "/" + image, std::ios::binary);
  if (!file) return fail("there is no guest image " + image);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  TRY(prepare_memory(ram(), mode));
  TRY(ram().write(Gpa(image_at), std::span(reinterpret_cast<const u8*>(bytes.data()), bytes.size())));
  for (unsigned id = 0; id < threads_.size(); ++id)
    TRY(set_state(id == 0 ? start_state(mode) : x86::reset_state(false), id));
  return {};
}

End Guest::run(std::chrono::microseconds pause_after) {
  const auto begun = std::chrono::steady_clock::now();
  {
    std::lock_guard lock(mutex_);
    end_.reset();
    detail_.clear();
  }
  for (bus::Device* device : chips_->devices()) device->resume();
  clock_.resume();
  for (const auto& thread : threads_) thread->run();
  {
    std::unique_lock lock(mutex_);
    const bool bounded = pause_after.count() > 0;
    const auto until = begun + (bounded ? pause_after : std::chrono::microseconds(run_limit));
    if (!changed_.wait_until(lock, until, [&] { return end_.has_value(); }))
      end_ = bounded ? End::paused : End::timeout;
  }
  for (const auto& thread : threads_) thread->stop();
  for (const auto& thread : threads_) thread->wait_parked();
  clock_.pause();
  for (bus::Device* device : chips_->devices()) device->pause();
  // The end may have come between the pause and the stop.
  std::scoped_lock lock(mutex_, world_->mutex);
  if (*end_ == End::paused && world_->finished) end_ = End::finished;
  return *end_;
}

Result<x86::CpuState> Guest::state(unsigned vcpu) {
  Result<x86::CpuState> state;
  threads_[vcpu]->call([&] { state = threads_[vcpu]->vcpu()->state(); });
  return state;
}

Result<> Guest::set_state(const x86::CpuState& state, unsigned vcpu) {
  Result<> result;
  threads_[vcpu]->call([&] { result = threads_[vcpu]->vcpu()->set_state(state); });
  return result;
}

Result<Frozen> Guest::freeze() {
  Frozen frozen;
  for (unsigned id = 0; id < threads_.size(); ++id) {
    TRY_ASSIGN(x86::CpuState cpu, state(id));
    frozen.cpus.push_back(cpu);
  }
  for (const bus::Device* device : chips_->devices()) {
    state::Writer out;
    device->save(out);
    frozen.devices.push_back(out.bytes());
  }
  TRY(chips_->check());
  frozen.clock_ns = clock_.now_ns();
  return frozen;
}

Result<> Guest::thaw(const Frozen& frozen) {
  clock_.set_now(frozen.clock_ns);
  for (unsigned id = 0; id < threads_.size(); ++id) TRY(set_state(frozen.cpus[id], id));
  std::size_t i = 0;
  for (bus::Device* device : chips_->devices()) {
    state::Reader in(std::string(device->name()), device->state_version(), frozen.devices[i++]);
    TRY(device->restore(in));
  }
  return chips_->check();
}

std::vector<std::string> Guest::log() const {
  std::lock_guard lock(world_->mutex);
  return world_->log;
}

void Guest::note(std::string line) {
  std::lock_guard lock(world_->mutex);
  if (world_->log.size() < 100'000) world_->log.push_back(std::move(line));
}

void Guest::stop(End end) {
  {
    std::lock_guard lock(mutex_);
    if (!end_) end_ = end;
  }
  for (const auto& thread : threads_) thread->stop();
  changed_.notify_all();
}

void Guest::on_exit(const engine::Exit& exit) {
  if (exit.reason == engine::ExitReason::kicked) return;
  {
    std::lock_guard lock(mutex_);
    detail_ = exit.detail;
  }
  stop(exit.reason == engine::ExitReason::shutdown ? End::shutdown : End::internal_error);
}

void Guest::port_read(u16 port, std::span<u8> data) {
  if (port >= test_ports && port < test_ports_end) {
    pattern(port, data);
    return note(fmt::format("in{} {:x}", data.size() * 8, port));
  }
  ports_.read(port, data);
}

void Guest::port_write(u16 port, std::span<const u8> data) {
  const u64 value = value_of(data);
  if (port >= test_ports && port < test_ports_end)
    return note(fmt::format("out{} {:x} {:x}", data.size() * 8, port, value));
  switch (port) {
    case report_port:
      return note(fmt::format("r {:x}", value));
    case line_port:
      return irqs().set_line(value & 0x1f, value & 0x80);
    case nmi_port:
      if (value < threads_.size()) threads_[value]->vcpu()->signal(engine::VcpuSignal::nmi);
      return;
    case finish_port: {
      {
        std::lock_guard lock(world_->mutex);
        if (world_->finished) return;
        world_->finished = true;
        world_->log.push_back(fmt::format("end {:x}", value));
      }
      return stop(End::finished);
    }
    default:
      return ports_.write(port, data);
  }
}

void Guest::mmio_read(Gpa at, std::span<u8> data) {
  if (at.value >= mmio_at && at.value - mmio_at < mmio_bytes) {
    pattern(at.value, data);
    return note(fmt::format("load{} {:x}", data.size() * 8, at.value));
  }
  mmio_.read(at.value, data);
}

void Guest::mmio_write(Gpa at, std::span<const u8> data) {
  if (at.value >= mmio_at && at.value - mmio_at < mmio_bytes)
    return note(fmt::format("store{} {:x} {:x}", data.size() * 8, at.value, value_of(data)));
  mmio_.write(at.value, data);
}

}  // namespace nagaya::conformance
