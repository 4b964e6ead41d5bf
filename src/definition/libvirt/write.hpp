// A machine's definition as a libvirt domain.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "definition/yaml.hpp"

namespace nagaya::definition::libvirt {

struct Exported {
  std::string xml;
  std::vector<std::string> left_out{};  ///< fields that libvirt has no place for, a line each: "hardware.disks[0].backing (why)"
};

/// What a machine starts from on this host, for a domain that libvirt can start as well.
struct Boot {
  std::string kernel, initrd, append;  ///< of its image
  std::string disk;                    ///< its own, qcow2
};

/// `document` is a checked one. Without `boot` the domain says what it has, and not what it starts from.
[[nodiscard]] Result<Exported> write_domain(const Json& document, const std::optional<Boot>& boot);

}  // namespace nagaya::definition::libvirt
