// PVH direct boot. Source: Xen, docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h (version 1).
#include <fmt/format.h>

#include "boot/bytes.hpp"
#include "boot/entry_state.hpp"
#include "boot/loading.hpp"

namespace nagaya::boot {
namespace {

constexpr u32 start_magic = 0x336ec578;
constexpr u64 initrd_limit = 2 * GiB;  // Linux' own limit; other kernels have no say in this ABI

struct LoadedModule {
  u64 address, size, cmdline;
};

Result<LoadedModule> load_module(Loading& loading, std::string what, std::span<const u8> bytes,
                                 const std::string& cmdline) {
  LoadedModule module{0, bytes.size(), 0};
  TRY_ASSIGN(module.address, loading.blob(std::move(what), bytes, initrd_limit));
  if (!cmdline.empty()) {
    TRY_ASSIGN(module.cmdline, loading.text("a module's command line", cmdline));
  }
  return module;
}

}  // namespace

Result<> load_pvh(Loading& loading, const ElfImage& image, u32 entry) {
  const BootSource& source = loading.config.source;
  if (image.end() > 4 * GiB) return fail("cannot boot this kernel by PVH", "it does not lie below 4 GiB");
  TRY(load_elf(image, loading.memory, loading.placement, !loading.config.memory_is_zero));

  std::vector<LoadedModule> modules;
  if (!source.initrd.empty()) {
    TRY_ASSIGN(const LoadedModule module,
               load_module(loading, fmt::format("the initrd ({} KiB)", source.initrd.size() / KiB), source.initrd, ""));
    modules.push_back(module);
  }
  for (const Module& extra : source.modules) {
    TRY_ASSIGN(const LoadedModule module,
               load_module(loading, fmt::format("module '{}'", extra.cmdline), extra.bytes, extra.cmdline));
    modules.push_back(module);
  }
  Bytes list;
  for (const LoadedModule& module : modules) {
    append(list, module.address);
    append(list, module.size);
    append(list, module.cmdline);
    append<u64>(list, 0);
  }
  u32 list_address = 0;
  if (!list.empty()) {
    TRY_ASSIGN(list_address, loading.data("the module list", list));
  }
  Bytes map;
  for (const MemoryRange& range : loading.plan.memory_map.ranges()) {
    append(map, range.base);
    append(map, range.size);
    append(map, static_cast<u32>(range.kind));
    append<u32>(map, 0);
  }
  TRY_ASSIGN(const u32 map_address, loading.data("the memory map", map));
  TRY_ASSIGN(const u32 cmdline, loading.text("the command line", source.cmdline));

  Bytes info;
  append<u32>(info, start_magic);
  append<u32>(info, 1);  // version
  append<u32>(info, 0);  // flags
  append(info, static_cast<u32>(modules.size()));
  append<u64>(info, list_address);
  append<u64>(info, cmdline);
  append<u64>(info, loading.plan.rsdp);
  append<u64>(info, map_address);
  append(info, static_cast<u32>(loading.plan.memory_map.ranges().size()));
  append<u32>(info, 0);
  TRY_ASSIGN(const u32 address, loading.data("the start information", info));
  TRY_ASSIGN(loading.plan.bsp, pvh_entry_state(loading.memory, loading.placement, entry, address));
  loading.plan.protocol = Protocol::pvh;
  loading.plan.summary = fmt::format("ELF{}, PVH entry at {:#x}", image.is_64 ? 64 : 32, entry);
  return {};
}

}  // namespace nagaya::boot
