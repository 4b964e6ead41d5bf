#include "image/layers.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <unordered_map>

namespace nagaya::image {
namespace {

constexpr std::size_t block = 256 * KiB;

/// An open archive that gives its entries in order.
class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), archive_(archive_read_new()) {
    archive_read_support_format_tar(archive_);
    archive_read_support_filter_gzip(archive_);
    archive_read_support_filter_zstd(archive_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { archive_read_free(archive_); }

  Result<> open() {
    if (archive_read_open_filename(archive_, path_.c_str(), block) != ARCHIVE_OK) return failed();
    return {};
  }
  /// Null at the end.
  Result<archive_entry*> next() {
    archive_entry* entry = nullptr;
    const int got = archive_read_next_header(archive_, &entry);
    if (got == ARCHIVE_EOF) return nullptr;
    // A warning is about a name that the locale cannot spell, or the like: bytes are taken as they are.
    if (got != ARCHIVE_OK && got != ARCHIVE_WARN) return failed();
    ++index_;
    return entry;
  }
  /// Number of the entry that next() gave, from 1.
  [[nodiscard]] u64 index() const { return index_; }
  Result<> content(const std::function<Result<>(u64, std::span<const u8>)>& sink) {
    for (;;) {
      const void* data = nullptr;
      std::size_t size = 0;
      la_int64_t offset = 0;
      const int got = archive_read_data_block(archive_, &data, &size, &offset);
      if (got == ARCHIVE_EOF) return {};
      if (got != ARCHIVE_OK || offset < 0) return failed();
      TRY(sink(static_cast<u64>(offset), std::span(static_cast<const u8*>(data), size)));
    }
  }
  [[nodiscard]] std::unexpected<Error> failed() const {
    const char* why = archive_error_string(archive_);
    return fail(fmt::format("cannot read archive '{}'", path_), why != nullptr ? why : "it is damaged");
  }

 private:
  std::string path_;
  archive* archive_;
  u64 index_ = 0;
};

std::string text(const char* value) { return value != nullptr ? value : ""; }

Result<Node> node_of(archive_entry* entry) {
  Node node;
  switch (archive_entry_filetype(entry)) {
    case AE_IFDIR: node.type = NodeType::directory; break;
    case AE_IFREG: node.type = NodeType::file; break;
    case AE_IFLNK: node.type = NodeType::symlink; break;
    case AE_IFCHR: node.type = NodeType::char_device; break;
    case AE_IFBLK: node.type = NodeType::block_device; break;
    case AE_IFIFO: node.type = NodeType::fifo; break;
    case AE_IFSOCK: node.type = NodeType::socket; break;
    default: return fail("an entry", "of unknown kind");
  }
  node.mode = static_cast<u32>(archive_entry_perm(entry)) & 07777;
  const la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry), size = archive_entry_size(entry);
  if (uid < 0 || uid > 0xfffffffe || gid < 0 || gid > 0xfffffffe) return fail("an entry", "its owner is out of range");
  node.uid = static_cast<u32>(uid);
  node.gid = static_cast<u32>(gid);
  node.mtime = archive_entry_mtime(entry);
  if (node.type == NodeType::file) {
    if (size < 0) return fail("an entry", "its size is negative");
    node.size = static_cast<u64>(size);
  }
  if (node.type == NodeType::symlink) {
    node.target = text(archive_entry_symlink(entry));
    if (node.target.empty() || node.target.size() > 4095) return fail("an entry", "a symbolic link without target, or longer than 4095 bytes");
  }
  node.major = static_cast<u32>(archive_entry_rdevmajor(entry));
  node.minor = static_cast<u32>(archive_entry_rdevminor(entry));
  if (node.major >= 1u << 12 || node.minor >= 1u << 20) return fail("an entry", "a device's numbers are out of range");
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t length = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &length) == ARCHIVE_OK) {
    node.xattrs.emplace_back(text(name), std::string(static_cast<const char*>(value), length));
  }
  return node;
}

/// "a/b/.wh.c" is folder "a/b/", name "c". A name without the mark gives false.
bool whiteout_of(std::string_view path, std::string& folder, std::string& name) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (!last.starts_with(".wh.")) return false;
  folder = slash == std::string_view::npos ? "" : std::string(path.substr(0, slash + 1));
  name = last.substr(4);
  return true;
}

Result<> apply(Tree& tree, archive_entry* entry, u64 index, bool whiteouts) {
  const std::string path = text(archive_entry_pathname(entry));
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
    Reader reader(file);
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
    Reader reader(layers.files[i]);
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
