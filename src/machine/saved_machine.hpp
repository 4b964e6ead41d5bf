// The file of a saved machine: magic, length, an archive (what the machine consists of, CPUs, devices), then RAM.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "host/fd.hpp"
#include "proto/vm_config.hpp"
#include "state/archive.hpp"
#include "x86/cpuid.hpp"

namespace nagaya::machine {

/// An opened file: the description is checked; RAM follows at the descriptor's position.
struct SavedMachine {
  host::Fd fd;
  state::ArchiveReader archive;
  proto::VmConfig config;  ///< as it was saved
  std::string engine;      ///< that it ran on
  u64 clock_ns = 0, paravirtual_ns = 0, tsc_hz = 0;
};
Result<SavedMachine> open_saved_machine(const std::string& path);

/// What to build for it: processors, memory, devices and boot files as saved; back ends, engine and the rest as `asked`.
/// Fewer serial ports than saved are filled up with unconnected ones.
[[nodiscard]] proto::VmConfig config_for_restore(const proto::VmConfig& saved, const proto::VmConfig& asked);

/// The CPUID table processor `id` was saved with; an error when `now`, what engine `engine` can show, lacks part of it.
Result<std::vector<x86::CpuidEntry>> saved_cpuid(const state::ArchiveReader& archive, unsigned id,
                                                 std::span<const x86::CpuidEntry> now, const std::string& engine);
[[nodiscard]] std::string cpuid_section(unsigned id);

/// Writes an empty file, called `name` in errors, and has it come to the disk: `description` is an archive, `ram` writes what
/// follows.
Result<> write_saved_machine(int fd, const std::string& name, const std::vector<u8>& description, const std::function<Result<>(int fd)>& ram);

/// The section that tells the rest.
void put_header(state::Writer& out, const proto::VmConfig& config, const std::string& engine, u64 clock_ns,
                u64 paravirtual_ns, u64 tsc_hz);
inline constexpr std::string_view header_section = "machine";
inline constexpr u32 header_version = 1;

}  // namespace nagaya::machine
