// The parts of a libvirt domain, each between its elements and fields of a machine's document.
#pragma once
#include "definition/libvirt/element.hpp"
#include "definition/yaml.hpp"

namespace nagaya::definition::libvirt {

/// Of our own element below <metadata>; there, other programs keep what libvirt has no word for.
inline constexpr const char* metadata_namespace = "urn:nagaya:definition:1";
// libvirt lets users name devices, by aliases that begin with "ua-". These are ours: the network that a machine has when its definition names
// none, the disk that is the machine's own, and a first serial port that is a pseudo-terminal and not the console.
inline constexpr const char* usual_network_alias = "ua-nagaya-usual-network";
inline constexpr const char* own_disk_alias = "ua-nagaya-own-disk";
inline constexpr const char* terminal_alias = "ua-nagaya-terminal";

// From a domain.
[[nodiscard]] Result<> read_resources(const Element& domain, Json& document);
/// `ours`: we wrote the domain, and its own disk may stand in it.
[[nodiscard]] Result<> read_disks(const Element& devices, bool ours, Json& document);
[[nodiscard]] Result<> read_interfaces(const Element& devices, Json& document);
[[nodiscard]] Result<> read_ports(const Element& devices, Json& document);
[[nodiscard]] Result<> read_others(const Element& domain, const Element& devices, Json& document);

}  // namespace nagaya::definition::libvirt
