// The cards of a container on its networks.
#pragma once
#include <string>
#include <vector>

#include "base/result.hpp"
#include "domain/container_definition.hpp"
#include "image/image.hpp"
#include "net/join.hpp"

namespace nagaya::domain {

struct ContainerNetworks {
  std::vector<net::Joined> joined{};
  std::string address{};             ///< of the first card that has one
  std::vector<std::string> dns{};    ///< servers the networks name
};

/// What a container is on when nobody says: a bridge with address translation for root (made when it is first needed), else the
/// user-mode network.
[[nodiscard]] Result<net::Network> default_container_network(const net::NetworkStore& store);
/// Networks named by the definition, without "host" and "none"; errors before anything is made.
[[nodiscard]] Result<std::vector<net::Network>> container_networks(const net::NetworkStore& store, const ContainerDefinition& definition);
/// What a container that goes on wants of its networks.
struct ContainerReturn {
  std::string address{};  ///< "10.89.0.2/24": the one its first card had; it gets it where it is free
  bool held = false;      ///< on bridges nothing passes before open_networks: nobody may answer for its connections before it can
};
/// Puts cards for them into that network namespace; ports are published on the first.
[[nodiscard]] Result<ContainerNetworks> join_container(const net::NetworkStore& store, const ContainerDefinition& definition, const image::OciConfig& image,
                                                       const std::vector<net::Network>& networks, int inside, const std::string& net_program,
                                                       const ContainerReturn& back = {});
Result<> open_networks(const ContainerNetworks& networks);

}  // namespace nagaya::domain
