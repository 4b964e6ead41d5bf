#include "cgroup/making.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "cgroup/file.hpp"

namespace nagaya::cgroup {
namespace {

std::string above(const std::string& folder) { return folder.substr(0, folder.rfind('/')); }

/// Groups above `part`, from the mount point down to the one it is in.
std::vector<std::string> groups_above(const Group::Part& part) {
  std::vector<std::string> out{part.folder.substr(0, part.mount_point)};
  for (auto slash = part.folder.find('/', part.mount_point + 1); slash != std::string::npos;
       slash = part.folder.find('/', slash + 1)) {
    out.push_back(part.folder.substr(0, slash));
  }
  return out;
}

bool has_word(std::string_view text, std::string_view word) {
  std::string_view rest = text.substr(0, text.find('\n'));
  for (auto next = take_word(rest); !next.empty(); next = take_word(rest)) {
    if (next == word) return true;
  }
  return false;
}

/// The root of a cgroup namespace is a group like others but looks like a root: its processes (a container's own, all
/// of them ours to move) go one down, as in every container that has containers.
bool clear_namespace_root(const std::string& root) {
  const std::string leaf = root + "/init";
  if (::mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST) return false;
  for (int round = 0; round < 5; ++round) {
    auto processes = get(root, "cgroup.procs");
    if (!processes || processes->empty()) return processes.has_value();
    for_lines(*processes, [&](std::string_view pid) { put(leaf, "cgroup.procs", pid); });
  }
  return false;
}

std::string hint_for(int code, const std::string& group) {
  if (code == EBUSY)
    return fmt::format("'{}' has processes of its own; limits are for groups without: move them into a group below it",
                       group);
  if (code == EOPNOTSUPP)
    return fmt::format(
        "'{}' is threaded or below a threaded group, which cannot hold processes' limits; see its cgroup.type", group);
  return {};
}

}  // namespace

bool systemd_runs() { return ::access("/run/systemd/system", F_OK) == 0; }

Result<> make_folder(const Group::Part& part, Undo& undo) {
  const auto make = [&](const std::string& folder) -> int {
    if (::mkdir(folder.c_str(), 0755) != 0) return errno;
    undo.add([folder] { ::rmdir(folder.c_str()); });
    return 0;
  };
  int code = make(part.folder);
  std::string failed = part.folder;
  if (code == ENOENT) {
    for (const auto& group : groups_above(part)) {
      code = make(failed = group);
      if (code != 0 && code != EEXIST && code != EROFS && code != EACCES) break;
    }
    code = make(failed = part.folder);
  }
  if (code == 0 || code == EEXIST) return {};
  return fail_errno(fmt::format("cannot make cgroup '{}'", failed), code,
                    code == EACCES || code == EPERM
                        ? "it needs root, or a part of the hierarchy that was given to this user"
                    : code == EROFS  ? "the hierarchy is mounted read-only"
                    : code == EAGAIN ? "cgroup.max.depth or cgroup.max.descendants of a group above allows no more"
                                     : "");
}

Result<> inherit_cpuset(const std::string& folder, std::size_t mount_point) {
  for (const char* file : {"cpuset.cpus", "cpuset.mems"}) {
    TRY_ASSIGN(const std::string now, get(folder, file));
    if (now.find_first_not_of('\n') != std::string::npos) continue;
    if (folder.size() <= mount_point) return fail(fmt::format("cgroup '{}' has no {}", folder, file));
    const std::string parent = above(folder);
    TRY_ASSIGN(std::string value, get(parent, file));
    if (value.find_first_not_of('\n') == std::string::npos) {
      TRY(inherit_cpuset(parent, mount_point));
      TRY_ASSIGN(value, get(parent, file));
    }
    if (const int code = put(folder, file, value); code != 0)
      return fail_errno(fmt::format("cannot set {} of '{}'", file, folder), code);
  }
  return {};
}

Result<> enable_controllers(const Group::Part& part) {
  const auto groups = groups_above(part);
  const auto complete = [&](const std::string& text) {
    return std::all_of(part.controllers.begin(), part.controllers.end(),
                       [&](const auto& name) { return has_word(text, name); });
  };
  // Nearly always all is enabled: an earlier group was made beside.
  if (auto now = get(groups.back(), "cgroup.subtree_control"); now && complete(*now)) return {};
  for (const auto& group : groups) {
    auto offered = get(group, "cgroup.controllers");
    auto enabled = get(group, "cgroup.subtree_control");
    if (!offered || !enabled) continue;
    std::string text;
    for (const auto& name : part.controllers) {
      if (has_word(*offered, name) && !has_word(*enabled, name))
        text += fmt::format("{}+{}", text.empty() ? "" : " ", name);
    }
    if (text.empty()) continue;
    int code = put(group, "cgroup.subtree_control", text);
    if (code == EBUSY && group.size() == part.mount_point && clear_namespace_root(group))
      code = put(group, "cgroup.subtree_control", text);
    if (code == 0 || code == EACCES || code == EPERM || code == EROFS) continue;
    // One that cannot be had (cpu beside real-time processes, cpuset of a partition) must not take the others with it.
    std::string_view rest = text;
    std::string refused;
    for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) {
      if (put(group, "cgroup.subtree_control", word) != 0) refused += fmt::format(" {}", word.substr(1));
    }
    if (!refused.empty())
      return fail_errno(fmt::format("cgroup '{}' cannot hand down{}", group, refused), code, hint_for(code, group));
  }
  return {};
}

std::vector<std::string> folders_in(const std::string& folder) {
  std::vector<std::string> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), &::closedir);
  if (!entries) return out;
  while (const dirent* entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") out.emplace_back(name);
  }
  return out;
}

int remove_folder(const std::string& folder) {
  if (::rmdir(folder.c_str()) == 0 || errno == ENOENT) return 0;
  if (errno != EBUSY) return errno;
  for (const auto& name : folders_in(folder)) remove_folder(folder + "/" + name);
  return ::rmdir(folder.c_str()) == 0 || errno == ENOENT ? 0 : errno;
}

}  // namespace nagaya::cgroup
