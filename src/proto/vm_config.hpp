// What a virtual machine consists of: the contract between the CLI (and later the API) and nagaya-vmm, handed over as one
// JSON object. Strict: an unknown key, a wrong type or a value out of range is an error that names the key.
//
//   {"memory": 536870912, "vcpus": 2, "engine": "auto", "cpu": "portable",
//    "soft": {"code_cache": 134217728, "log": "engine.log", "count_blocks": true, "perf_map": true},
//    "kernel": "/boot/vmlinuz", "initrd": "initrd.img", "append": "console=ttyS0",
//    "modules": ["path arguments"], "protocol": "auto", "decompress_in_guest": false,
//    "firmware": "", "restore": "",
//    "serial": [{"type": "stdio"}, {"type": "file", "path": "log"}],
//    "debug_exit": false, "debug_console": {"type": "stdio"}, "testdev": false, "no_reboot": false,
//    "disks": [{"path": "disk.qcow2", "format": "qcow2", "readonly": false, "serial": "root"}], "rng": true,
//    "nets": [{"fd": 5, "mac": "52:54:00:12:34:56", "mtu": 1500, "queues": 1, "rate_in": 0, "rate_out": 0}],
//    "consoles": [{"type": "file", "path": "log", "name": "org.example.port", "terminal": false}],
//    "vsock": {"cid": 3, "path": "vsock.sock"}, "shares": [{"tag": "data", "path": "/srv", "readonly": true}],
//    "pmems": [{"path": "pmem.img", "readonly": false}], "balloon": {"deflate_on_oom": true, "free_page_reporting": true},
//    "fw_cfg": [{"name": "opt/x", "string": "v"}, {"name": "opt/y", "file": "path"}],
//    "numa_node": 0,
//    "save_file": "machine.state", "save_then_exit": true, "control": "/run/vm.sock", "name": "vm"}
//
// Every key but one of kernel, firmware, restore is optional; the defaults are those of the structs below.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "proto/device_config.hpp"
#include "proto/engine_config.hpp"

namespace nagaya::proto {

struct VmConfig : DeviceConfig {
  std::string name = "vm";  ///< letters, digits, '-', '_', '.'; for messages and the process title
  u64 memory = 256 * MiB;   ///< bytes; a multiple of 1 MiB, 2 MiB to 1 TiB
  unsigned vcpus = 1;       ///< 1..255
  std::optional<unsigned> numa_node{};  ///< whose memory of the host is preferred for all that the process takes
  std::string engine = "auto";   ///< auto, kvm, soft
  /// "portable": features that every engine that runs well on this host carries; "common": that every usable engine does,
  /// however poor, so that the machine can move to any of them; "host": all of the engine's.
  std::string cpu = "portable";
  SoftEngineConfig soft{};
  std::string kernel{}, initrd{}, append{};
  std::vector<std::string> modules{};  ///< multiboot and PVH: "path arguments…"
  std::string protocol = "auto";       ///< auto, linux64, linux32, pvh, multiboot
  bool decompress_in_guest = false;
  std::string firmware{};  ///< image that ends at 4 GiB; instead of, or with, a kernel (given to it through fw_cfg)
  std::string restore{};   ///< saved machine to start from; memory, vcpus and devices are then those of the file
  bool no_reboot = false;  ///< a reset or triple fault ends the machine instead of restarting it
  std::string save_file{};      ///< where SIGUSR1 saves the machine
  bool save_then_exit = false;  ///< … and whether it ends then
  std::string control{};        ///< UNIX socket for commands (see vm_command.hpp)
  bool operator==(const VmConfig&) const = default;

  /// Errors say which key and why. Does not look at files.
  [[nodiscard]] Result<> validate() const;
  [[nodiscard]] std::string to_json() const;
  /// Parses and validates.
  [[nodiscard]] static Result<VmConfig> from_json(std::string_view text);
};

}  // namespace nagaya::proto
