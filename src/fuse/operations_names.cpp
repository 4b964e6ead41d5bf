// Operations on names. Who may do what is the client kernel's to check (default_permissions); what leads out of the folder is ours.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "fuse/session.hpp"

namespace nagaya::fuse {
namespace {

bool has_default_acl(int folder) {
  return ::getxattr(HostFile::path_of(folder).c_str(), "system.posix_acl_default", nullptr, 0) > 0;
}

/// Gives a new inode the owner and mode that the client wants. `fd` is O_PATH or open.
int give_owner_and_mode(const Session& session, const Node& folder, const fuse_in_header& head, int fd, mode_t mode) {
  struct stat parent{}, made{};
  if (::fstat(folder.fd.get(), &parent) != 0 || ::fstat(fd, &made) != 0) return errno;
  mode &= 07777;
  if (session.privileged) {
    // In a set-group-id folder the group is the folder's; whoever is not in it cannot make set-group-id programs.
    const bool group_of_folder = (parent.st_mode & S_ISGID) != 0;
    if (group_of_folder && S_ISREG(made.st_mode) && (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
        head.uid != 0 && head.gid != parent.st_gid) {
      mode &= static_cast<mode_t>(~S_ISGID);
    }
    const gid_t group = group_of_folder ? parent.st_gid : head.gid;
    if ((made.st_uid != head.uid || made.st_gid != group) && ::fchownat(fd, "", head.uid, group, AT_EMPTY_PATH) != 0) return errno;
  }
  if (S_ISLNK(made.st_mode)) return 0;
  if (S_ISDIR(made.st_mode) && parent.st_mode & S_ISGID) mode |= S_ISGID;
  // Our own umask may have taken bits, and a change of owner takes set-user-id. Where the folder has a default access
  // list, the host has made the mode from that.
  if (::fstat(fd, &made) != 0) return errno;
  if ((made.st_mode & 07777) == mode || has_default_acl(folder.fd.get())) return 0;
  return ::chmod(HostFile::path_of(fd).c_str(), mode) == 0 ? 0 : errno;
}

/// Looks up what was just made, gives it its owner, and replies; takes it away again when that fails.
int reply_new(Session& session, Call& call, const Node& folder, const std::string& name, mode_t mode, int remove_flags) {
  fuse_entry_out entry{};
  Opened made = HostFile::look_up(folder.fd.get(), name);
  int error = made.error;
  if (error == 0) error = give_owner_and_mode(session, folder, call.head, made.fd.get(), mode);
  if (error == 0) error = session.enter(std::move(made.fd), entry);
  if (error != 0) {
    (void)::unlinkat(folder.fd.get(), name.c_str(), remove_flags);
    return error;
  }
  call.put(entry);
  return 0;
}

int rename_entries(Session& session, Call& call, u64 new_folder_id, unsigned flags) {
  std::string from, to;
  NodePtr folder, new_folder;
  if (const int error = call.take_name(from)) return error;
  if (const int error = call.take_name(to)) return error;
  if (const int error = session.folder(call.head.nodeid, folder)) return error;
  if (const int error = session.folder(new_folder_id, new_folder)) return error;
  return ::renameat2(folder->fd.get(), from.c_str(), new_folder->fd.get(), to.c_str(), flags) == 0 ? 0 : errno;
}

int remove_entry(Session& session, Call& call, int flags) {
  std::string name;
  NodePtr folder;
  if (const int error = call.take_name(name)) return error;
  if (const int error = session.folder(call.head.nodeid, folder)) return error;
  return ::unlinkat(folder->fd.get(), name.c_str(), flags) == 0 ? 0 : errno;
}

}  // namespace

int lookup(Session& session, Call& call) {
  std::string name;
  NodePtr folder;
  if (const int error = call.take_name(name)) return error;
  if (const int error = session.folder(call.head.nodeid, folder)) return error;
  fuse_entry_out entry{};
  if (const int error = session.enter(*folder, name, entry)) return error;
  call.put(entry);
  return 0;
}

int make_node(Session& session, Call& call) {
  fuse_mknod_in args{};
  std::string name;
  NodePtr folder;
  if (!call.take(args)) return EINVAL;
  if (const int error = call.take_name(name)) return error;
  if (const int error = session.folder(call.head.nodeid, folder)) return error;
  const mode_t type = args.mode & S_IFMT;
  if (type == S_IFREG) {
    const Opened made = HostFile::create_file(folder->fd.get(), name, O_WRONLY, args.mode & 0777);
    if (made.error != 0) return made.error;
  } else if (type == S_IFIFO || type == S_IFSOCK || (type == S_IFCHR && args.rdev == 0)) {
    // The last one is a whiteout of overlay file systems. Other device nodes would be doors into the host.
    if (::mknodat(folder->fd.get(), name.c_str(), type | (args.mode & 0777), 0) != 0) return errno;
  } else {
    return EPERM;
  }
  return reply_new(session, call, *folder, name, args.mode, 0);
}

int make_folder(Session& session, Call& call) {
  fuse_mkdir_in args{};
  std::string name;
  NodePtr folder;
  if (!call.take(args)) return EINVAL;
  if (const int error = call.take_name(name)) return error;
  if (const int error = session.folder(call.head.nodeid, folder)) return error;
  if (::mkdirat(folder->fd.get(), name.c_str(), args.mode & 0777) != 0) return errno;
  return reply_new(session, call, *folder, name, args.mode, AT_REMOVEDIR);
}

int make_symlink(Session& session, Call& call) {
  std::string name, target;
  NodePtr folder;
  if (const int error = call.take_name(name)) return error;
  if (const int error = call.take_string(target, longest_target)) return error;
  if (const int error = session.folder(call.head.nodeid, folder)) return error;
  if (::symlinkat(target.c_str(), folder->fd.get(), name.c_str()) != 0) return errno;
  return reply_new(session, call, *folder, name, 0777, 0);
}

int make_link(Session& session, Call& call) {
  fuse_link_in args{};
  std::string name;
  NodePtr folder, old;
  if (!call.take(args)) return EINVAL;
  if (const int error = call.take_name(name)) return error;
  if (const int error = session.folder(call.head.nodeid, folder)) return error;
  if (const int error = session.node(args.oldnodeid, old)) return error;
  if (::linkat(AT_FDCWD, HostFile::path_of(old->fd.get()).c_str(), folder->fd.get(), name.c_str(), AT_SYMLINK_FOLLOW) != 0) return errno;
  fuse_entry_out entry{};
  if (const int error = session.enter(*folder, name, entry)) return error;
  call.put(entry);
  return 0;
}

int remove_file(Session& session, Call& call) { return remove_entry(session, call, 0); }
int remove_folder(Session& session, Call& call) { return remove_entry(session, call, AT_REMOVEDIR); }

int rename_plain(Session& session, Call& call) {
  fuse_rename_in args{};
  if (!call.take(args)) return EINVAL;
  return rename_entries(session, call, args.newdir, 0);
}

int rename_flags(Session& session, Call& call) {
  fuse_rename2_in args{};
  if (!call.take(args)) return EINVAL;
  if (args.flags & ~u32{RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT}) return EINVAL;
  return rename_entries(session, call, args.newdir, args.flags);
}

int create(Session& session, Call& call) {
  fuse_create_in args{};
  std::string name;
  NodePtr folder;
  if (!call.take(args)) return EINVAL;
  if (const int error = call.take_name(name)) return error;
  if (const int error = session.folder(call.head.nodeid, folder)) return error;
  const int flags = static_cast<int>(args.flags) & (O_ACCMODE | O_SYNC | O_DSYNC);
  fuse_entry_out entry{};
  fuse_open_out open{};
  Opened made = HostFile::create_file(folder->fd.get(), name, flags, args.mode & 0777);
  if (made.error == EEXIST && !(args.flags & O_EXCL)) {
    // Somebody on the host was quicker: it is opened as any other file, if it is one.
    if (const int error = session.enter(*folder, name, entry)) return error;
    NodePtr node;
    int error = session.node(entry.nodeid, node);
    if (error == 0 && !S_ISREG(node->type)) error = S_ISDIR(node->type) ? EISDIR : EACCES;
    if (error == 0) error = session.open(node, flags | (static_cast<int>(args.flags) & O_TRUNC), false, open.fh);
    if (error != 0) {
      session.nodes.forget(entry.nodeid, 1);
      return error;
    }
  } else {
    if (made.error != 0) return made.error;
    // The inode itself, whatever its name leads to by now.
    Opened path = session.files.open_again(made.fd.get(), O_PATH);
    int error = path.error;
    if (error == 0) error = give_owner_and_mode(session, *folder, call.head, path.fd.get(), args.mode);
    auto handle = std::make_shared<Handle>();
    handle->place = session.budget.take();
    if (error == 0 && !handle->place) error = ENFILE;
    if (error == 0) error = session.enter(std::move(path.fd), entry);
    if (error == 0 && (handle->node = session.nodes.find(entry.nodeid)) == nullptr) error = EIO;
    if (error != 0) {
      (void)::unlinkat(folder->fd.get(), name.c_str(), 0);
      return error;
    }
    handle->fd = std::move(made.fd);
    handle->flags = flags;
    open.fh = session.handles.add(std::move(handle));
  }
  call.put(entry);
  call.put(open);
  return 0;
}

}  // namespace nagaya::fuse
