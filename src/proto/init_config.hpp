// What nagaya-init does in a guest made from an OCI image: strict JSON, /nagaya/init.json in the RAM disk.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace nagaya::proto {

struct InitMount {
  std::string tag;    ///< of a virtio file system
  std::string place;  ///< absolute path
  bool read_only = false;
  bool operator==(const InitMount&) const = default;
};

struct InitConfig {
  std::string hostname{};
  std::vector<std::string> args{};  ///< program and arguments; at least one
  std::vector<std::string> env{};   ///< NAME=VALUE
  std::string workdir{};            ///< empty: "/"
  std::string user{};               ///< "USER[:GROUP]", names or numbers; empty: root
  std::string stop_signal{};        ///< "SIGTERM", "TERM" or "15"; empty: SIGTERM. The power button sends it
  std::vector<InitMount> mounts{};
  bool terminal = false;  ///< the console is a person's; else bytes go through as they are
  bool network = true;    ///< ask for an address by DHCP
  bool operator==(const InitConfig&) const = default;

  [[nodiscard]] Result<> validate() const;
  [[nodiscard]] std::string to_json() const;
  [[nodiscard]] static Result<InitConfig> from_json(std::string_view text);
};

/// Name of the virtio port to which nagaya-init writes one line when the program has ended: "exit CODE", as a shell
/// tells it (128 + n after signal n), or "error CODE TEXT" when it could not be started (126, 127) or the guest could not.
inline constexpr const char* status_port_name = "org.nagaya.status";

struct InitStatus {
  int code = 0;
  std::string error{};  ///< empty: the program ran
};
/// Reads the line; anything else is an error.
[[nodiscard]] Result<InitStatus> parse_init_status(std::string_view text);

}  // namespace nagaya::proto
