#include "cgroup/layout.hpp"

#include <algorithm>

#include "cgroup/file.hpp"

namespace nagaya::cgroup {
namespace {

/// One line of mountinfo that is a cgroup's.
struct CgroupMount {
  std::string root, point;
  std::vector<std::string> options;  ///< of the mount, then of the file system
  bool v2 = false;
};

/// mountinfo writes blanks, tabs, line ends and backslashes as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::all_of(&text[i + 1], &text[i + 4], [](char c) { return c >= '0' && c <= '7'; })) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

void split(std::string_view text, char separator, std::vector<std::string>& out) {
  while (!text.empty()) {
    const auto word = take_word(text, separator);
    if (!word.empty()) out.emplace_back(word);
  }
}

std::vector<CgroupMount> cgroup_mounts(std::string_view mountinfo) {
  std::vector<CgroupMount> mounts;
  for_lines(mountinfo, [&](std::string_view line) {
    // 36 35 98:0 ROOT POINT OPTIONS optional… - TYPE SOURCE SUPEROPTIONS
    const auto dash = line.find(" - cgroup");
    if (dash == std::string_view::npos) return;
    std::string_view tail = line.substr(dash + 3);
    const auto type = take_word(tail);
    if (type != "cgroup" && type != "cgroup2") return;
    line = line.substr(0, dash);
    for (int i = 0; i < 3; ++i) take_word(line);
    CgroupMount mount;
    mount.v2 = type == "cgroup2";
    mount.root = unescape(take_word(line));
    mount.point = unescape(take_word(line));
    split(take_word(line), ',', mount.options);
    take_word(tail);
    split(take_word(tail), ',', mount.options);
    if (mount.point.starts_with('/')) mounts.push_back(std::move(mount));
  });
  return mounts;
}

bool has(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// A mount of only part of a hierarchy (bind mounts of containers without a cgroup namespace) shows groups below its
/// root.
std::string below_root(std::string_view own, const std::string& root) {
  if (own.starts_with("/..")) return "/";  // we are outside of the part our cgroup namespace shows
  if (root == "/" || root.starts_with("/..")) return std::string(own);
  if (own == root) return "/";
  if (own.starts_with(root) && own.size() > root.size() && own[root.size()] == '/')
    return std::string(own.substr(root.size()));
  return "/";
}

/// The mount of the hierarchy that `matches`; of several one below /sys/fs/cgroup, where everybody looks.
template <class F>
const CgroupMount* choose(const std::vector<CgroupMount>& mounts, F&& matches) {
  const CgroupMount* chosen = nullptr;
  for (const auto& mount : mounts) {
    if (!matches(mount)) continue;
    if (mount.point.starts_with("/sys/fs/cgroup")) return &mount;
    if (chosen == nullptr) chosen = &mount;
  }
  return chosen;
}

}  // namespace

bool v2_limits_are_kept(std::string_view mountinfo) {
  // The option is the hierarchy's: each of its mounts shows it.
  return std::ranges::all_of(cgroup_mounts(mountinfo), [](const CgroupMount& mount) { return !mount.v2 || has(mount.options, "nsdelegate"); });
}

Layout parse_layout(std::string_view mountinfo, std::string_view self) {
  const auto mounts = cgroup_mounts(mountinfo);
  Layout layout;
  for_lines(self, [&](std::string_view line) {
    // N:controllers:path; the path may hold colons
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) return;
    const auto names = line.substr(first + 1, second - first - 1);
    const auto own = line.substr(second + 1);
    Hierarchy hierarchy;
    hierarchy.v2 = names.empty();
    split(names, ',', hierarchy.controllers);
    const CgroupMount* mount = choose(mounts, [&](const CgroupMount& m) {
      return m.v2 == hierarchy.v2 && (m.v2 || has(m.options, hierarchy.controllers.front()));
    });
    if (mount == nullptr) return;
    hierarchy.mount_point = mount->point;
    hierarchy.writable = !has(mount->options, "ro");
    hierarchy.own = below_root(own, mount->root);
    layout.hierarchies.push_back(std::move(hierarchy));
  });
  // v1 first: where a controller is there, it is nowhere else.
  std::stable_sort(layout.hierarchies.begin(), layout.hierarchies.end(),
                   [](const auto& a, const auto& b) { return a.v2 < b.v2; });
  return layout;
}

Result<Layout> read_layout() {
  TRY_ASSIGN(const std::string mountinfo, get("/proc/self", "mountinfo"));
  TRY_ASSIGN(const std::string self, get("/proc/self", "cgroup"));
  Layout layout = parse_layout(mountinfo, self);
  for (auto& hierarchy : layout.hierarchies) {
    if (!hierarchy.v2) continue;
    auto names = get(hierarchy.mount_point, "cgroup.controllers");
    if (!names) continue;  // a root that may not be read offers nothing
    std::string_view rest = *names;
    split(take_word(rest, '\n'), ' ', hierarchy.controllers);
  }
  return layout;
}

const Hierarchy* Layout::find(std::string_view controller) const {
  // One controller, two names.
  const std::string_view other = controller == "io" ? "blkio" : controller == "blkio" ? "io" : controller;
  for (const auto& hierarchy : hierarchies) {
    if (has(hierarchy.controllers, controller) || has(hierarchy.controllers, other)) return &hierarchy;
  }
  return nullptr;
}

bool Layout::v2_only() const { return hierarchies.size() == 1 && hierarchies.front().v2; }

Result<std::string> clean_path(std::string_view path) {
  const auto refuse = [&](std::string why) { return fail("cgroup path '" + std::string(path) + "'", std::move(why)); };
  if (path.size() > 4000) return fail("cgroup path", "longer than 4000 bytes");
  if (std::any_of(path.begin(), path.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; })) {
    return fail("cgroup path", "has a control character in it");
  }
  std::string out;
  std::string_view rest = path;
  for (auto word = take_word(rest, '/'); !word.empty(); word = take_word(rest, '/')) {
    if (word == "." || word == "..") return refuse("has '" + std::string(word) + "' in it");
    if (word.starts_with("cgroup.")) return refuse("a name that begins with 'cgroup.' is the kernel's");
    if (word.size() > 255) return refuse("a name is longer than 255 bytes");
    out.append("/").append(word);
  }
  if (out.empty()) return refuse("names no group below the root");
  if (!path.starts_with('/')) out.erase(0, 1);
  return out;
}

}  // namespace nagaya::cgroup
