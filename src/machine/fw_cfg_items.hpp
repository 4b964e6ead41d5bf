// What the machine tells firmware and guests through fw_cfg.
#pragma once
#include "base/result.hpp"
#include "devices/fw_cfg.hpp"
#include "memory/guest_memory.hpp"
#include "proto/vm_config.hpp"

namespace nagaya::machine {

/// Processors, memory map, the user's items and, for firmware to start, the kernel. Errors name the file.
Result<devices::FwCfgItems> make_fw_cfg_items(const proto::VmConfig& config, const memory::GuestMemory& memory);

}  // namespace nagaya::machine
