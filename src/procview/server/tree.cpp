#include "procview/server/tree.hpp"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "host/fd.hpp"

namespace nagaya::procview {
namespace {

using namespace std::chrono_literals;

constexpr auto load_interest = 10min;  ///< how long a load is sampled after somebody looked
constexpr u64 slots = 32;              ///< nodes of one container, at most

/// The tree below a container, as paths; a node's place in it is its number's lower part. 0 is the container's own
/// folder.
const std::vector<std::string>& paths() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> out{""};
    for (const auto& file : shown_files()) {
      for (auto slash = file.find('/', 1); slash != std::string::npos; slash = file.find('/', slash + 1)) {
        const std::string folder = file.substr(0, slash);
        if (std::find(out.begin(), out.end(), folder) == out.end()) out.push_back(folder);
      }
      out.push_back(file);
    }
    return out;
  }();
  return all;
}

bool is_folder(const std::string& path) {
  const auto& files = shown_files();
  return std::find(files.begin(), files.end(), path) == files.end();
}

u64 make_number(u64 index, u64 slot) { return index * slots + slot; }

std::string host_text(const std::string& path) {
  auto bytes = host::read_file(path, 8 * MiB);
  return bytes ? std::string(bytes->begin(), bytes->end()) : std::string();
}

/// "8:0" → "sda", by the link /sys/dev/block has.
std::string disk_name(u64 major, u64 minor) {
  char target[512];
  const std::string link = "/sys/dev/block/" + std::to_string(major) + ":" + std::to_string(minor);
  const ssize_t length = ::readlink(link.c_str(), target, sizeof target);
  if (length <= 0) return {};
  const std::string_view text(target, static_cast<std::size_t>(length));
  return std::string(text.substr(text.rfind('/') + 1));
}

}  // namespace

Tree::Tree(cgroup::Layout layout, std::string records, std::string host)
    : layout_(std::move(layout)), records_(std::move(records)), host_(std::move(host)) {}

Tree::Known* Tree::keep(const Container& record) {
  if (const auto found = containers_.find(record.id); found != containers_.end()) return &found->second;
  if (containers_.size() >= most_containers) return nullptr;
  auto sight = Sight::of(layout_, record);
  if (!sight) return nullptr;
  Known& made = containers_[record.id];
  made.sight = std::make_unique<Sight>(std::move(*sight));
  return &made;
}

Tree::Known* Tree::known(u64 id) {
  if (const auto found = containers_.find(id); found != containers_.end()) return &found->second;
  const std::string folder = records_ + "/containers";
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.c_str()), &::closedir);
  while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
    const auto record = read_record(records_, entry->d_name);
    if (record && record->id == id) return keep(*record);
  }
  return nullptr;
}

std::expected<Node, int> Tree::find(u64 node) {
  if (node == root) return Node{root, true};
  if (node % slots >= paths().size() || known(node / slots) == nullptr) return std::unexpected(ESTALE);
  return Node{node, is_folder(paths()[node % slots])};
}

std::expected<Node, int> Tree::lookup(u64 parent, const std::string& name) {
  if (parent == root) {
    const auto record = read_record(records_, name);
    if (!record || record->id == 0) return std::unexpected(ENOENT);
    Known* container = keep(*record);
    if (container == nullptr) return std::unexpected(ENFILE);
    ++container->references;
    return Node{make_number(record->id, 0), true};
  }
  const auto here = find(parent);
  if (!here) return here;
  const std::string path = paths()[parent % slots] + "/" + name;
  const auto found = std::find(paths().begin(), paths().end(), path);
  if (found == paths().end()) return std::unexpected(ENOENT);
  ++known(parent / slots)->references;
  return Node{make_number(parent / slots, static_cast<u64>(found - paths().begin())), is_folder(path)};
}

void Tree::forget(u64 node, u64 count) {
  const auto found = node == root ? containers_.end() : containers_.find(node / slots);
  if (found == containers_.end()) return;
  found->second.references -= std::min(found->second.references, count);
  if (found->second.references == 0) containers_.erase(found);
}

std::expected<std::vector<std::pair<std::string, Node>>, int> Tree::list(u64 node) {
  std::vector<std::pair<std::string, Node>> out;
  if (node == root) {  // names are looked up, not listed: nobody needs to know who else is here
    return out;
  }
  const auto here = find(node);
  if (!here || !here->folder) return std::unexpected(ENOTDIR);
  const std::string prefix = paths()[node % slots] + "/";
  for (std::size_t slot = 1; slot < paths().size(); ++slot) {
    const std::string& path = paths()[slot];
    if (!path.starts_with(prefix) || path.find('/', prefix.size()) != std::string::npos) continue;
    out.emplace_back(path.substr(prefix.size()), Node{make_number(node / slots, slot), is_folder(path)});
  }
  return out;
}

std::string Tree::text(const std::string& path, Known& container) {
  if (path == "/proc/slabinfo") return slabinfo_text();
  if (path == "/proc/loadavg" || path == "/proc/stat") {
    // From the first look on; a load that nobody asks for costs nothing.
    if (!std::exchange(container.load_wanted, true)) container.sight->sample_load();
    container.load_asked = Clock::now();
  }
  auto facts = container.sight->facts();
  if (!facts) return {};
  // Without a group nothing counts what it uses: the host's numbers are wrong by less than zeroes.
  if (!facts->counted && (path == "/proc/meminfo" || path == "/proc/swaps" || path == "/proc/loadavg"))
    return host_text(host_ + path);
  if (path == "/proc/meminfo") return meminfo_text(host_text(host_ + "/proc/meminfo"), *facts);
  if (path == "/proc/cpuinfo") return cpuinfo_text(host_text(host_ + "/proc/cpuinfo"), *facts);
  if (path == "/proc/stat")
    return stat_text(host_text(host_ + "/proc/stat"), *facts, static_cast<u64>(::sysconf(_SC_CLK_TCK)));
  if (path == "/proc/uptime") return uptime_text(*facts);
  if (path == "/proc/loadavg") return loadavg_text(*facts);
  if (path == "/proc/swaps") return swaps_text(*facts);
  if (path == "/proc/diskstats") return diskstats_text(*facts, disk_name);
  return cpu_list_text(facts->cpus);
}

std::expected<std::string, int> Tree::read(u64 node) {
  const auto here = find(node);
  if (!here) return std::unexpected(here.error());
  if (here->folder) return std::unexpected(EISDIR);
  return text(paths()[node % slots], *known(node / slots));
}

void Tree::sample() {
  const auto now = Clock::now();
  for (auto& [index, container] : containers_) {
    if (container.load_wanted && now - container.load_asked > load_interest) container.load_wanted = false;
    if (container.load_wanted) container.sight->sample_load();
  }
}

bool Tree::sampling() const {
  return std::any_of(containers_.begin(), containers_.end(),
                     [](const auto& entry) { return entry.second.load_wanted; });
}

}  // namespace nagaya::procview
