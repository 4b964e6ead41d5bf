// Save and restore of a whole machine.
#include <fmt/format.h>

#include "base/log.hpp"
#include "machine/cpu_archive.hpp"
#include "machine/machine.hpp"
#include "machine/ram_file.hpp"
#include "machine/saved_machine.hpp"

namespace nagaya::machine {
namespace {

std::string cpu_section(unsigned id) { return fmt::format("cpu{}", id); }

/// TSCs that differ by more than this part in a million make the guest's clock drift audibly.
constexpr u64 tsc_tolerance_ppm = 250;

Result<> check_tsc(u64 saved_hz, u64 here_hz) {
  const u64 difference = saved_hz > here_hz ? saved_hz - here_hz : here_hz - saved_hz;
  if (saved_hz == 0 || difference > here_hz / 1'000'000 * tsc_tolerance_ppm) {
    return fail("cannot restore the machine",
                fmt::format("its time stamp counter runs at {} MHz, this host's at {} MHz", saved_hz / 1'000'000, here_hz / 1'000'000));
  }
  return {};
}

}  // namespace

Result<std::vector<u8>> Machine::describe() {
  state::ArchiveWriter archive;
  state::Writer header;
  put_header(header, config_, engine_->capabilities().name, clock_.now_ns(), frozen_clock_ns_, tsc_hz_);
  archive.add(header_section, header_version, header);
  for (unsigned id = 0; id < config_.vcpus; ++id) {
    TRY_ASSIGN(const x86::CpuState state, cpu_state(id));
    state::Writer cpu, cpuid;
    put(cpu, state);
    archive.add(cpu_section(id), cpu_section_version, cpu);
    put(cpuid, threads_[id]->cpuid());
    archive.add(cpuid_section(id), cpu_section_version, cpuid);
  }
  for (const bus::Device* device : devices()) {
    state::Writer out;
    device->save(out);
    archive.add(device->name(), device->state_version(), out);
  }
  TRY(chips_->check());
  return archive.finish();
}

Result<> Machine::save(int fd, const std::string& name) {
  const bool ran = !paused_;
  pause();
  Result<> result = sync_disks();
  if (!result) {
    result = std::unexpected(std::move(result.error()).within("cannot save the machine"));
  } else if (auto description = describe()) {
    result = write_saved_machine(fd, name, *description, [&](int file) { return write_ram(file, *memory_); });
  } else {
    result = std::unexpected(std::move(description.error()).within("cannot save the machine"));
  }
  if (ran) resume();
  return result;
}

Result<> Machine::restore(const state::ArchiveReader& archive, int ram_fd) {
  memory_->zero_ram();
  TRY_ASSIGN(auto header, archive.open(header_section, header_version));
  (void)header.get_string(), (void)header.get_string();
  const u64 clock_ns = header.get<u64>();
  const u64 paravirtual_ns = header.get<u64>();
  const u64 saved_hz = header.get<u64>();
  TRY(header.finish());
  TRY(check_tsc(saved_hz, tsc_hz_));

  clock_.set_now(clock_ns);
  for (unsigned id = 0; id < config_.vcpus; ++id) {
    TRY_ASSIGN(auto cpu_in, archive.open(cpu_section(id), cpu_section_version));
    TRY_ASSIGN(const x86::CpuState state, get_cpu(cpu_in));
    TRY(set_cpu_state(id, state));
    tsc_[id] = state.msr.tsc;
  }
  for (bus::Device* device : devices()) {
    TRY_ASSIGN(auto in, archive.open(device->name(), device->state_version()));
    TRY(device->restore(in));
  }
  TRY(chips_->check());
  frozen_clock_ns_ = paravirtual_ns;
  start_summary_ = "a saved machine";
  return read_ram(ram_fd, *memory_);
}

}  // namespace nagaya::machine
