#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <unordered_set>

#include "host/fd.hpp"
#include "migrate/tree.hpp"

namespace nagaya::migrate {
namespace {

constexpr int depth_limit = 512;

struct FreeWriter {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

/// libarchive's bytes become frames.
struct Sink {
  Stream* stream;
  std::optional<Error> error;
};

la_ssize_t write_frames(archive* a, void* context, const void* data, std::size_t size) {
  auto* sink = static_cast<Sink*>(context);
  const auto* bytes = static_cast<const u8*>(data);
  for (std::size_t at = 0; at < size;) {
    const std::size_t part = std::min<std::size_t>(size - at, frame_limit);
    if (auto done = sink->stream->send(Kind::bytes, std::span(bytes + at, part)); !done) {
      sink->error = done.error();
      archive_set_error(a, EPIPE, "%s", "the stream is closed");
      return -1;
    }
    at += part;
  }
  return static_cast<la_ssize_t>(size);
}

void add_attributes(archive_entry* entry, int fd) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  std::string names(65536, '\0');
  const ssize_t size = ::listxattr(path.c_str(), names.data(), names.size());
  for (ssize_t at = 0; at < size;) {
    const char* name = names.c_str() + at;
    at += static_cast<ssize_t>(std::char_traits<char>::length(name)) + 1;
    std::string value(65536, '\0');
    const ssize_t length = ::getxattr(path.c_str(), name, value.data(), value.size());
    if (length >= 0) archive_entry_xattr_add_entry(entry, name, value.data(), static_cast<std::size_t>(length));
  }
}

}  // namespace

/// One walk over the tree.
class Packer {
 public:
  Packer(TreeSender& sender, Stream& stream) : sender_(sender), sink_{&stream, {}}, archive_(archive_write_new()) {}

  Result<> run() {
    archive_write_set_format_pax(archive_.get());
    archive_write_set_bytes_in_last_block(archive_.get(), 1);
    if (archive_write_open(archive_.get(), &sink_, nullptr, write_frames, nullptr) != ARCHIVE_OK) return broken();
    TRY_ASSIGN(const host::Fd root, host::Fd::open(sender_.folder_, O_RDONLY | O_DIRECTORY));
    TRY(entry(root.get(), "."));
    TRY(folder(root.get(), "", 0));
    if (archive_write_close(archive_.get()) != ARCHIVE_OK) return broken();
    return {};
  }

  /// Names that were sent before and are gone.
  [[nodiscard]] std::vector<std::string> removed() const {
    std::vector<std::string> out;
    for (const auto& [name, mark] : sender_.sent_) {
      if (!seen_.contains(name)) out.push_back(name);
    }
    return out;
  }

 private:
  std::unexpected<Error> broken() {
    if (sink_.error) return std::unexpected(std::move(*sink_.error));
    const char* text = archive_error_string(archive_.get());
    return fail("cannot pack '" + sender_.folder_ + "'", text != nullptr ? text : "");
  }

  Result<> folder(int fd, const std::string& prefix, int depth) {
    if (depth > depth_limit) return fail("cannot pack '" + sender_.folder_ + "'", "folders are nested too deeply");
    const int copy = ::openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* list = copy >= 0 ? ::fdopendir(copy) : nullptr;
    if (list == nullptr) return fail_errno("cannot list '" + prefix + "'");
    std::vector<std::string> names;
    while (const dirent* item = ::readdir(list)) {
      if (std::string_view(item->d_name) != "." && std::string_view(item->d_name) != "..") names.emplace_back(item->d_name);
    }
    ::closedir(list);
    for (const std::string& name : names) {
      // Without O_NONBLOCK a pipe would wait for its other end; O_PATH opens nothing, links included.
      const host::Fd item(::openat(fd, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!item) continue;  // gone meanwhile
      const std::string path = prefix + name;
      TRY(entry(item.get(), path));
      struct stat facts {};
      if (::fstat(item.get(), &facts) != 0 || !S_ISDIR(facts.st_mode)) continue;
      const host::Fd inner(::openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (inner) TRY(folder(inner.get(), path + "/", depth + 1));
    }
    return {};
  }

  Result<> entry(int fd, const std::string& path) {
    struct stat facts {};
    if (::fstat(fd, &facts) != 0) return fail_errno("cannot look at '" + path + "'");
    if (S_ISSOCK(facts.st_mode)) return {};  // restored by who listened there
    seen_.insert(path);
    const TreeSender::Mark mark{facts.st_ctim.tv_sec, facts.st_ctim.tv_nsec, facts.st_ino};
    const auto known = sender_.sent_.find(path);
    if (known != sender_.sent_.end() && known->second == mark) return {};
    const std::unique_ptr<archive_entry, FreeEntry> head(archive_entry_new());
    archive_entry_set_pathname(head.get(), path.c_str());
    archive_entry_copy_stat(head.get(), &facts);
    if (S_ISLNK(facts.st_mode)) {
      std::string target(65536, '\0');
      const ssize_t length = ::readlinkat(fd, "", target.data(), target.size());
      if (length < 0) return fail_errno("cannot read link '" + path + "'");
      target.resize(static_cast<std::size_t>(length));
      archive_entry_set_symlink(head.get(), target.c_str());
    } else {
      add_attributes(head.get(), fd);
    }
    if (S_ISREG(facts.st_mode) && facts.st_nlink > 1) {
      const auto [first, fresh] = sender_.links_.try_emplace(facts.st_ino, path);
      if (!fresh && first->second != path && seen_.contains(first->second)) {
        archive_entry_set_hardlink(head.get(), first->second.c_str());
        archive_entry_set_size(head.get(), 0);
        if (archive_write_header(archive_.get(), head.get()) < ARCHIVE_WARN) return broken();
        sender_.sent_[path] = mark;
        return {};
      }
      first->second = path;
    }
    if (archive_write_header(archive_.get(), head.get()) < ARCHIVE_WARN) return broken();
    if (S_ISREG(facts.st_mode)) TRY(content(fd, static_cast<u64>(facts.st_size)));
    sender_.sent_[path] = mark;
    return {};
  }

  /// As many bytes as the header says: a file that shrinks is filled up with zeros, its mark makes sure that it comes again.
  Result<> content(int fd, u64 size) {
    const host::Fd file(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return fail_errno("cannot read a file of '" + sender_.folder_ + "'");
    std::vector<u8> buffer(256 * 1024);
    while (size > 0) {
      const std::size_t want = static_cast<std::size_t>(std::min<u64>(buffer.size(), size));
      TRY_ASSIGN(const std::size_t got, host::read_up_to(file.get(), std::span(buffer).first(want)));
      std::fill(buffer.begin() + static_cast<long>(got), buffer.begin() + static_cast<long>(want), u8{0});
      if (archive_write_data(archive_.get(), buffer.data(), want) < 0) return broken();
      size -= want;
    }
    return {};
  }

  TreeSender& sender_;
  Sink sink_;
  std::unique_ptr<archive, FreeWriter> archive_;
  std::unordered_set<std::string> seen_;
};

Result<> TreeSender::send(Stream& stream, u32 number) {
  std::vector<u8> head;
  put_u32(head, number);
  TRY(stream.send(Kind::tree_begin, head));
  Packer packer(*this, stream);
  TRY(packer.run());
  std::vector<u8> names;
  for (const std::string& name : packer.removed()) {
    if (names.size() + name.size() + 1 > frame_limit) {
      TRY(stream.send(Kind::tree_removed, names));
      names.clear();
    }
    put_text(names, name);
    names.push_back(0);
    sent_.erase(name);
  }
  if (!names.empty()) TRY(stream.send(Kind::tree_removed, names));
  return stream.send(Kind::tree_end);
}

}  // namespace nagaya::migrate
