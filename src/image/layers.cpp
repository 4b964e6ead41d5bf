#include "image/layers.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "image/archive_reader.hpp"

namespace nagaya::image {
namespace {

Result<> apply(Tree& tree, archive_entry* entry, u64 index, bool whiteouts) {
  const char* const given = archive_entry_pathname(entry);
  const std::string path = given != nullptr ? given : "";
  if (path.empty()) return fail("an entry", "it has no name");
  std::string folder, name;
  if (whiteouts && whiteout_of(path, folder, name)) {
    if (name == ".wh..opq") return tree.opaque(folder);
    if (name.starts_with(".wh.")) return {};  // other marks of aufs are no part of the image
    if (name.empty() || name == "." || name == "..") return fail(fmt::format("entry '{}'", path.substr(0, 200)), "it hides what cannot be hidden");
    return tree.whiteout(folder + name);
  }
  if (const char* target = archive_entry_hardlink(entry); target != nullptr) return tree.link(path, target);
  TRY_ASSIGN(Node node, node_of(entry));
  node.layer = tree.layer();
  node.entry = index;
  return tree.add(path, std::move(node));
}

}  // namespace

Result<Tree> read_tree(const Layers& layers, Tree::Limits limits) {
  Tree tree(limits);
  for (const std::string& file : layers.files) {
    tree.next_layer();
    ArchiveReader reader(file);
    TRY(reader.open());
    for (;;) {
      TRY_ASSIGN(archive_entry* entry, reader.next());
      if (entry == nullptr) break;
      if (auto done = apply(tree, entry, reader.index(), layers.whiteouts); !done) {
        return std::unexpected(std::move(done.error()).within(fmt::format("archive '{}'", file)));
      }
    }
  }
  return tree;
}

Result<> read_content(const Layers& layers, const Tree& tree, const std::function<bool(const Node&)>& wanted, const ContentSink& sink) {
  std::vector<std::unordered_map<u64, NodePtr>> nodes(layers.files.size());
  tree.walk([&](const std::string&, const NodePtr& node) {
    if (node->type == NodeType::file && node->size != 0 && wanted(*node)) nodes[node->layer - 1].emplace(node->entry, node);
  });
  for (std::size_t i = 0; i < layers.files.size(); ++i) {
    if (nodes[i].empty()) continue;
    ArchiveReader reader(layers.files[i]);
    TRY(reader.open());
    for (std::size_t left = nodes[i].size(); left != 0;) {
      TRY_ASSIGN(archive_entry* entry, reader.next());
      if (entry == nullptr) return fail(fmt::format("archive '{}'", layers.files[i]), "it changed while it was read");
      const auto it = nodes[i].find(reader.index());
      if (it == nodes[i].end()) continue;
      --left;
      TRY(reader.content([&](u64 offset, std::span<const u8> data) -> Result<> {
        // The header's word was taken for the limits: what comes after it is not.
        if (offset > it->second->size) return {};
        return sink(it->second, offset, data.first(std::min<u64>(data.size(), it->second->size - offset)));
      }));
    }
  }
  return {};
}

Result<std::map<std::string, std::vector<u8>>> read_files(const Layers& layers, const Tree& tree, const std::vector<std::string>& paths, u64 limit) {
  std::map<std::string, std::vector<u8>> out;
  std::map<const Node*, std::vector<std::string>> wanted;
  for (const std::string& path : paths) {
    const NodePtr node = tree.find(path);
    if (node == nullptr || node->type != NodeType::file) return fail(fmt::format("'/{}' in the image", path), "there is no such file");
    if (node->size > limit) return fail(fmt::format("'/{}' in the image", path), "it is too large");
    wanted[node.get()].push_back(path);
    out[path].resize(node->size);
  }
  TRY(read_content(layers, tree, [&](const Node& node) { return wanted.contains(&node); },
                   [&](const NodePtr& node, u64 offset, std::span<const u8> data) -> Result<> {
                     for (const std::string& path : wanted[node.get()]) std::ranges::copy(data, out[path].begin() + static_cast<std::ptrdiff_t>(offset));
                     return {};
                   }));
  return out;
}

}  // namespace nagaya::image
