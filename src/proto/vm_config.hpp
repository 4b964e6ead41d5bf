// What a virtual machine consists of: the contract between the CLI (and later the API) and nagaya-vmm, handed over as one
// JSON object. Strict: an unknown key, a wrong type or a value out of range is an error that names the key.
//
//   {"memory": 536870912, "vcpus": 2, "engine": "auto", "cpu": "portable",
//    "kernel": "/boot/vmlinuz", "initrd": "initrd.img", "append": "console=ttyS0",
//    "modules": ["path arguments"], "protocol": "auto", "decompress_in_guest": false,
//    "firmware": "", "restore": "",
//    "serial": [{"type": "stdio"}, {"type": "file", "path": "log"}],
//    "debug_exit": false, "debug_console": {"type": "stdio"}, "testdev": false, "no_reboot": false,
//    "disks": [{"path": "disk.qcow2", "format": "qcow2", "readonly": false, "serial": "root"}], "rng": true,
//    "fw_cfg": [{"name": "opt/x", "string": "v"}, {"name": "opt/y", "file": "path"}],
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

namespace nagaya::proto {

/// Where a serial port (or the debug console) leads.
struct CharConfig {
  enum class Type : u8 {
    none,    ///< "null": output is dropped
    stdio,   ///< standard input and output; a terminal becomes raw, Ctrl-] ends the machine (one port at most)
    stdout_only,  ///< "stdout": output only, standard input is left alone
    file,    ///< output to a file (created or truncated)
    socket,  ///< listens at a UNIX socket, one client at a time
    pty,     ///< a new pseudo-terminal; its name is printed on stderr
  };
  Type type = Type::none;
  std::string path{};  ///< of file and socket
  bool operator==(const CharConfig&) const = default;
};

struct FwCfgItem {
  std::string name;                  ///< e.g. "opt/com.example/key", at most 55 bytes
  std::optional<std::string> text{};  ///< content, or
  std::string file{};                ///< path of it
  bool operator==(const FwCfgItem&) const = default;
};

/// A virtio disk. The format is stated, never guessed from content, which may be a guest's.
struct DiskConfig {
  std::string path{};
  std::string format = "raw";  ///< raw, qcow2
  bool read_only = false;
  std::string serial{};  ///< at most 20 printable characters
  bool operator==(const DiskConfig&) const = default;
};

struct VmConfig {
  std::string name = "vm";  ///< letters, digits, '-', '_', '.'; for messages and the process title
  u64 memory = 256 * MiB;   ///< bytes; a multiple of 1 MiB, 2 MiB to 1 TiB
  unsigned vcpus = 1;       ///< 1..255
  std::string engine = "auto";   ///< auto, kvm, soft
  /// "portable": features that every engine that runs well on this host carries; "common": that every usable engine does,
  /// however poor, so that the machine can move to any of them; "host": all of the engine's.
  std::string cpu = "portable";
  std::string kernel{}, initrd{}, append{};
  std::vector<std::string> modules{};  ///< multiboot and PVH: "path arguments…"
  std::string protocol = "auto";       ///< auto, linux64, linux32, pvh, multiboot
  bool decompress_in_guest = false;
  std::string firmware{};  ///< image that ends at 4 GiB; instead of, or with, a kernel (given to it through fw_cfg)
  std::string restore{};   ///< saved machine to start from; memory, vcpus and devices are then those of the file
  std::vector<CharConfig> serial{};  ///< at most 4
  std::optional<CharConfig> debug_console{};
  bool debug_exit = false, testdev = false;
  bool no_reboot = false;  ///< a reset or triple fault ends the machine instead of restarting it
  std::vector<DiskConfig> disks{};  ///< at most 16
  bool rng = false;                 ///< a virtio entropy device
  std::vector<FwCfgItem> fw_cfg{};
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
