// Puts what the guest starts with into its memory: a kernel by one of the boot protocols, or a firmware image.
#pragma once
#include <string>

#include "base/result.hpp"
#include "boot/boot.hpp"
#include "boot/platform.hpp"
#include "memory/guest_memory.hpp"
#include "proto/vm_config.hpp"
#include "x86/cpu_state.hpp"

namespace nagaya::machine {

/// What the tables of a firmware (ours or the guest's own) tell about this machine.
[[nodiscard]] boot::Platform platform_of(const proto::VmConfig& config, const memory::GuestMemory& memory);

struct GuestStart {
  x86::CpuState boot_processor;
  std::string summary;  ///< one line for a person
};

/// Maps the firmware image as ROM below 4 GiB. Once per machine.
Result<> map_firmware(memory::GuestMemory& memory, const std::string& path);
/// The files that load_guest() reads, every time anew; none with a firmware.
Result<boot::OpenBootFiles> open_boot_files(const proto::VmConfig& config);
/// Loads memory that reads as zeros. Errors name the file.
Result<GuestStart> load_guest(memory::GuestMemory& memory, const proto::VmConfig& config, const Result<boot::OpenBootFiles>& files);

}  // namespace nagaya::machine
