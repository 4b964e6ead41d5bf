// The devices of a virtual machine as its configuration names them, and their JSON (see vm_config.hpp for the whole).
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::proto {

/// Where a serial port (or the debug console, or a virtio console) leads.
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

/// How much a disk may do in a second; 0: no limit.
struct DiskLimits {
  u64 iops = 0, iops_burst = 0;  ///< requests; a burst of 0 is a tenth of a second's worth
  u64 bps = 0, bps_burst = 0;    ///< bytes
  bool operator==(const DiskLimits&) const = default;
};

/// A virtio disk. The format is stated, never guessed from content, which may be a guest's.
struct DiskConfig {
  std::string path{};
  std::string format = "raw";  ///< raw, qcow2
  bool read_only = false;
  std::string serial{};  ///< at most 20 printable characters
  std::vector<std::string> backing{};  ///< files or folders beside the image's own where its backing files may lie
  DiskLimits limits{};
  std::string io = "auto";      ///< auto (threads), threads, io_uring (raw only): what serves requests that have to wait
  std::string ring = "packed";  ///< packed, split: the kind of virtqueues that the guest is offered
  bool operator==(const DiskConfig&) const = default;
};

/// A virtio network card. Its link is exactly one of the three: packets pass as a virtio_net_hdr (12 bytes) and a frame.
struct NetConfig {
  int fd = -1;           ///< an inherited descriptor: a SOCK_SEQPACKET socket, or a tap opened with IFF_VNET_HDR
  std::string socket{};  ///< UNIX SOCK_SEQPACKET socket to connect to (a nagaya-net process)
  std::string tap{};     ///< name of a tap device to open
  std::string mac{};     ///< "52:54:00:12:34:56"; empty: made of the machine's name and the card's number
  unsigned mtu = 0;      ///< told to the guest; 0: nothing is told
  unsigned queues = 1;   ///< pairs, at most 8; more than one only on a tap
  u64 rate_in = 0, rate_out = 0;  ///< bytes per second to and from the guest; 0: no limit
  bool operator==(const NetConfig&) const = default;
};

/// A port of the virtio console device.
struct ConsoleConfig {
  CharConfig where{};
  std::string name{};    ///< /dev/virtio-ports/NAME in the guest; empty: none
  bool terminal = true;  ///< hvcN, else a plain port
  bool operator==(const ConsoleConfig&) const = default;
};

/// Guest and host talk through sockets: the host connects to `path` and writes "CONNECT <port>\n"; the guest's connections
/// to port P of CID 2 arrive at "<path>_P".
struct VsockConfig {
  u64 cid = 3;  ///< of the guest, 3 or more
  std::string path{};
  bool operator==(const VsockConfig&) const = default;
};

/// A host folder shown to the guest as a virtio file system: mount -t virtiofs TAG PLACE.
struct ShareConfig {
  std::string tag{};  ///< at most 36 bytes
  std::string path{};
  bool read_only = false;
  bool operator==(const ShareConfig&) const = default;
};

/// A file as persistent memory (/dev/pmemN).
struct PmemConfig {
  std::string path{};  ///< its size is a multiple of 2 MiB
  bool read_only = false;
  bool operator==(const PmemConfig&) const = default;
};

struct BalloonConfig {
  bool deflate_on_oom = true;
  bool free_page_reporting = true;
  bool operator==(const BalloonConfig&) const = default;
};

struct DeviceConfig {
  std::vector<CharConfig> serial{};  ///< at most 4
  std::optional<CharConfig> debug_console{};
  bool debug_exit = false, testdev = false;
  std::vector<DiskConfig> disks{};  ///< at most 16
  bool rng = false;                 ///< a virtio entropy device
  std::vector<FwCfgItem> fw_cfg{};
  std::vector<NetConfig> nets{};          ///< at most 8
  std::vector<ConsoleConfig> consoles{};  ///< at most 16
  std::optional<VsockConfig> vsock{};
  std::vector<ShareConfig> shares{};  ///< at most 16
  std::vector<PmemConfig> pmems{};    ///< at most 8
  std::optional<BalloonConfig> balloon{};
  bool operator==(const DeviceConfig&) const = default;

  /// Errors say which key and why. Does not look at files.
  [[nodiscard]] Result<> validate_devices() const;
};

class Fields;
/// Adds the keys of all devices that there are.
void put_devices(nlohmann::ordered_json& out, const DeviceConfig& devices);
/// Takes them back.
[[nodiscard]] Result<> take_devices(Fields& fields, DeviceConfig& devices);
/// Letters, digits, '-', '_', '.'; 1 to 64 of them, beginning with a letter, a digit or '_'.
[[nodiscard]] bool plain_name(std::string_view name);
/// Refuses what no file can be called.
[[nodiscard]] Result<> check_path(const char* key, const std::string& path);

}  // namespace nagaya::proto
