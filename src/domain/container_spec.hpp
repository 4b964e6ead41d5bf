// From a container's definition and its image to the configuration its runtime gets.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "container/spec/spec.hpp"
#include "domain/container_definition.hpp"
#include "image/image.hpp"

namespace nagaya::domain {

/// Who a program runs as, resolved inside the root.
struct ContainerUser {
  u32 uid = 0, gid = 0;
  std::vector<u32> groups{};
  std::string home = "/";
};
/// "USER[:GROUP]", names or numbers, by /etc/passwd and /etc/group of the root (opened beneath it, whatever links lead there).
[[nodiscard]] Result<ContainerUser> resolve_user(const std::string& rootfs, const std::string& user);

/// Places on the host that only the caller knows.
struct ContainerPlaces {
  std::string rootfs;
  std::string cgroup;                      ///< path below each hierarchy ("/nagaya/NAME-ID")
  std::string hosts{}, resolv_conf{}, hostname{};  ///< files bound over /etc/…; empty: not
  std::string reaper{};                    ///< our small init, bound to /run/.nagaya/init; empty: none
  std::string network_namespace{};         ///< path of a namespace to join; empty: a new one (or the host's, when the definition says so)
  std::string pid_namespace{}, time_namespace{}, ipc_namespace{}, uts_namespace{};  ///< paths of another container's; empty: as the definition says
  std::vector<container::IdMap> uid_maps{}, gid_maps{};  ///< of a user namespace of its own; empty: none
  std::string shm{};                       ///< that container's /dev/shm, when its IPC namespace is joined
  /// Files of ours over ones of /proc and /sys, source by target: the container's own limits.
  std::vector<std::pair<std::string, std::string>> views{};
  /// Where each volume of the definition lies, then each anonymous volume of the image: source paths by target.
  std::vector<ContainerVolume> volumes{};
};

/// What an image's configuration and the user's words make of the program's arguments; an error when there is none.
[[nodiscard]] Result<std::vector<std::string>> container_args(const ContainerDefinition& definition, const image::OciConfig& image);
/// The environment: a usual PATH, the image's, the user's, later ones replacing earlier; TERM, HOME, HOSTNAME, container.
[[nodiscard]] std::vector<std::string> container_env(const ContainerDefinition& definition, const image::OciConfig& image, const ContainerUser& user);

/// Reads nothing but files that options name (a seccomp profile, devices of the host).
[[nodiscard]] Result<container::Spec> container_spec(const ContainerDefinition& definition, const image::OciConfig& image, const ContainerUser& user,
                                                     const ContainerPlaces& places);

/// The cgroup part alone, as `update` applies it.
[[nodiscard]] Result<container::Resources> limits_as_resources(const DomainLimits& limits);

/// Content of /etc/hosts and /etc/resolv.conf.
[[nodiscard]] std::string hosts_file(const std::string& hostname, const std::string& address, const std::vector<std::string>& more);
[[nodiscard]] std::string resolv_conf_file(const std::vector<std::string>& servers);

}  // namespace nagaya::domain
