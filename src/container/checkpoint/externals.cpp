#include "container/checkpoint/externals.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "container/checkpoint/mount_table.hpp"
#include "container/root/root.hpp"

namespace nagaya::container {
namespace {

bool has_option(const Mount& mount, std::string_view name) { return std::ranges::find(mount.options, name) != mount.options.end(); }
bool is_bind(const Mount& mount) { return mount.type == "bind" || has_option(mount, "bind") || has_option(mount, "rbind"); }

std::string link_target(const std::string& path) {
  char buffer[4096];
  const ssize_t count = ::readlink(path.c_str(), buffer, sizeof buffer);
  return count > 0 ? std::string(buffer, static_cast<std::size_t>(count)) : std::string();
}

/// A destination as the kernel names it, its links followed inside `root`: "/var/run" becomes "/run".
std::string resolved(int root, const std::string& destination) {
  const auto found = open_in_root(root, destination, false, false);
  std::string path = found ? link_target("/proc/self/fd/" + std::to_string(found->get())) : "";
  const std::string base = link_target("/proc/self/fd/" + std::to_string(root));
  if (base != "/" && is_within(path, base)) path.erase(0, base.size());
  if (path.empty() || path[0] != '/') path = destination;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// What is mounted below a bind mount came with it.
void add_with_inner(const std::vector<MountLine>& table, const std::string& point, std::set<std::string>& out) {
  for (const MountLine& line : table) {
    if (is_within(line.point, point)) out.insert(line.point);
  }
}

const char* namespace_file(NamespaceKind kind) { return kind == NamespaceKind::network ? "net" : kind == NamespaceKind::pid ? "pid" : nullptr; }
const char* namespace_name(NamespaceKind kind) { return kind == NamespaceKind::network ? "extRootNetNS" : "extRootPidNS"; }

}  // namespace

Result<std::vector<ExternalMount>> external_mounts(const Spec& spec, pid_t pid) {
  const std::string root_path = "/proc/" + std::to_string(pid) + "/root";
  TRY_ASSIGN(const host::Fd root, host::Fd::open(root_path, O_PATH | O_DIRECTORY));
  TRY_ASSIGN(const std::vector<MountLine> table, mount_table(pid));
  std::set<std::string> points;
  for (const Mount& mount : spec.mounts) {
    const std::string point = resolved(root.get(), mount.destination);
    if (is_bind(mount)) add_with_inner(table, point, points);
    if (mount.type != "cgroup" && mount.type != "cgroup2") continue;
    for (const MountLine& line : table) {
      if (line.type.starts_with("cgroup") && is_within(line.point, point)) points.insert(line.point);
    }
  }
  for (const std::string& path : spec.linux.masked_paths) {
    for (const MountLine& line : table) {
      // Folders are hidden by a tmpfs of the container's own.
      if (line.point == path && line.type != "tmpfs") points.insert(path);
    }
  }
  std::vector<ExternalMount> out;
  for (const std::string& point : points) out.push_back({point, {}});
  return out;
}

Result<std::vector<ExternalMount>> mounts_to_restore(const Spec& spec, const std::string& bundle, const host::Fd& root,
                                                     const cgroup::Layout* layout, const cgroup::Group* group) {
  TRY_ASSIGN(const std::vector<MountLine> table, mount_table(0));
  std::vector<ExternalMount> out;
  const auto inside_other = [&spec](const Mount& mount) {
    return std::ranges::any_of(spec.mounts, [&](const Mount& other) {
      return &other != &mount && other.destination != mount.destination && is_within(mount.destination, other.destination);
    });
  };
  for (const Mount& mount : spec.mounts) {
    const std::string source = mount.source.starts_with('/') ? mount.source : bundle + "/" + mount.source;
    struct stat facts {};
    const bool bind = is_bind(mount);
    if (bind && ::stat(source.c_str(), &facts) != 0) return fail_errno("cannot bind '" + source + "'");
    if (!inside_other(mount)) TRY(open_in_root(root.get(), mount.destination, true, bind && !S_ISDIR(facts.st_mode)));
    const std::string point = resolved(root.get(), mount.destination);
    if (bind) {
      out.push_back({point, source});
      char real[4096];
      const std::string base = ::realpath(source.c_str(), real) != nullptr ? real : source;
      for (const MountLine& line : table) {
        if (line.point.size() > base.size() && is_within(line.point, base)) out.push_back({point + line.point.substr(base.size()), line.point});
      }
    }
    if ((mount.type != "cgroup" && mount.type != "cgroup2") || layout == nullptr || group == nullptr) continue;
    for (const cgroup::Hierarchy& hierarchy : layout->hierarchies) {
      const std::string folder = group_folder(*group, hierarchy);
      if (folder.empty()) continue;
      const std::string name = hierarchy.mount_point.substr(hierarchy.mount_point.rfind('/'));
      out.push_back({layout->v2_only() ? point : point + name, folder});
    }
  }
  for (const std::string& path : spec.linux.masked_paths) out.push_back({path, "/dev/null"});
  return out;
}

std::string group_folder(const cgroup::Group& group, const cgroup::Hierarchy& hierarchy) {
  const std::string folder = group.folder(hierarchy.controllers.empty() ? "" : hierarchy.controllers[0]);
  return !folder.empty() && is_within(folder, hierarchy.mount_point) && ::access(folder.c_str(), F_OK) == 0 ? folder : "";
}

bool has_outer_master(pid_t pid) {
  const auto table = mount_table(pid);
  if (!table) return false;
  std::set<int> own;
  for (const MountLine& line : *table) own.insert(line.shared);
  return std::ranges::any_of(*table, [&own](const MountLine& line) { return line.master != 0 && !own.contains(line.master); });
}

Result<std::vector<std::string>> standard_descriptors(pid_t pid) {
  const std::string base = "/proc/" + std::to_string(pid);
  TRY_ASSIGN(const std::vector<u8> table, host::read_file(base + "/mountinfo", 16u << 20));
  const std::string mounts = "\n" + std::string(table.begin(), table.end());
  std::vector<std::string> out;
  for (int i = 0; i < 3; ++i) {
    const std::string path = base + "/fd/" + std::to_string(i);
    std::string name = link_target(path);
    struct stat facts {};
    if (name.starts_with('/') && ::stat(path.c_str(), &facts) == 0) {
      unsigned mount = 0;
      if (const auto info = host::read_file(base + "/fdinfo/" + std::to_string(i), 65536)) {
        const std::string text(info->begin(), info->end());
        if (const std::size_t at = text.find("mnt_id:"); at != text.npos) std::sscanf(text.c_str() + at, "mnt_id: %u", &mount);
      }
      if (mount != 0 && mounts.find("\n" + std::to_string(mount) + " ") == mounts.npos) {
        char buffer[64];
        std::snprintf(buffer, sizeof buffer, "file[%x:%lx]", mount, static_cast<unsigned long>(facts.st_ino));
        name = buffer;
      }
    }
    out.push_back(std::move(name));
  }
  return out;
}

std::string descriptor_types(pid_t pid) {
  std::string out;
  for (int i = 0; i < 3; ++i) {
    struct stat facts {};
    const bool there = ::stat(("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(i)).c_str(), &facts) == 0;
    out += there && S_ISCHR(facts.st_mode) ? character_device : other_file;
  }
  return out;
}

std::string write_descriptors(const std::vector<std::string>& names) {
  std::string out = "[";
  for (const std::string& name : names) {
    out += out.size() > 1 ? ",\"" : "\"";
    for (const char c : name) {
      if (static_cast<unsigned char>(c) < ' ') continue;
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "]";
}

std::vector<std::string> read_descriptors(std::string_view json) {
  std::vector<std::string> out;
  bool inside = false;
  for (std::size_t i = 0; i < json.size() && out.size() < 4; ++i) {
    const char c = json[i];
    if (c == '"') {
      inside = !inside;
      if (inside) out.emplace_back();
    } else if (inside) {
      if (c == '\\' && i + 1 < json.size()) ++i;
      out.back() += json[i];
    }
  }
  if (inside || out.size() > 3) return {};
  return out;
}

bool is_inherited(std::string_view name) { return name.starts_with("pipe:[") || name.starts_with("file[") || name.starts_with("socket:["); }

Result<std::vector<std::string>> external_namespaces(const Spec& spec, pid_t pid) {
  std::vector<std::string> out;
  for (const Namespace& item : spec.linux.namespaces) {
    const char* file = namespace_file(item.kind);
    if (item.path.empty() || file == nullptr) continue;
    struct stat facts {};
    const std::string path = "/proc/" + std::to_string(pid) + "/ns/" + file;
    if (::stat(path.c_str(), &facts) != 0) return fail_errno("cannot look at '" + path + "'");
    out.push_back(std::string(file) + "[" + std::to_string(facts.st_ino) + "]:" + namespace_name(item.kind));
  }
  return out;
}

Result<std::vector<std::pair<std::string, host::Fd>>> namespaces_to_restore(const Spec& spec) {
  std::vector<std::pair<std::string, host::Fd>> out;
  for (const Namespace& item : spec.linux.namespaces) {
    if (item.path.empty() || namespace_file(item.kind) == nullptr) continue;
    TRY_ASSIGN(host::Fd fd, host::Fd::open(item.path, O_RDONLY));
    out.emplace_back(namespace_name(item.kind), std::move(fd));
  }
  return out;
}

}  // namespace nagaya::container
