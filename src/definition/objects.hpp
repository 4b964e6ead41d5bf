// Networks and named volumes between their definitions and what is there.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "definition/yaml.hpp"
#include "net/network.hpp"

namespace nagaya::definition {

/// What the document does not say is as of `now`, or as usual.
[[nodiscard]] Result<net::Network> network_of(const Json& document, const std::optional<net::Network>& now);
[[nodiscard]] Json network_document(const net::Network& network);
/// With its bridge, where it has one; a bridge network without a subnet gets a free one. Not for a process of several threads.
[[nodiscard]] Result<> create_network(const net::NetworkStore& store, net::Network network, bool subnet_given);
/// EBUSY: somebody is on it.
[[nodiscard]] Result<> remove_network(const net::NetworkStore& store, const std::string& name);

/// A volume is a folder, <state>/volumes/NAME, with its files in data/ and what is known of it in api.json: "name", "project", "path",
/// "labels", "created", "usedBy".
[[nodiscard]] std::optional<Json> find_volume(const std::string& name);
[[nodiscard]] std::vector<Json> all_volumes();
[[nodiscard]] Json volume_document(const Json& volume);
/// EEXIST: there is one already.
[[nodiscard]] Result<> create_volume(const Json& volume);
/// Another project, other labels.
[[nodiscard]] Result<> note_volume(const Json& volume);
/// EBUSY: a container has it.
[[nodiscard]] Result<> remove_volume(const std::string& name);

}  // namespace nagaya::definition
