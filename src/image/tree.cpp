#include "image/tree.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <deque>

namespace nagaya::image {
namespace {

constexpr std::size_t longest_name = 255, deepest = 512;
constexpr unsigned most_links = 40;   // as the kernel's limit on symbolic links in one path
constexpr unsigned most_steps = 2048;  // folders looked into for one path

std::string shown(std::string_view path) {
  std::string out;
  for (const char c : path.substr(0, 200)) out += static_cast<unsigned char>(c) < ' ' || c == 127 ? '?' : c;
  return out;
}

std::unexpected<Error> bad_path(std::string_view path, std::string why) {
  return fail(fmt::format("entry '{}'", shown(path)), std::move(why), "the archive is damaged or hostile");
}

/// Folders of a path, without '.' and empty ones. `..` stays.
std::deque<std::string> parts_of(std::string_view path) {
  std::deque<std::string> out;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") out.emplace_back(part);
    path.remove_prefix(slash == std::string_view::npos ? path.size() : slash + 1);
  }
  return out;
}

/// Removes what lower layers left below `folder`; what `layer` itself named stays.
void prune(Node& folder, u32 layer) {
  std::vector<Node*> left{&folder};
  while (!left.empty()) {
    Node& node = *left.back();
    left.pop_back();
    std::erase_if(node.children, [&](const auto& child) { return child.second.layer < layer; });
    for (auto& [name, child] : node.children) {
      if (child.node->type == NodeType::directory) left.push_back(child.node.get());
    }
  }
}

/// Follows `parts` from the root, links too, `..` no further than the root. Stops at what is not there: then `parts`
/// holds what is left. The trail has the folders from the root to the one reached; `touch`: the layer that names them.
Result<> follow(const NodePtr& root, std::deque<std::string>& parts, std::vector<NodePtr>& trail, std::string_view path, const u32* touch) {
  trail = {root};
  unsigned links = 0, steps = 0;
  while (!parts.empty()) {
    if (++steps > most_steps) return bad_path(path, "too many folders");
    if (parts.front() == "..") {
      if (trail.size() > 1) trail.pop_back();
      parts.pop_front();
      continue;
    }
    const auto it = trail.back()->children.find(parts.front());
    if (it == trail.back()->children.end()) return {};
    const NodePtr next = it->second.node;
    parts.pop_front();
    if (next->type == NodeType::directory) {
      if (touch != nullptr) it->second.layer = *touch;
      trail.push_back(next);
      if (trail.size() > deepest) return bad_path(path, "too many folders");
    } else if (next->type == NodeType::symlink) {
      if (++links > most_links) return bad_path(path, "too many symbolic links");
      std::deque<std::string> target = parts_of(next->target);
      if (next->target.starts_with('/')) trail.resize(1);
      parts.insert(parts.begin(), target.begin(), target.end());
    } else {
      return bad_path(path, "one of its folders is no folder");
    }
  }
  return {};
}

}  // namespace

Tree::Tree() : Tree(Limits{}) {}

Tree::Tree(Limits limits) : root_(std::make_shared<Node>()), limits_(limits) {}

Result<> Tree::count(u64 bytes, u64 content) {
  if (++entries_ > limits_.entries) return fail("the archive", fmt::format("more than {} entries", limits_.entries));
  if (bytes > limits_.metadata - metadata_) return fail("the archive", "names and attributes of its entries take too much memory");
  metadata_ += bytes;
  if (content > limits_.content - content_) return fail("the archive", fmt::format("more than {} GiB of content", limits_.content / GiB));
  content_ += content;
  return {};
}

Result<Tree::Place> Tree::locate(std::string_view path, Missing missing) {
  std::deque<std::string> parts = parts_of(path);
  if (parts.size() > deepest) return bad_path(path, "too many folders");
  for (const std::string& part : parts) {
    if (part == "..") return bad_path(path, "'..' in its path");
    if (part.size() > longest_name) return bad_path(path, "a name of more than 255 bytes");
  }
  if (parts.empty()) return Place{root_, {}};
  const std::string name = parts.back();
  parts.pop_back();
  std::vector<NodePtr> trail;
  TRY(follow(root_, parts, trail, path, missing == Missing::make ? &layer_ : nullptr));
  while (!parts.empty()) {
    if (missing == Missing::leave) return Place{nullptr, name};
    // Folders that no entry names. A link to nowhere may have brought more of them, `..` too.
    if (parts.front() == "..") {
      if (trail.size() > 1) trail.pop_back();
    } else {
      if (trail.size() > deepest) return bad_path(path, "too many folders");
      TRY(count(parts.front().size(), 0));
      Child& made = trail.back()->children[parts.front()];
      if (made.node == nullptr) made = {std::make_shared<Node>(), layer_};
      if (made.node->type != NodeType::directory) return bad_path(path, "one of its folders is no folder");
      trail.push_back(made.node);
    }
    parts.pop_front();
  }
  return Place{trail.back(), name};
}

Result<> Tree::add(std::string_view path, Node node) {
  u64 bytes = path.size() + node.target.size();
  for (const auto& [name, value] : node.xattrs) bytes += name.size() + value.size();
  TRY(count(bytes, node.size));
  TRY_ASSIGN(const Place place, locate(path, Missing::make));
  node.layer = layer_;
  NodePtr old = root_;
  if (!place.name.empty()) {
    Child& slot = place.folder->children[place.name];
    slot.layer = layer_;
    if (slot.node == nullptr || slot.node->type != NodeType::directory || node.type != NodeType::directory) {
      slot.node = std::make_shared<Node>(std::move(node));
      return {};
    }
    old = slot.node;
  }
  if (node.type != NodeType::directory) return bad_path(path, "the root must be a folder");
  node.children = std::move(old->children);
  *old = std::move(node);
  return {};
}

Result<> Tree::link(std::string_view path, std::string_view target) {
  TRY(count(path.size(), 0));
  TRY_ASSIGN(const Place from, locate(target, Missing::leave));
  NodePtr node;
  if (from.folder != nullptr && !from.name.empty()) {
    if (const auto it = from.folder->children.find(from.name); it != from.folder->children.end()) node = it->second.node;
  }
  if (node == nullptr) return bad_path(path, fmt::format("a hard link to '{}', which is not there", shown(target)));
  if (node->type == NodeType::directory) return bad_path(path, "a hard link to a folder");
  TRY_ASSIGN(const Place place, locate(path, Missing::make));
  if (place.name.empty()) return bad_path(path, "the root must be a folder");
  place.folder->children[place.name] = {node, layer_};
  return {};
}

Result<> Tree::whiteout(std::string_view path) {
  TRY(count(0, 0));
  TRY_ASSIGN(const Place place, locate(path, Missing::leave));
  if (place.name.empty()) return bad_path(path, "the root cannot be removed");
  if (place.folder == nullptr) return {};
  const auto it = place.folder->children.find(place.name);
  if (it == place.folder->children.end()) return {};
  if (it->second.layer < layer_) {
    place.folder->children.erase(it);
  } else if (it->second.node->type == NodeType::directory) {
    prune(*it->second.node, layer_);
  }
  return {};
}

Result<> Tree::opaque(std::string_view path) {
  TRY(count(0, 0));
  if (NodePtr node = find(path); node != nullptr && node->type == NodeType::directory) prune(*node, layer_);
  return {};
}

NodePtr Tree::find(std::string_view path) const {
  std::deque<std::string> parts = parts_of(path);
  if (parts.empty()) return root_;
  // What is no folder ends a path: look at the last part by hand, following links to it.
  for (unsigned links = 0; links <= most_links; ++links) {
    const std::string name = parts.back();
    parts.pop_back();
    std::vector<NodePtr> trail;
    std::deque<std::string> walked = parts;
    if (!follow(root_, walked, trail, path, nullptr) || !walked.empty()) return nullptr;
    if (name == "..") return trail.size() > 1 ? trail[trail.size() - 2] : root_;
    const auto it = trail.back()->children.find(name);
    if (it == trail.back()->children.end()) return nullptr;
    const Node& found = *it->second.node;
    if (found.type != NodeType::symlink) return it->second.node;
    const std::deque<std::string> target = parts_of(found.target);
    if (found.target.starts_with('/')) parts.clear();
    parts.insert(parts.end(), target.begin(), target.end());
    if (parts.empty()) return root_;
  }
  return nullptr;
}

void Tree::walk(const std::function<void(const std::string& path, const NodePtr& node)>& visit) const {
  // One path for all: hostile trees are as deep and wide at once as they may be.
  using Position = decltype(Node::children)::const_iterator;
  struct Level {
    NodePtr folder;
    Position next;
    std::size_t length;
  };
  std::string path;
  visit(path, root_);
  std::vector<Level> levels{{root_, root_->children.begin(), 0}};
  while (!levels.empty()) {
    Level& level = levels.back();
    path.resize(level.length);
    if (level.next == level.folder->children.end()) {
      levels.pop_back();
      continue;
    }
    const auto& [name, child] = *level.next++;
    if (!path.empty()) path += '/';
    path += name;
    const NodePtr node = child.node;
    visit(path, node);
    if (node->type == NodeType::directory) levels.push_back({node, node->children.begin(), path.size()});
  }
}

}  // namespace nagaya::image
