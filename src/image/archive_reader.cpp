#include "image/archive_reader.hpp"

#include <fmt/core.h>

namespace nagaya::image {
namespace {

constexpr std::size_t block = 256 * KiB;

std::string text(const char* value) { return value != nullptr ? value : ""; }

}  // namespace

ArchiveReader::ArchiveReader(const std::string& path) : path_(path), archive_(archive_read_new()) {
  archive_read_support_format_tar(archive_);
  archive_read_support_filter_gzip(archive_);
  archive_read_support_filter_zstd(archive_);
}

Result<> ArchiveReader::open() {
  if (archive_read_open_filename(archive_, path_.c_str(), block) != ARCHIVE_OK) return failed();
  return {};
}

Result<archive_entry*> ArchiveReader::next() {
  archive_entry* entry = nullptr;
  const int got = archive_read_next_header(archive_, &entry);
  if (got == ARCHIVE_EOF) return nullptr;
  // A warning is about a name that the locale cannot spell, or the like: bytes are taken as they are.
  if (got != ARCHIVE_OK && got != ARCHIVE_WARN) return failed();
  ++index_;
  return entry;
}

Result<> ArchiveReader::content(const std::function<Result<>(u64, std::span<const u8>)>& sink) {
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

std::unexpected<Error> ArchiveReader::failed() const {
  const char* why = archive_error_string(archive_);
  return fail(fmt::format("cannot read archive '{}'", path_), why != nullptr ? why : "it is damaged");
}

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

bool whiteout_of(std::string_view path, std::string& folder, std::string& name) {
  while (path.ends_with('/')) path.remove_suffix(1);
  const std::size_t slash = path.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? path : path.substr(slash + 1);
  if (!last.starts_with(".wh.")) return false;
  folder = slash == std::string_view::npos ? "" : std::string(path.substr(0, slash + 1));
  name = last.substr(4);
  return true;
}

}  // namespace nagaya::image
