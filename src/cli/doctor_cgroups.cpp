#include "cli/doctor_cgroups.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <sstream>

#include "cgroup/layout.hpp"

namespace nagaya::cli {
namespace {

/// What options of run and update need, by cgroup v1's names, and what each is for.
constexpr std::pair<const char*, const char*> wanted[] = {
    {"cpu", "--cpus"},           {"memory", "--memory"}, {"pids", "--pids-limit"}, {"blkio", "limits of disks"},
    {"cpuset", "--cpuset-cpus"},
};

std::string as_root(const HostView& host, const std::string& command) {
  return host.is_root() ? command : "sudo " + command;
}

/// Controllers this kernel has: true when one is in a mounted hierarchy, false when it is free for another. One that is
/// off is not here.
std::map<std::string, bool> kernel_controllers(const HostView& host) {
  std::map<std::string, bool> out;
  std::istringstream in(host.text("/proc/cgroups").value_or(""));
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string name;
    unsigned hierarchy = 0, count = 0, enabled = 0;
    if (words >> name >> hierarchy >> count >> enabled && enabled != 0) out[name] = hierarchy != 0;
  }
  return out;
}

std::string mend_for(const HostView& host, const std::string& name, bool v2_only) {
  const auto kernel = kernel_controllers(host);
  const auto found = kernel.find(name);
  if (found == kernel.end())
    return fmt::format("boot with cgroup_enable={} on the kernel's command line, or with a kernel that has it", name);
  if (v2_only || found->second) return fmt::format("it is in another hierarchy; mount that one below /sys/fs/cgroup");
  const std::string folder = "/sys/fs/cgroup/" + name;
  return as_root(host, fmt::format("mkdir -p {0} && mount -t cgroup -o {1} {1} {0}", folder, name));
}

}  // namespace

void examine_cgroups(const HostView& host, std::vector<Finding>& out) {
  cgroup::Layout layout = cgroup::parse_layout(host.text("/proc/self/mountinfo").value_or("") + "\n",
                                               host.text("/proc/self/cgroup").value_or("") + "\n");
  if (layout.hierarchies.empty()) {
    out.push_back({"cgroups", Health::missing, false, "not mounted: domains have no limits",
                   as_root(host, "mount -t cgroup2 cgroup2 /sys/fs/cgroup")});
    return;
  }
  std::vector<std::string> old, now, missing;
  for (auto& hierarchy : layout.hierarchies) {
    if (hierarchy.v2) {
      std::istringstream in(host.text(hierarchy.mount_point + "/cgroup.controllers").value_or(""));
      for (std::string name; in >> name;) hierarchy.controllers.push_back(name);
    }
    for (const auto& name : hierarchy.controllers) (hierarchy.v2 ? now : old).push_back(name);
  }
  const bool v2_only = layout.v2_only();
  for (const auto& [name, option] : wanted) {
    if (layout.find(name) == nullptr) missing.push_back(fmt::format("{} ({})", name, option));
  }
  Finding where{"cgroups", Health::ok, false, {}, {}};
  where.detail = v2_only       ? fmt::format("version 2: {}", fmt::join(now, " "))
                 : now.empty() ? fmt::format("version 1: {}", fmt::join(old, " "))
                               : fmt::format("version 1: {}; version 2: {}", fmt::join(old, " "), fmt::join(now, " "));
  if (!missing.empty()) {
    where.health = Health::limited;
    where.detail += fmt::format("; missing: {}", fmt::join(missing, ", "));
    where.mend = mend_for(host, missing.front().substr(0, missing.front().find(' ')), v2_only);
  }
  out.push_back(std::move(where));

  // Where this process would make its groups.
  const cgroup::Hierarchy* memory = layout.find("memory");
  if (memory == nullptr) memory = &layout.hierarchies.front();
  const std::string own =
      host.is_root()
          ? memory->mount_point
          : memory->mount_point + memory->own.substr(0, memory->v2 ? memory->own.rfind('/') : std::string::npos);
  Finding rights{"cgroup-rights", Health::ok, false, fmt::format("groups can be made in {}", own), {}};
  if (!memory->writable || !host.writable(own)) {
    rights.health = Health::limited;
    rights.detail = fmt::format("no groups can be made in {}: domains run without limits", own);
    rights.mend =
        !memory->writable ? as_root(host, fmt::format("mount -o remount,rw {}", memory->mount_point))
        : memory->v2
            ? "log in through systemd (loginctl enable-linger), which gives users a part of the tree; or run it as root"
            : "run it as root: cgroup v1 is not given to users";
  }
  out.push_back(std::move(rights));

  Finding views{"container-views", Health::ok, false, "containers see their own limits in /proc and /sys", {}};
  if (const int code = host.open_error("/dev/fuse"); code != 0) {
    views = {"container-views", Health::limited, false,
             fmt::format("containers see the host's /proc/meminfo and its like: /dev/fuse {}",
                         code == ENOENT ? "is not there" : "may not be opened"),
             code == ENOENT ? as_root(host, "modprobe fuse") : "run it as root, or: sudo chmod 666 /dev/fuse"};
  } else if (!host.has_program("nagaya-procview")) {
    views = {"container-views", Health::missing, false, "nagaya-procview is not there",
             "reinstall nagaya: nagaya-procview belongs beside nagaya"};
  }
  out.push_back(std::move(views));
}

}  // namespace nagaya::cli
