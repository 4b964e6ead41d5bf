// A server in a saved machine: nodes by path, each relative to a node above it where there is one, and open files.
//
// On restore in the same folder (same file system and inode) every inode must be the one it was: an application that goes
// on writing must not write into a file that took the name meanwhile. In another folder, as on another host, the paths
// decide, and kinds of files must agree.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "fuse/server.hpp"
#include "fuse/session.hpp"

namespace nagaya::fuse {
namespace {

constexpr u64 most_nodes = 1 << 20, most_handles = 1 << 20;
constexpr int kept_flags = O_ACCMODE | O_SYNC | O_DSYNC;

bool same_inode(int fd, const Node& node) {
  struct stat now{};
  return ::fstat(fd, &now) == 0 && now.st_dev == node.device && now.st_ino == node.inode;
}

/// Where each node is below the root, as far as a look-up there finds it again.
std::map<std::string, u64> paths_of(const Session& session, const std::vector<NodeTable::Entry>& nodes) {
  std::map<std::string, u64> out;
  std::string root = session.files.location(session.root->fd.get());
  if (!root.ends_with('/')) root += '/';
  for (const auto& [node, lookups] : nodes) {
    if (!node->fd) continue;
    const std::string place = session.files.location(node->fd.get());
    if (!place.starts_with(root) || place.size() == root.size()) continue;
    std::string path = place.substr(root.size());
    const Opened found = HostFile::look_up_path(session.root->fd.get(), path);
    if (found.error == 0 && same_inode(found.fd.get(), *node)) out.emplace(std::move(path), node->id);
  }
  return out;
}

bool good_path(const std::string& path) {
  if (path.empty() || path.size() > 4095 || path.front() == '/' || path.find('\0') != std::string::npos) return false;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const auto name = std::string_view(path).substr(at, end - at);
    if (name.empty() || name == "." || name == "..") return false;
    at = end + 1;
  }
  return path.back() != '/';
}

}  // namespace

// Form: flags agreed upon, whether begun, device and inode of the root, next node, nodes (number, look-ups, type, inode,
// device, number of the node above or 0, path from there; an empty path: lost), next handle, handles (number, node, flags, folder).
// Nodes come after the ones that they are relative to.
void Server::save(state::Writer& out) const {
  const Session& s = *session_;
  out.put(s.agreed.load());
  out.put(s.begun.load());
  out.put(static_cast<u64>(s.root->device));
  out.put(static_cast<u64>(s.root->inode));
  out.put(s.nodes.next());
  const auto nodes = s.nodes.all();
  const auto paths = paths_of(s, nodes);
  std::unordered_map<u64, const std::string*> path_of;
  for (const auto& [path, id] : paths) path_of[id] = &path;
  std::vector<const NodeTable::Entry*> order;
  for (const auto& entry : nodes) order.push_back(&entry);
  const auto length = [&](const NodeTable::Entry* entry) {
    const auto found = path_of.find(entry->node->id);
    return found == path_of.end() ? 0 : found->second->size();
  };
  std::ranges::stable_sort(order, {}, length);
  out.put(static_cast<u64>(order.size()));
  for (const NodeTable::Entry* entry : order) {
    const Node& node = *entry->node;
    u64 above = 0;
    std::string path;
    if (const auto found = path_of.find(node.id); found != path_of.end()) {
      path = *found->second;
      if (const auto slash = path.rfind('/'); slash != std::string::npos) {
        if (const auto folder = paths.find(path.substr(0, slash)); folder != paths.end()) {
          above = folder->second;
          path.erase(0, slash + 1);
        }
      }
    }
    out.put(node.id);
    out.put(entry->lookups);
    out.put(static_cast<u32>(node.type));
    out.put(static_cast<u64>(node.inode));
    out.put(static_cast<u64>(node.device));
    out.put(above);
    out.put_string(path);
  }
  out.put(s.handles.next());
  auto handles = s.handles.all();
  // A client that forgets a node keeps no file of it open; one that does anyway loses that file here.
  std::erase_if(handles, [&](const auto& item) { return s.nodes.find(item.second->node->id) != item.second->node; });
  out.put(static_cast<u64>(handles.size()));
  for (const auto& [id, handle] : handles) {
    out.put(id);
    out.put(handle->node->id);
    out.put(static_cast<u32>(handle->flags & kept_flags));
    out.put(handle->directory);
  }
}

void Server::restore(state::Reader& in) {
  reset();
  Session& s = *session_;
  s.agreed = in.get<u64>();
  s.begun = in.get<bool>();
  const u64 root_device = in.get<u64>(), root_inode = in.get<u64>();
  const bool same_folder = root_device == s.root->device && root_inode == s.root->inode;
  s.nodes.set_next(std::max<u64>(in.get<u64>(), FUSE_ROOT_ID + 1));
  const u64 nodes = in.get<u64>();
  if (nodes > most_nodes) return in.reject("too many nodes of a file system");
  for (u64 i = 0; i < nodes; ++i) {
    auto node = std::make_shared<Node>();
    node->id = in.get<u64>();
    const u64 lookups = in.get<u64>();
    node->type = in.get<u32>() & S_IFMT;
    node->inode = in.get<u64>();
    node->device = in.get<u64>();
    const u64 above = in.get<u64>();
    const std::string path = in.get_string();
    if (!path.empty() && !good_path(path)) return in.reject("a path that leads elsewhere");
    const NodePtr folder = above == 0 ? s.root : s.nodes.find(above);
    if (folder == nullptr) return in.reject("a node below no node");
    if (!path.empty() && folder->fd && (node->place = s.budget.take())) {
      Opened found = HostFile::look_up_path(folder->fd.get(), path);
      struct stat now{};
      const bool good = found.error == 0 && ::fstat(found.fd.get(), &now) == 0 && (now.st_mode & S_IFMT) == node->type &&
                        (!same_folder || (now.st_ino == node->inode && now.st_dev == node->device));
      if (good) {
        node->fd = std::move(found.fd);
        node->inode = now.st_ino;
        node->device = now.st_dev;
      }
    }
    if (!node->fd) ++lost_;
    if (!s.nodes.put(std::move(node), lookups)) return in.reject("a node that cannot be");
  }
  s.handles.set_next(std::max<u64>(in.get<u64>(), 1));
  const u64 handles = in.get<u64>();
  if (handles > most_handles) return in.reject("too many open files");
  for (u64 i = 0; i < handles; ++i) {
    const u64 id = in.get<u64>();
    auto handle = std::make_shared<Handle>();
    handle->node = s.nodes.find(in.get<u64>());
    handle->flags = static_cast<int>(in.get<u32>()) & kept_flags;
    handle->directory = in.get<bool>();
    if (handle->node == nullptr) return in.reject("an open file of no node");
    if (s.read_only && (handle->flags & O_ACCMODE) != O_RDONLY) return in.reject("a file open for writing on a read-only share");
    const mode_t type = handle->node->type;
    if (handle->directory ? !S_ISDIR(type) : !S_ISREG(type)) return in.reject("an open file of the wrong kind");
    if (handle->node->fd && (handle->place = s.budget.take())) {
      handle->fd = s.files.open_again(handle->node->fd.get(), handle->directory ? O_RDONLY | O_DIRECTORY : handle->flags).fd;
    }
    if (!handle->fd) ++lost_;
    if (!s.handles.put(id, std::move(handle))) return in.reject("an open file that cannot be");
  }
}

}  // namespace nagaya::fuse
