// What a named container is: chosen when it is made, kept as readable JSON (container.json) in its folder.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "image/health.hpp"

namespace nagaya::domain {

/// Something of the host, or a named or nameless volume, at a place inside.
struct ContainerVolume {
  std::string source;  ///< absolute path of the host, or a volume's name; empty: a volume of this container alone
  std::string target;  ///< absolute path inside
  bool read_only = false;
  std::vector<std::string> options{};  ///< further mount options ("noexec", "rshared" …)
  bool operator==(const ContainerVolume&) const = default;
};

struct RestartPolicy {
  enum class When : u8 { no, on_failure, always, unless_stopped };
  When when = When::no;
  unsigned retries = 0;  ///< of on_failure; 0: without end
  bool operator==(const RestartPolicy&) const = default;
  [[nodiscard]] std::string text() const;
  /// "no", "on-failure[:N]", "always", "unless-stopped"
  static Result<RestartPolicy> parse(std::string_view text);
};

/// Limits of a domain's cgroup; the same words for both kinds. 0 or empty: none.
struct DomainLimits {
  u64 memory = 0, memory_reservation = 0;  ///< bytes
  i64 memory_swap = 0;                     ///< bytes of memory and swap together; -1: no limit
  u64 cpu_thousandths = 0;                 ///< quota: 1500 is one and a half CPUs
  u64 cpu_shares = 0;                      ///< 2…262144, 1024 is usual
  std::string cpuset_cpus{}, cpuset_mems{};
  i64 pids = 0;  ///< -1: no limit; 0: what containers usually get
  u16 blkio_weight = 0;                                                    ///< 10…1000
  std::vector<std::string> read_bps{}, write_bps{}, read_iops{}, write_iops{};  ///< "DEVICE:RATE"
  bool operator==(const DomainLimits&) const = default;
  /// Errors name the key.
  [[nodiscard]] Result<> validate() const;
};

struct ContainerDefinition {
  std::string name;          ///< proto::plain_name
  std::string id{};          ///< 64 hexadecimal digits, made at random
  std::string image{};       ///< id of the image
  std::string image_name{};  ///< what the user called it
  std::string created{};     ///< UTC, ISO 8601
  std::map<std::string, std::string> labels{};

  // What runs. Empty: as the image says.
  std::optional<std::vector<std::string>> entrypoint{};
  std::vector<std::string> command{}, env{};  ///< env: "K=V"
  std::string workdir{}, user{}, hostname{};
  bool terminal = false, interactive = false;
  bool system = false;   ///< the image's own init as the first process: a whole system
  bool reaper = true;    ///< a small init of ours that reaps, before the program
  std::string stop_signal{};
  unsigned stop_timeout = 10;  ///< seconds
  RestartPolicy restart{};
  image::HealthCheck health{};  ///< what is not said is as the image says
  bool remove = false;     ///< it goes away when it has ended
  bool autostart = false;

  DomainLimits limits{};
  u64 shm_size = 64 * MiB;
  std::vector<std::string> ulimits{};  ///< "nofile=1024[:2048]"
  std::vector<std::string> sysctls{};  ///< "net.ipv4.ip_forward=1"

  std::vector<std::string> cap_add{}, cap_drop{};       ///< "NET_ADMIN", "ALL"
  std::vector<std::string> security{};                  ///< "seccomp=unconfined|FILE", "no-new-privileges", "apparmor=…", "label=…"
  bool privileged = false, read_only = false;
  std::string storage_driver{};                         ///< "overlay", "fuse-overlayfs", "vfs"; empty: the first that works here
  std::string userns{}, pid{}, ipc{}, uts{}, cgroupns{};  ///< "", "host"; userns also "auto"; pid, ipc, uts also "container:ID"
  std::vector<std::string> devices{};                     ///< "/dev/x[:/dev/y][:rwm]"

  std::vector<ContainerVolume> volumes{};
  std::vector<std::string> tmpfs{};     ///< "/path[:options]"
  std::vector<std::string> networks{};  ///< as of machines; also "host", "none" and "container:ID"
  std::vector<std::string> publish{};   ///< "[ip:]host:guest[/proto]"
  bool publish_all = false;
  std::vector<std::string> dns{}, add_hosts{};  ///< add_hosts: "NAME:IP"
  bool operator==(const ContainerDefinition&) const = default;

  [[nodiscard]] Result<> validate() const;
  [[nodiscard]] std::string to_json() const;
  /// Strict: unknown keys are errors.
  [[nodiscard]] static Result<ContainerDefinition> from_json(std::string_view text);
};

/// "SOURCE:TARGET[:options]", "NAME:TARGET" or "TARGET" alone; a source with a slash is a path, taken from the working folder when it is
/// relative.
[[nodiscard]] Result<ContainerVolume> parse_volume(const std::string& text);

}  // namespace nagaya::domain
