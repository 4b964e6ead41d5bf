// Layers of an image, as an archive of unknown origin: whatever it says, the tree stays within its bounds, names are
// names, and content lies within the size that was counted. An input that begins with 'T' is a script of entries instead: an
// archive's checksums stop most changes to it.
#include <archive.h>
#include <archive_entry.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "fuzz.hpp"
#include "image/layers.hpp"

namespace {

using namespace nagaya;

struct Made {
  std::string path, content;
  mode_t type;
  std::string hard_link{};
};

std::vector<u8> archive_of(const std::vector<Made>& entries, bool gzip) {
  std::vector<u8> out(64 * KiB);
  std::size_t used = 0;
  archive* a = archive_write_new();
  archive_write_set_format_pax_restricted(a);
  if (gzip) archive_write_add_filter_gzip(a);
  archive_write_set_bytes_in_last_block(a, 1);
  if (archive_write_open_memory(a, out.data(), out.size(), &used) != ARCHIVE_OK) std::abort();
  for (const Made& one : entries) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, one.path.c_str());
    archive_entry_set_mode(entry, one.type | 0644);
    if (one.type == AE_IFLNK) archive_entry_set_symlink(entry, one.content.c_str());
    if (!one.hard_link.empty()) archive_entry_set_hardlink(entry, one.hard_link.c_str());
    archive_entry_set_size(entry, one.type == AE_IFREG && one.hard_link.empty() ? static_cast<la_int64_t>(one.content.size()) : 0);
    if (one.type == AE_IFREG) archive_entry_xattr_add_entry(entry, "user.a", "b", 1);
    archive_write_header(a, entry);
    if (one.type == AE_IFREG && one.hard_link.empty()) archive_write_data(a, one.content.data(), one.content.size());
    archive_entry_free(entry);
  }
  archive_write_close(a);
  archive_write_free(a);
  out.resize(used);
  return out;
}

constexpr image::Tree::Limits limits{.entries = 2000, .metadata = MiB, .content = 4 * MiB};

void check(const image::Tree& tree) {
  u64 nodes = 0;
  tree.walk([&](const std::string& at, const image::NodePtr& node) {
    // Each entry makes folders above it, at most as many as its path and the links on it name.
    if (++nodes > 2000 * limits.entries || node->size > limits.content) std::abort();
    const std::string name = at.substr(at.rfind('/') + 1);
    if (!at.empty() && (name.empty() || name == "." || name == ".." || name.size() > 255)) std::abort();
    if (node->type != image::NodeType::directory && !node->children.empty()) std::abort();
  });
}

/// One byte chooses what is done; then a path, and for links a target, each ended by a zero.
void run_script(std::string_view script) {
  image::Tree tree(limits);
  tree.next_layer();
  const auto word = [&] {
    const std::string_view out = script.substr(0, script.find('\0'));
    script.remove_prefix(std::min(out.size() + 1, script.size()));
    return out;
  };
  while (!script.empty()) {
    const char what = script.front();
    script.remove_prefix(1);
    const std::string_view path = word();
    switch (what) {
      case 'f': (void)tree.add(path, {.type = image::NodeType::file, .size = 100}); break;
      case 'd': (void)tree.add(path, {.type = image::NodeType::directory}); break;
      case 's': (void)tree.add(path, {.type = image::NodeType::symlink, .target = std::string(word())}); break;
      case 'h': (void)tree.link(path, word()); break;
      case 'w': (void)tree.whiteout(path); break;
      case 'o': (void)tree.opaque(path); break;
      case 'n': tree.next_layer(); break;
      default: (void)tree.find(path); break;
    }
  }
  check(tree);
}

}  // namespace

std::vector<std::vector<u8>> nagaya::fuzz::seeds() {
  std::vector<std::vector<u8>> out;
  for (const bool gzip : {false, true}) {
    out.push_back(archive_of({{"./", "", AE_IFDIR}, {"a/b", "content", AE_IFREG}, {"l", "a", AE_IFLNK}, {"l/c", "x", AE_IFREG}, {"h", "", AE_IFREG, "a/b"}}, gzip));
    out.push_back(archive_of({{"a/.wh.b", "", AE_IFREG}, {"a/.wh..wh..opq", "", AE_IFREG}, {"dev", "", AE_IFCHR}, {"up", "../..", AE_IFLNK}, {"up/x", "y", AE_IFREG}}, gzip));
  }
  using namespace std::string_literals;
  for (const std::string& script : {"Td/a\0fa/b\0sl\0a\0fl/c\0hh\0a/b\0n\0wa/b\0oa\0fa/d\0?l/c\0"s, "Tsa\0b/../..\0sb\0/a\0fa/x\0sc\0c/c\0fc/y\0n\0da\0wb\0hz\0../q\0"s}) {
    out.emplace_back(script.begin(), script.end());
  }
  return out;
}

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  if (size != 0 && data[0] == 'T') {
    run_script({reinterpret_cast<const char*>(data + 1), size - 1});
    return 0;
  }
  const int fd = ::memfd_create("layer", MFD_CLOEXEC);
  if (fd < 0 || ::write(fd, data, size) != static_cast<ssize_t>(size)) std::abort();
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  // The same archive over itself: whiteouts have something to hide.
  const image::Layers layers{.files = {path, path}};
  if (const auto tree = image::read_tree(layers, limits)) {
    check(*tree);
    (void)image::read_content(layers, *tree, [](const image::Node&) { return true; },
                              [](const image::NodePtr& node, u64 offset, std::span<const u8> bytes) -> Result<> {
                                if (offset > node->size || bytes.size() > node->size - offset) std::abort();
                                return {};
                              });
  }
  ::close(fd);
  return 0;
}
