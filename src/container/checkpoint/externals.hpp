// What of a container is not its own but the outside's, and is therefore not saved but named: bind mounts, its cgroup's files, masked paths,
// namespaces it joined, descriptors it got from its caller. At a restore the same names get what the outside has there now.
// Source: criu.org "External resources", "Inheriting FDs on restore".
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "cgroup/cgroup.hpp"
#include "container/checkpoint/wire.hpp"
#include "container/spec/spec.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

/// A name in the images, and what it stands for.
struct ExternalMount {
  std::string point;   ///< in the container; the name, too
  std::string source;  ///< outside; empty at a dump
};

/// Of a running container, by the configuration and what the kernel says is mounted.
Result<std::vector<ExternalMount>> external_mounts(const Spec& spec, pid_t pid);
/// Where they come from for a new one. Points that are missing in the root (a folder) are made.
Result<std::vector<ExternalMount>> mounts_to_restore(const Spec& spec, const std::string& bundle, const host::Fd& root,
                                                     const cgroup::Layout* layout, const cgroup::Group* group);
/// The group's folder in a hierarchy, or "" where it has none: groups are left out of hierarchies that nothing needs.
std::string group_folder(const cgroup::Group& group, const cgroup::Hierarchy& hierarchy);
/// Some mount of it gets its propagation from a mount outside.
bool has_outer_master(pid_t pid);

/// Descriptors 0, 1 and 2 of a running container: "pipe:[7]", "file[1a:2b]" (mount and inode in hexadecimal) or a path, as descriptors.json
/// keeps them. Those of form "file[…]" are outside its mount namespace and must be named to CRIU.
Result<std::vector<std::string>> standard_descriptors(pid_t pid);
std::string write_descriptors(const std::vector<std::string>& names);
/// What they are, a letter each, as the file descriptor-types keeps it: whoever restores gives one of the same type.
std::string descriptor_types(pid_t pid);
inline constexpr char character_device = 'c', other_file = '-';
/// Malformed text: none. At most three.
std::vector<std::string> read_descriptors(std::string_view json);
/// The name is one that CRIU hands out again from a descriptor of its caller.
bool is_inherited(std::string_view name);

/// Namespaces joined by path, at a dump: "net[4026531840]:extRootNetNS".
Result<std::vector<std::string>> external_namespaces(const Spec& spec, pid_t pid);
/// At a restore: {name, descriptor} for inherit_fd.
Result<std::vector<std::pair<std::string, host::Fd>>> namespaces_to_restore(const Spec& spec);

}  // namespace nagaya::container
