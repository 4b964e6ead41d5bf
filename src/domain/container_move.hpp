// A named container that comes over a stream: what it says of itself before its files and its memory follow (migrate/migrate.hpp).
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "domain/container_store.hpp"

namespace nagaya::domain {

struct Arrival {
  ContainerDefinition definition;
  std::string address{};              ///< "10.89.0.2/24", of its first card; empty: none
  bool connections = false;           ///< its TCP connections come with it, and end at that address
  std::vector<std::string> layers{};  ///< SHA-256 of its image's layers, the lowest first: image ids differ from host to host
};
/// JSON: {"version": 1, "boot": "…", "address": "…", "connections": false, "layers": […], "definition": …}
[[nodiscard]] std::string write_arrival(const Arrival& arrival);
/// Strict; the definition is valid. From this same host (one boot id, random(4)) it comes without its id: with it go its cgroup's name and its
/// cards' addresses, which the one that still is here has.
[[nodiscard]] Result<Arrival> read_arrival(std::string_view text);
/// The folders that move, in the stream's order: what it has written above its image, and the volumes that are its own.
[[nodiscard]] std::vector<std::string> moved_folders(const Container& container);

}  // namespace nagaya::domain
