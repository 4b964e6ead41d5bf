#include "machine/fw_cfg_items.hpp"

#include <algorithm>

#include "boot/firmware_files.hpp"
#include "host/fd.hpp"
#include "machine/guest_start.hpp"

namespace nagaya::machine {
namespace {

using devices::FwCfgKey;
constexpr u64 largest_file = 256 * MiB;

/// A kernel for firmware to start: set-up part and the rest apart, as Linux's boot protocol divides the file
/// (Documentation/arch/x86/boot.rst, "setup_sects").
Result<> add_kernel(devices::FwCfgItems& items, const proto::VmConfig& config, u64 limit) {
  TRY_ASSIGN(auto kernel, host::read_file(config.kernel, limit));
  const bool linux_image = kernel.size() > 0x206 && kernel[0x202] == 'H' && kernel[0x203] == 'd' &&
                           kernel[0x204] == 'r' && kernel[0x205] == 'S';
  const std::size_t sectors = linux_image ? (kernel[0x1f1] != 0 ? kernel[0x1f1] : 4u) + 1u : 0u;
  const std::size_t setup = std::min(kernel.size(), sectors * 512);
  std::vector<u8> first(kernel.begin(), kernel.begin() + static_cast<std::ptrdiff_t>(setup));
  kernel.erase(kernel.begin(), kernel.begin() + static_cast<std::ptrdiff_t>(setup));
  items.set_u32(FwCfgKey::setup_size, static_cast<u32>(first.size()));
  items.set(FwCfgKey::setup_data, std::move(first));
  items.set_u32(FwCfgKey::kernel_size, static_cast<u32>(kernel.size()));
  items.set(FwCfgKey::kernel_data, std::move(kernel));
  if (!config.initrd.empty()) {
    TRY_ASSIGN(auto initrd, host::read_file(config.initrd, limit));
    items.set_u32(FwCfgKey::initrd_size, static_cast<u32>(initrd.size()));
    items.set(FwCfgKey::initrd_data, std::move(initrd));
  }
  items.set_u32(FwCfgKey::cmdline_size, static_cast<u32>(config.append.size() + 1));
  items.set_string(FwCfgKey::cmdline_data, config.append);
  return {};
}

}  // namespace

Result<devices::FwCfgItems> make_fw_cfg_items(const proto::VmConfig& config, const memory::GuestMemory& memory) {
  devices::FwCfgItems items;
  items.set_u64(FwCfgKey::ram_size, memory.ram_size());
  items.set_u16(FwCfgKey::nb_cpus, static_cast<u16>(config.vcpus));
  items.set_u16(FwCfgKey::max_cpus, static_cast<u16>(config.vcpus));
  items.set_u16(FwCfgKey::nographic, 1);
  std::vector<devices::FwCfgE820> map;
  for (const memory::Region& region : memory.regions()) {
    if (region.is_ram()) map.push_back({region.gpa.value, region.size, 1});
  }
  TRY(items.add_e820(map));
  for (const proto::FwCfgItem& item : config.fw_cfg) {
    std::vector<u8> data;
    if (item.text) {
      data.assign(item.text->begin(), item.text->end());
    } else {
      TRY_ASSIGN(data, host::read_file(item.file, largest_file));
    }
    TRY(items.add_file(item.name, std::move(data)));
  }
  if (!config.firmware.empty()) {
    TRY_ASSIGN(auto files, boot::build_firmware_files(platform_of(config, memory)));
    for (auto& file : files) TRY(items.add_file(std::move(file.name), std::move(file.content)));
  }
  if (!config.firmware.empty() && !config.kernel.empty()) TRY(add_kernel(items, config, memory.ram_size()));
  return items;
}

}  // namespace nagaya::machine
