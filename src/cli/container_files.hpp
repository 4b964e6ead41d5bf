// The other side of 'nagaya cp' for a container: a child of ours whose root is the container's, so that no link of the container's leads
// out; it speaks as nagaya-agent does in a machine, and runs no program of the container's.
#pragma once
#include <optional>

#include "agent/channel.hpp"
#include "domain/container_store.hpp"

namespace nagaya::cli {

class ContainerFiles {
 public:
  /// A container that does not run shows its root without its volumes; it cannot be started meanwhile.
  [[nodiscard]] static Result<ContainerFiles> open(const domain::ContainerStore& store, const domain::Container& container);
  ContainerFiles(ContainerFiles&& other) noexcept;
  ContainerFiles& operator=(ContainerFiles&&) = delete;
  ~ContainerFiles();
  [[nodiscard]] agent::Channel& channel() { return *channel_; }

 private:
  ContainerFiles() = default;
  std::optional<agent::Channel> channel_{};
  host::Fd lock_{};
  pid_t child_ = -1;
};

}  // namespace nagaya::cli
