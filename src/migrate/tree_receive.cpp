#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <memory>

#include "base/scope.hpp"
#include "host/fd.hpp"
#include "migrate/tree.hpp"

namespace nagaya::migrate {
namespace {

struct FreeReader {
  void operator()(archive* a) const { archive_read_free(a); }
};
struct FreeWriter {
  void operator()(archive* a) const { archive_write_free(a); }
};

/// In the child, whose root is the folder: tar from `in` onto the disk. The error's text, or "".
std::string unpack(int in) {
  const std::unique_ptr<archive, FreeReader> from(archive_read_new());
  const std::unique_ptr<archive, FreeWriter> to(archive_write_disk_new());
  archive_read_support_format_tar(from.get());
  archive_write_disk_set_options(to.get(), ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR |
                                               ARCHIVE_EXTRACT_UNLINK | ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                                               ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
  const auto said = [](archive* a) { return std::string(archive_error_string(a) != nullptr ? archive_error_string(a) : "unknown error"); };
  if (archive_read_open_fd(from.get(), in, 65536) != ARCHIVE_OK) return said(from.get());
  archive_entry* entry = nullptr;
  for (;;) {
    const int next = archive_read_next_header(from.get(), &entry);
    if (next == ARCHIVE_EOF) break;
    if (next < ARCHIVE_WARN) return said(from.get());
    if (archive_write_header(to.get(), entry) < ARCHIVE_WARN) return said(to.get());
    const void* data = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    for (;;) {
      const int got = archive_read_data_block(from.get(), &data, &size, &offset);
      if (got == ARCHIVE_EOF) break;
      if (got < ARCHIVE_WARN) return said(from.get());
      if (archive_write_data_block(to.get(), data, size, offset) < ARCHIVE_WARN) return said(to.get());
    }
    if (archive_write_finish_entry(to.get()) < ARCHIVE_WARN) return said(to.get());
  }
  return archive_write_close(to.get()) < ARCHIVE_WARN ? said(to.get()) : "";
}

/// Runs `work` in a child with `folder` as its root; its text comes back as an error.
template <class Work>
Result<pid_t> in_folder(const std::string& folder, int error_end, Work work) {
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno("cannot make a process");
  if (pid != 0) return pid;
  std::string text = ::chdir(folder.c_str()) == 0 && ::chroot(".") == 0 ? work() : "cannot enter '" + folder + "'";
  if (!text.empty()) (void)host::write_all(error_end, text);
  ::_exit(0);
}

/// What the child had to say: "" is well.
Result<> settle(pid_t pid, const host::Fd& errors) {
  auto text = host::read_all(errors.get(), 65536, "an error");
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!text) return std::unexpected(std::move(text.error()));
  if (!text->empty()) return fail("cannot unpack the container's files", std::string(text->begin(), text->end()));
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return fail("cannot unpack the container's files", "the process that did it was killed");
  return {};
}

Result<> remove_names(const Frame& frame, const std::string& folder, u64& room) {
  std::vector<std::string> names;
  std::string_view text = frame.text();
  while (!text.empty()) {
    const std::size_t end = text.find('\0');
    if (end == text.npos || end == 0) return fail("the stream of the move is malformed", "a list of names is cut off");
    if (room-- == 0) return fail("the move was refused", "too many files went");
    names.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  TRY_ASSIGN(auto errors, host::Fd::pipe());
  TRY_ASSIGN(const pid_t pid, in_folder(folder, errors.second.get(), [&]() -> std::string {
    for (const std::string& name : names) {
      const std::filesystem::path path(name);
      bool plain = path.is_relative();
      for (const auto& part : path) plain = plain && part != "..";
      if (!plain || name == ".") return "a name leads out of the folder";
      // A folder on the way that became a link is not followed: what was below it has gone with it.
      std::filesystem::path parent;
      bool there = true;
      std::error_code ignored;
      for (const auto& part : path.parent_path()) {
        parent /= part;
        there = there && std::filesystem::symlink_status(parent, ignored).type() == std::filesystem::file_type::directory;
      }
      if (there) std::filesystem::remove_all(path, ignored);
    }
    return "";
  }));
  errors.second.reset();
  return settle(pid, errors.first);
}

}  // namespace

Result<> receive_tree(Stream& stream, const std::string& folder, const TreeLimits& limits) {
  TRY_ASSIGN(auto data, host::Fd::pipe());
  TRY_ASSIGN(auto errors, host::Fd::pipe());
  TRY_ASSIGN(const pid_t pid, in_folder(folder, errors.second.get(), [&] {
    data.second.reset();
    std::string text = unpack(data.first.get());
    // Whatever went wrong, the other end is not to write into a closed pipe.
    char rest[4096];
    while (::read(data.first.get(), rest, sizeof rest) > 0) {
    }
    return text;
  }));
  data.first.reset();
  errors.second.reset();
  u64 total = 0, room = limits.removed;
  std::vector<Frame> removals;
  const auto feed = [&]() -> Result<> {
    for (;;) {
      TRY_ASSIGN(Frame frame, stream.receive());
      if (frame.kind == Kind::tree_end) return {};
      if (frame.kind == Kind::tree_removed) {
        removals.push_back(std::move(frame));
        if (removals.size() > 64) return fail("the move was refused", "too many files went");
      } else if (frame.kind == Kind::bytes) {
        total += frame.payload.size();
        if (total > limits.bytes) return fail("the move was refused", "its files are larger than allowed");
        // One that fails to be written says why through the child's error; the rest of the tree is read all the same.
        (void)host::write_all(data.second.get(), std::span<const u8>(frame.payload));
      } else {
        return fail("the stream of the move is malformed", "something else came inside a tree");
      }
    }
  };
  auto fed = feed();
  data.second.reset();
  if (!fed) ::kill(pid, SIGKILL);
  auto settled = settle(pid, errors.first);
  TRY(std::move(fed));
  TRY(std::move(settled));
  for (const Frame& frame : removals) TRY(remove_names(frame, folder, room));
  return {};
}

}  // namespace nagaya::migrate
