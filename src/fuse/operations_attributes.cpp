// Operations on an inode's attributes.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "fuse/session.hpp"

namespace nagaya::fuse {
namespace {

int reply_attributes(Session& session, Call& call, Node& node) {
  struct stat attributes{};
  if (::fstat(node.fd.get(), &attributes) != 0) return errno;
  fuse_attr_out out{};
  out.attr_valid = believe_seconds;
  session.tell(node, out.attr, attributes);
  call.put(out);
  return 0;
}

int change_owner(const Node& node, const fuse_setattr_in& args) {
  const uid_t user = args.valid & FATTR_UID ? args.uid : static_cast<uid_t>(-1);
  const gid_t group = args.valid & FATTR_GID ? args.gid : static_cast<gid_t>(-1);
  return ::fchownat(node.fd.get(), "", user, group, AT_EMPTY_PATH) == 0 ? 0 : errno;
}

int change_size(Session& session, const Node& node, const fuse_setattr_in& args) {
  if (!S_ISREG(node.type)) return S_ISDIR(node.type) ? EISDIR : EINVAL;
  if (args.size > static_cast<u64>(INT64_MAX)) return EFBIG;
  HandlePtr handle;
  Opened opened;
  int fd = -1;
  if (args.valid & FATTR_FH) {
    if (const int error = session.handle(args.fh, false, handle)) return error;
    if (handle->node->id != node.id) return EBADF;
    fd = handle->fd.get();
  } else {
    opened = session.files.open_again(node.fd.get(), O_WRONLY);
    if (opened.error != 0) return opened.error;
    fd = opened.fd.get();
  }
  if (::ftruncate(fd, static_cast<off_t>(args.size)) != 0) return errno;
  if (args.valid & FATTR_KILL_SUIDGID) drop_privileges(fd);
  return 0;
}

int change_times(const Node& node, const fuse_setattr_in& args) {
  const auto time = [&](u32 given, u32 now, u64 seconds, u32 nanoseconds) {
    if (args.valid & now) return timespec{0, UTIME_NOW};
    if (!(args.valid & given)) return timespec{0, UTIME_OMIT};
    return timespec{static_cast<time_t>(seconds), static_cast<long>(nanoseconds)};
  };
  if ((args.valid & FATTR_ATIME && args.atimensec > 999'999'999) || (args.valid & FATTR_MTIME && args.mtimensec > 999'999'999)) {
    return EINVAL;
  }
  const std::array<timespec, 2> times = {time(FATTR_ATIME, FATTR_ATIME_NOW, args.atime, args.atimensec),
                                         time(FATTR_MTIME, FATTR_MTIME_NOW, args.mtime, args.mtimensec)};
  return ::utimensat(node.fd.get(), "", times.data(), AT_EMPTY_PATH) == 0 ? 0 : errno;
}

}  // namespace

void drop_privileges(int fd) {
  struct stat now{};
  if (::fstat(fd, &now) != 0) return;
  mode_t drop = now.st_mode & S_ISUID;
  // Without execute permission for the group the bit means something else (mandatory locks).
  if ((now.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) drop |= S_ISGID;
  if (drop != 0) (void)::fchmod(fd, now.st_mode & 07777 & ~drop);
}

int get_attributes(Session& session, Call& call) {
  NodePtr node;
  if (const int error = session.node(call.head.nodeid, node)) return error;
  return reply_attributes(session, call, *node);
}

int set_attributes(Session& session, Call& call) {
  fuse_setattr_in args{};
  NodePtr node;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.node(call.head.nodeid, node)) return error;
  // The owner first: changing it takes set-user-id, which the mode may ask for.
  if (args.valid & (FATTR_UID | FATTR_GID)) {
    if (const int error = change_owner(*node, args)) return error;
  }
  if (args.valid & FATTR_MODE) {
    if (S_ISLNK(node->type)) return EOPNOTSUPP;
    if (::chmod(HostFile::path_of(node->fd.get()).c_str(), args.mode & 07777) != 0) return errno;
  }
  if (args.valid & FATTR_SIZE) {
    if (const int error = change_size(session, *node, args)) return error;
  }
  if (args.valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)) {
    if (const int error = change_times(*node, args)) return error;
  }
  return reply_attributes(session, call, *node);
}

int read_link(Session& session, Call& call) {
  NodePtr node;
  if (const int error = session.node(call.head.nodeid, node)) return error;
  if (!S_ISLNK(node->type)) return EINVAL;
  std::array<char, longest_target + 1> target{};
  const ssize_t length = ::readlinkat(node->fd.get(), "", target.data(), target.size());
  if (length < 0) return errno;
  call.reply.insert(call.reply.end(), target.begin(), target.begin() + length);
  return 0;
}

int access(Session& session, Call& call) {
  fuse_access_in args{};
  NodePtr node;
  if (!call.take(args)) return EINVAL;
  if (args.mask & ~u32{R_OK | W_OK | X_OK}) return EINVAL;
  if (const int error = session.node(call.head.nodeid, node)) return error;
  if (args.mask & W_OK && session.read_only) return EROFS;
  return ::faccessat(node->fd.get(), "", static_cast<int>(args.mask), AT_EMPTY_PATH | AT_EACCESS) == 0 ? 0 : errno;
}

int file_system_info(Session& session, Call& call) {
  NodePtr node;
  if (const int error = session.node(call.head.nodeid, node)) return error;
  struct statvfs info{};
  if (::fstatvfs(node->fd.get(), &info) != 0) return errno;
  fuse_statfs_out out{};
  out.st.blocks = info.f_blocks;
  out.st.bfree = info.f_bfree;
  out.st.bavail = info.f_bavail;
  out.st.files = info.f_files;
  out.st.ffree = info.f_ffree;
  out.st.bsize = static_cast<u32>(info.f_bsize);
  out.st.namelen = static_cast<u32>(info.f_namemax);
  out.st.frsize = static_cast<u32>(info.f_frsize);
  call.put(out);
  return 0;
}

}  // namespace nagaya::fuse
