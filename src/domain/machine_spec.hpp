// What a named machine is: chosen when it is made, kept as readable JSON (machine.json) in its folder.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"
#include "domain/container_definition.hpp"
#include "proto/device_config.hpp"

namespace nagaya::domain {

/// A host folder at a place in the guest.
struct MachineShare {
  std::string host, guest;  ///< absolute paths
  bool read_only = false;
  bool operator==(const MachineShare&) const = default;
};

struct MachineSpec {
  std::string name;          ///< proto::plain_name
  std::string image;         ///< id of the image its disk is based on
  std::string image_name{};  ///< what the user called it
  std::string created{};     ///< UTC, ISO 8601
  u64 memory = GiB;          ///< bytes
  unsigned vcpus = 1;
  std::string engine = "auto", cpu = "portable";  ///< as in proto::VmConfig
  u64 disk_size = 0;                              ///< bytes; 0: as the image
  std::string hostname{};                         ///< empty: the name
  std::vector<std::string> ssh_keys{};            ///< lines of authorized_keys beside the default key
  std::string user_data{};                        ///< cloud-init's, may be empty
  std::vector<MachineShare> shares{};
  std::vector<std::string> publish{};   ///< "[ip:]host:guest[/proto]"
  std::vector<std::string> networks{};  ///< "NAME[,key=value…]"; empty: the default network; "none": no card
  /// Of the machine's process with all its threads. `memory`: 0 is the guest's memory with room for the process.
  DomainLimits limits{};
  std::optional<unsigned> numa_node{};  ///< the node of the host whose memory is preferred
  std::string append{};                 ///< added to the kernel's command line
  proto::DeviceConfig devices{};        ///< beside those that every machine has
  // What an OCI image starts; empty: as the image says.
  std::vector<std::string> command{};
  std::optional<std::string> entrypoint{};
  std::vector<std::string> env{};  ///< "K=V"
  std::string workdir{}, user{};
  bool operator==(const MachineSpec&) const = default;

  /// Errors say which key and why. Does not look at files.
  [[nodiscard]] Result<> validate() const;
  [[nodiscard]] std::string to_json() const;
  /// Strict: unknown keys are errors.
  [[nodiscard]] static Result<MachineSpec> from_json(std::string_view text);
};

/// "HOST:GUEST[:ro|rw]" with absolute paths (a relative host path is taken from the working folder).
[[nodiscard]] Result<MachineShare> parse_share(const std::string& text);

}  // namespace nagaya::domain
