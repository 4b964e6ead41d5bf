// Operations on open files. Content passes straight between the client's memory and the host's page cache.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "fuse/session.hpp"

namespace nagaya::fuse {
namespace {

/// One copy request keeps a thread, and a pause, no longer than this takes.
constexpr u64 most_copied = 64 * MiB;
/// Files changed less than this ago may change again without a new time.
constexpr i64 clock_grain_ns = 50'000'000;

/// Of any time that a file can have: far ones wrap around.
i64 nanoseconds(const timespec& time) {
  return static_cast<i64>(static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec));
}

/// Whether what the client has of this file in its cache is still the file: nothing changed since it opened it last.
bool cache_good(Node& node, int fd) {
  struct stat now{};
  timespec clock{};
  if (::fstat(fd, &now) != 0 || ::clock_gettime(CLOCK_REALTIME_COARSE, &clock) != 0) return false;
  const Stamp stamp{nanoseconds(now.st_mtim), nanoseconds(now.st_ctim), now.st_size};
  // Only the host's kernel sets the time of change: it is near the present. One in the future settles nothing.
  const bool settled = static_cast<i64>(static_cast<u64>(nanoseconds(clock)) - static_cast<u64>(stamp.changed_ns)) > clock_grain_ns;
  std::lock_guard lock(node.mutex);
  const bool good = stamp == node.opened;
  node.opened = settled ? stamp : Stamp{};
  return good;
}

/// Whether the client shall look the file up again before it opens it: it would read new content up to an old size. Linux
/// does so, once, when an open answers ESTALE (Documentation/filesystems/path-lookup.rst, LOOKUP_REVAL). A file that
/// changes all the time is told at most once in the time that attributes are believed anyway.
bool look_again(Node& node) {
  struct stat now{};
  timespec clock{};
  const i64 told = node.told_size.load(std::memory_order_relaxed);
  if (told < 0 || ::fstat(node.fd.get(), &now) != 0 || now.st_size == told || ::clock_gettime(CLOCK_MONOTONIC, &clock) != 0) return false;
  std::lock_guard lock(node.mutex);
  const i64 time = nanoseconds(clock);
  if (node.revalidated_ns != 0 && time - node.revalidated_ns < static_cast<i64>(believe_seconds) * 1'000'000'000) return false;
  node.revalidated_ns = time;
  return true;
}

}  // namespace

int open_file(Session& session, Call& call) {
  fuse_open_in args{};
  NodePtr node;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.node(call.head.nodeid, node)) return error;
  // Special files are the client kernel's own; ours would wait, or act on the host.
  if (!S_ISREG(node->type)) return S_ISDIR(node->type) ? EISDIR : EACCES;
  const int mode = static_cast<int>(args.flags) & O_ACCMODE;
  if (session.read_only && (mode != O_RDONLY || args.flags & O_TRUNC)) return EROFS;
  if (args.flags & O_TRUNC) {
    node->told_size = 0;
  } else if (look_again(*node)) {
    return ESTALE;
  }
  fuse_open_out out{};
  // O_APPEND is applied write by write: the client's cache is written back through any handle there is.
  const int flags = static_cast<int>(args.flags) & (O_ACCMODE | O_SYNC | O_DSYNC | O_TRUNC);
  if (const int error = session.open(node, flags, false, out.fh)) return error;
  const HandlePtr handle = session.handles.find(out.fh, false);
  if (handle != nullptr) {
    if (args.flags & O_TRUNC && args.open_flags & FUSE_OPEN_KILL_SUIDGID) drop_privileges(handle->fd.get());
    if (cache_good(*node, handle->fd.get())) out.open_flags |= FOPEN_KEEP_CACHE;
  }
  call.put(out);
  return 0;
}

int read(Session& session, Call& call) {
  fuse_read_in args{};
  HandlePtr handle;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.handle(args.fh, false, handle)) return error;
  if (args.size > call.room || args.size > most_transfer || args.offset > static_cast<u64>(INT64_MAX)) return EINVAL;
  thread_local std::vector<iovec> to;
  to.clear();
  slice(call.out, reply_header_size, args.size, to);
  u64 done = 0;
  while (done < args.size) {
    const ssize_t count = ::preadv(handle->fd.get(), to.data(), static_cast<int>(to.size()), static_cast<off_t>(args.offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && done == 0) return errno;
    if (count <= 0) break;
    done += static_cast<u64>(count);
    to.clear();
    slice(call.out, reply_header_size + done, args.size - done, to);
  }
  call.direct = done;
  return 0;
}

int write(Session& session, Call& call) {
  fuse_write_in args{};
  HandlePtr handle;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.handle(args.fh, false, handle)) return error;
  const u64 payload = header_size + sizeof args;
  if (call.in_bytes - payload < args.size || args.size > most_transfer || args.offset > static_cast<u64>(INT64_MAX)) return EINVAL;
  if (args.write_flags & FUSE_WRITE_KILL_SUIDGID) drop_privileges(handle->fd.get());
  // What comes out of the client's cache has its place already, and its handle is a guess.
  const bool append = (args.flags & O_APPEND) && !(args.write_flags & FUSE_WRITE_CACHE);
  thread_local std::vector<iovec> from;
  u64 done = 0;
  while (done < args.size) {
    from.clear();
    slice(call.in, payload + done, args.size - done, from);
    const ssize_t count = ::pwritev2(handle->fd.get(), from.data(), static_cast<int>(from.size()),
                                     static_cast<off_t>(args.offset + done), append ? RWF_APPEND : 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && done == 0) return errno;
    if (count <= 0) break;
    done += static_cast<u64>(count);
  }
  handle->node->wrote(args.offset + done);
  fuse_write_out out{};
  out.size = static_cast<u32>(done);
  call.put(out);
  return 0;
}

int release(Session& session, Call& call) {
  fuse_release_in args{};
  if (!call.take(args)) return EINVAL;
  return session.handles.remove(args.fh, false) ? 0 : EBADF;
}

int flush(Session& session, Call& call) {
  fuse_flush_in args{};
  HandlePtr handle;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.handle(args.fh, false, handle)) return error;
  // What network file systems have to say at a close.
  const int copy = ::fcntl(handle->fd.get(), F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return errno;
  return ::close(copy) == 0 ? 0 : errno;
}

int sync_file(Session& session, Call& call) {
  fuse_fsync_in args{};
  HandlePtr handle;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.handle(args.fh, false, handle)) return error;
  const bool data_only = args.fsync_flags & FUSE_FSYNC_FDATASYNC;
  return (data_only ? ::fdatasync(handle->fd.get()) : ::fsync(handle->fd.get())) == 0 ? 0 : errno;
}

int allocate(Session& session, Call& call) {
  fuse_fallocate_in args{};
  HandlePtr handle;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.handle(args.fh, false, handle)) return error;
  constexpr u32 known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE;
  if (args.mode & ~known) return EOPNOTSUPP;
  if (args.offset > static_cast<u64>(INT64_MAX) || args.length > static_cast<u64>(INT64_MAX)) return EINVAL;
  if (::fallocate(handle->fd.get(), static_cast<int>(args.mode), static_cast<off_t>(args.offset), static_cast<off_t>(args.length)) != 0) return errno;
  if (!(args.mode & FALLOC_FL_KEEP_SIZE)) handle->node->wrote(args.offset + args.length);
  return 0;
}

int seek(Session& session, Call& call) {
  fuse_lseek_in args{};
  HandlePtr handle;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.handle(args.fh, false, handle)) return error;
  if (args.whence != SEEK_DATA && args.whence != SEEK_HOLE) return EINVAL;
  const off_t at = ::lseek(handle->fd.get(), static_cast<off_t>(args.offset), static_cast<int>(args.whence));
  if (at < 0) return errno;
  fuse_lseek_out out{};
  out.offset = static_cast<u64>(at);
  call.put(out);
  return 0;
}

int copy_range(Session& session, Call& call) {
  fuse_copy_file_range_in args{};
  HandlePtr from, to;
  if (!call.take(args)) return EINVAL;
  if (args.flags != 0 || args.off_in > static_cast<u64>(INT64_MAX) || args.off_out > static_cast<u64>(INT64_MAX)) return EINVAL;
  if (const int error = session.handle(args.fh_in, false, from)) return error;
  if (const int error = session.handle(args.fh_out, false, to)) return error;
  off64_t in = static_cast<off64_t>(args.off_in), out_offset = static_cast<off64_t>(args.off_out);
  const ssize_t count = ::copy_file_range(from->fd.get(), &in, to->fd.get(), &out_offset, std::min(args.len, most_copied), 0);
  if (count < 0) return errno;
  fuse_write_out out{};
  to->node->wrote(args.off_out + static_cast<u64>(count));
  out.size = static_cast<u32>(count);
  call.put(out);
  return 0;
}

int sync_all(Session& session, Call& call) {
  NodePtr node;
  if (const int error = session.folder(call.head.nodeid, node)) return error;
  const Opened opened = session.files.open_again(node->fd.get(), O_RDONLY | O_DIRECTORY);
  if (opened.error != 0) return opened.error;
  return ::syncfs(opened.fd.get()) == 0 ? 0 : errno;
}

}  // namespace nagaya::fuse
