// Cgroup file systems inside a container: its own groups, bound from the host's mounts, so that it sees no other group. In a cgroup
// namespace of its own such a bind looks the same as a new mount would, and costs a third of the system calls.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "container/root/kernel_mounts.hpp"
#include "container/root/mounts.hpp"
#include "container/root/resolve.hpp"

namespace nagaya::container {
namespace {

using Folder = RootRequest::CgroupFolder;

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> out;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    out.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return out;
}

std::string folder_name(const Folder& group) {
  if (group.v2) return "unified";
  return group.controllers.starts_with("name=") ? group.controllers.substr(5) : group.controllers;
}

Result<host::Fd> group_mount(const Folder& group, u64 attributes) {
  TRY_ASSIGN(host::Fd tree, clone_tree(AT_FDCWD, group.folder, false));
  TRY(set_attributes(tree.get(), attributes, 0, false));
  return tree;
}

/// One folder for each hierarchy in a small tmpfs, and links for controllers that share one: what programs look for at /sys/fs/cgroup.
Result<> mount_hierarchies(const RootRequest& request, int root, const Mount& mount, u64 wanted) {
  TRY_ASSIGN(const host::Fd target, mount_place(root, mount, false));
  TRY_ASSIGN(const host::Fd base, new_mount("tmpfs", "cgroup", {"mode=755", "size=64k"}, wanted & ~static_cast<u64>(MOUNT_ATTR_RDONLY)));
  TRY(attach(base.get(), target.get()));
  // A whole system arranges its services in the hierarchy made for that, which limits nothing.
  const bool system = is_whole_system(*request.spec);
  for (const Folder& group : request.cgroups) {
    const std::string name = folder_name(group);
    const bool own = system && (group.controllers == "name=systemd" || group.v2);
    const u64 attributes = own ? wanted & ~static_cast<u64>(MOUNT_ATTR_RDONLY) : wanted;
    if (::mkdirat(base.get(), name.c_str(), 0755) != 0) return fail_errno("cannot make the folder of cgroup '" + name + "'");
    TRY_ASSIGN(const host::Fd made, group_mount(group, attributes));
    // The tmpfs is new and ours alone: a name in it needs no care.
    if (::move_mount(made.get(), "", base.get(), name.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) return fail_errno("cannot attach the cgroup '" + name + "'");
    if (group.v2 || name.find(',') == std::string::npos) continue;
    for (const std::string& controller : split(name)) (void)::symlinkat(name.c_str(), base.get(), controller.c_str());
  }
  return set_attributes(base.get(), wanted & MOUNT_ATTR_RDONLY, 0, false);
}

}  // namespace

Result<> mount_cgroups(const RootRequest& request, int root, const Mount& mount, const MountOptions& options) {
  const bool only_v2 = request.cgroups.size() == 1 && request.cgroups[0].v2;
  if (mount.type == "cgroup" && !only_v2 && !request.cgroups.empty()) return mount_hierarchies(request, root, mount, options.set);

  TRY_ASSIGN(const host::Fd target, mount_place(root, mount, false));
  const auto v2 = std::ranges::find_if(request.cgroups, &Folder::v2);
  const u64 attributes = is_whole_system(*request.spec) ? options.set & ~static_cast<u64>(MOUNT_ATTR_RDONLY) : options.set;
  // Without a group of its own it would see those of others: for looking only (CVE-2023-25809).
  auto made = v2 != request.cgroups.end() ? group_mount(*v2, attributes) : new_mount("cgroup2", "cgroup", {}, options.set | MOUNT_ATTR_RDONLY);
  if (!made && (made.error().code == EPERM || made.error().code == EBUSY)) {
    // A user namespace without a cgroup of its own sees what the host shows, read-only.
    TRY_ASSIGN(made, clone_tree(AT_FDCWD, "/sys/fs/cgroup", true));
    TRY(set_attributes(made->get(), options.set | MOUNT_ATTR_RDONLY, 0, true));
  }
  if (!made) return std::unexpected(std::move(made.error()));
  for (const u64 flags : options.propagation) TRY(set_propagation(made->get(), flags));
  return attach(made->get(), target.get());
}

}  // namespace nagaya::container
