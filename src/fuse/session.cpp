#include "fuse/session.hpp"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>

namespace nagaya::fuse {

int told(int error) {
  switch (error) {
    case EMFILE:
      return ENFILE;
    case ENOSYS:  // to the client this means: never ask for it again
      return EOPNOTSUPP;
    default:
      return error;
  }
}

u64 Session::client_inode(dev_t device, ino_t inode) {
  std::lock_guard lock(devices_mutex);
  auto found = std::ranges::find(devices, device);
  if (found == devices.end()) {
    if (devices.size() > 0xffff) return inode;
    devices.push_back(device);
    found = devices.end() - 1;
  }
  return inode ^ static_cast<u64>(found - devices.begin()) << 48;
}

void Session::fill(fuse_attr& out, const struct stat& from) {
  out = {};
  out.ino = client_inode(from.st_dev, from.st_ino);
  out.size = static_cast<u64>(from.st_size);
  out.blocks = static_cast<u64>(from.st_blocks);
  out.atime = static_cast<u64>(from.st_atim.tv_sec);
  out.mtime = static_cast<u64>(from.st_mtim.tv_sec);
  out.ctime = static_cast<u64>(from.st_ctim.tv_sec);
  out.atimensec = static_cast<u32>(from.st_atim.tv_nsec);
  out.mtimensec = static_cast<u32>(from.st_mtim.tv_nsec);
  out.ctimensec = static_cast<u32>(from.st_ctim.tv_nsec);
  out.mode = from.st_mode;
  out.nlink = static_cast<u32>(from.st_nlink);
  out.uid = from.st_uid;
  out.gid = from.st_gid;
  // The kernel's 32-bit form of a device number.
  const u32 major_number = major(from.st_rdev), minor_number = minor(from.st_rdev);
  out.rdev = (minor_number & 0xff) | major_number << 8 | (minor_number & ~0xffu) << 12;
  out.blksize = static_cast<u32>(from.st_blksize);
}

int Session::node(u64 id, NodePtr& out) const {
  out = nodes.find(id);
  if (out == nullptr) return ENOENT;
  return out->fd ? 0 : ESTALE;
}

int Session::folder(u64 id, NodePtr& out) const {
  if (const int error = node(id, out)) return error;
  return S_ISDIR(out->type) ? 0 : ENOTDIR;
}

int Session::handle(u64 id, bool directory, HandlePtr& out) const {
  out = handles.find(id, directory);
  if (out == nullptr) return EBADF;
  return out->fd ? 0 : ESTALE;
}

int Session::enter(const Node& folder, const std::string& name, fuse_entry_out& out) {
  Opened found = HostFile::look_up(folder.fd.get(), name);
  return found.error != 0 ? found.error : enter(std::move(found.fd), out);
}

int Session::enter(host::Fd fd, fuse_entry_out& out) {
  struct stat attributes{};
  if (::fstat(fd.get(), &attributes) != 0) return errno;
  const NodePtr node = nodes.enter(std::move(fd), attributes, budget);
  if (node == nullptr) return ENFILE;
  out = {};
  out.nodeid = node->id;
  out.entry_valid = out.attr_valid = believe_seconds;
  tell(*node, out.attr, attributes);
  return 0;
}

int Session::open(const NodePtr& node, int flags, bool directory, u64& id) {
  auto handle = std::make_shared<Handle>();
  handle->place = budget.take();
  if (!handle->place) return ENFILE;
  Opened opened = files.open_again(node->fd.get(), flags);
  if (opened.error != 0) return opened.error;
  handle->fd = std::move(opened.fd);
  handle->node = node;
  handle->flags = flags & ~O_TRUNC;
  handle->directory = directory;
  id = handles.add(std::move(handle));
  return 0;
}

}  // namespace nagaya::fuse
