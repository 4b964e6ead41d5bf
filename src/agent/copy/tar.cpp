#include "agent/copy/tar.hpp"

#include <archive.h>
#include <archive_entry.h>

#include <cerrno>
#include <string_view>

namespace nagaya::agent {
namespace {

constexpr std::size_t read_block = 64 * KiB;

std::unexpected<Error> failed(archive* a, std::string what) {
  const char* why = ::archive_error_string(a);
  return fail(std::move(what), why != nullptr ? why : "");
}

Result<> no_memory() { return fail_errno("tar stream", ENOMEM); }

/// "./a/b/" → "a/b".
std::string plain(std::string_view path) {
  while (path.starts_with("./")) path.remove_prefix(2);
  while (path.ends_with('/') && path.size() > 1) path.remove_suffix(1);
  return std::string(path == "." ? "" : path);
}

struct FreeReader {
  void operator()(archive* a) const { ::archive_read_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const { ::archive_entry_free(e); }
};

/// Nothing: it is left out, and why.
Result<Entry> entry_of(archive_entry* from, const char*& why) {
  Entry entry{.mode = static_cast<u32>(::archive_entry_perm(from) & 07777),
              .user = static_cast<u32>(::archive_entry_uid(from)),
              .group = static_cast<u32>(::archive_entry_gid(from)),
              .seconds = ::archive_entry_mtime(from),
              .nanoseconds = static_cast<u32>(::archive_entry_mtime_nsec(from))};
  const char* path = ::archive_entry_pathname(from);
  if (path == nullptr || !safe_path(entry.path = plain(path))) {
    return fail("tar stream", std::string("the path '") + (path != nullptr ? path : "") + "' leads elsewhere", "nothing outside the place is written");
  }
  if (::archive_entry_hardlink(from) != nullptr) {
    why = "a hard link";
    return entry;
  }
  switch (::archive_entry_filetype(from)) {
    case AE_IFREG:
      entry.type = Entry::Type::file;
      entry.size = ::archive_entry_size(from) > 0 ? static_cast<u64>(::archive_entry_size(from)) : 0;
      break;
    case AE_IFDIR: entry.type = Entry::Type::folder; break;
    case AE_IFLNK: {
      entry.type = Entry::Type::link;
      const char* target = ::archive_entry_symlink(from);
      entry.target = target != nullptr ? target : "";
      if (entry.target.empty()) why = "a link without a target";
      break;
    }
    default: why = "neither file, folder nor link";
  }
  return entry;
}

Result<> read_content(archive* in, const Entry& entry, const TreeSink& sink) {
  std::vector<u8> bytes(data_chunk);
  for (u64 left = entry.size; left != 0;) {
    const la_ssize_t n = ::archive_read_data(in, bytes.data(), std::min<u64>(left, bytes.size()));
    if (n <= 0) return failed(in, "tar stream, '" + entry.path + "'");
    TRY(sink(Kind::content, std::span(bytes).first(static_cast<std::size_t>(n))));
    left -= static_cast<u64>(n);
  }
  return {};
}

}  // namespace

void TarWriter::Free::operator()(archive* a) const { ::archive_write_free(a); }

Result<TarWriter> TarWriter::to(int fd) {
  TarWriter out;
  out.archive_.reset(::archive_write_new());
  archive* a = out.archive_.get();
  if (a == nullptr) return std::unexpected(no_memory().error());
  if (::archive_write_set_format_pax_restricted(a) != ARCHIVE_OK || ::archive_write_open_fd(a, fd) != ARCHIVE_OK) return failed(a, "cannot write a tar stream");
  return out;
}

Result<> TarWriter::begin(const Entry& entry) {
  const std::unique_ptr<archive_entry, FreeEntry> to(::archive_entry_new());
  if (!to) return no_memory();
  archive_entry* e = to.get();
  ::archive_entry_set_pathname(e, entry.path.empty() ? "." : entry.path.c_str());
  ::archive_entry_set_filetype(e, entry.type == Entry::Type::file ? AE_IFREG : entry.type == Entry::Type::folder ? AE_IFDIR : AE_IFLNK);
  ::archive_entry_set_perm(e, entry.mode);
  ::archive_entry_set_uid(e, entry.user);
  ::archive_entry_set_gid(e, entry.group);
  ::archive_entry_set_mtime(e, entry.seconds, static_cast<long>(entry.nanoseconds));
  ::archive_entry_set_size(e, entry.type == Entry::Type::file ? static_cast<la_int64_t>(entry.size) : 0);
  if (entry.type == Entry::Type::link) ::archive_entry_set_symlink(e, entry.target.c_str());
  if (::archive_write_header(archive_.get(), e) < ARCHIVE_WARN) return failed(archive_.get(), "cannot write a tar stream");
  return {};
}

Result<> TarWriter::content(std::span<const u8> bytes) {
  if (::archive_write_data(archive_.get(), bytes.data(), bytes.size()) != static_cast<la_ssize_t>(bytes.size())) {
    return failed(archive_.get(), "cannot write a tar stream");
  }
  return {};
}

Result<> TarWriter::finish() {
  if (::archive_write_close(archive_.get()) != ARCHIVE_OK) return failed(archive_.get(), "cannot write a tar stream");
  return {};
}

Result<> read_tar(int fd, const TreeSink& sink) {
  const std::unique_ptr<archive, FreeReader> reader(::archive_read_new());
  archive* in = reader.get();
  if (in == nullptr) return no_memory();
  if (::archive_read_support_format_tar(in) != ARCHIVE_OK || ::archive_read_support_filter_none(in) != ARCHIVE_OK ||
      ::archive_read_open_fd(in, fd, read_block) != ARCHIVE_OK) {
    return failed(in, "cannot read a tar stream");
  }
  archive_entry* at = nullptr;
  while (true) {
    const int result = ::archive_read_next_header(in, &at);
    if (result == ARCHIVE_EOF) return {};
    if (result < ARCHIVE_WARN) return failed(in, "cannot read a tar stream");
    const char* why = nullptr;
    TRY_ASSIGN(const Entry entry, entry_of(at, why));
    if (why != nullptr) {
      TRY(sink(Kind::warning, encode_text("'" + entry.path + "' is left out: " + why)));
      continue;
    }
    TRY(sink(Kind::entry, encode(entry)));
    if (entry.type == Entry::Type::file) TRY(read_content(in, entry, sink));
  }
}

}  // namespace nagaya::agent
