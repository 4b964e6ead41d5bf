// The process behind a container: it makes the root, joins the networks, creates and starts the container through the runtime, keeps its
// console and log, and waits for its end. It has a mount namespace of its own, so that nothing it mounts outlives it. When it is
// killed, the container stays until the next command about it, which ends it: see ContainerStore::clear_leftovers.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "domain/container_storage.hpp"
#include "domain/container_store.hpp"
#include "image/image.hpp"
#include "migrate/stream.hpp"

namespace nagaya::domain {

/// What a container's start needs from outside the domain room.
struct ContainerStart {
  ContainerLayers layers;
  image::OciConfig image;
  std::string net_program;     ///< path of nagaya-net
  std::string reaper_program;  ///< path of the small init; empty: none
  std::string view_program{};  ///< path of nagaya-procview; empty: the container sees the host's /proc/meminfo and its like
  bool wait_for_client = false;  ///< start when the first client says go (ConsoleWord::go)
  std::optional<std::pair<u16, u16>> terminal_size{};  ///< columns, rows
  bool fresh = false;                  ///< also when it was saved: that is forgotten
  std::string address{};               ///< of what comes: the one it had, "10.89.0.2/24"
  bool connections = false;            ///< and its TCP connections come with it: it must have that address here
  migrate::Stream* arrival = nullptr;  ///< it comes over this stream, whose descriptors (above 2) the monitor closes when it is there
};

/// Starts the monitor and returns when the container runs (or, with `wait_for_client`, is ready to); the error is what the monitor said.
/// The caller forks: call it from a process with one thread.
[[nodiscard]] Result<> start_container(const ContainerStore& store, const Container& container, const ContainerStart& start);

}  // namespace nagaya::domain
