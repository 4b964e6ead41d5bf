// Operations on open folders.
#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string_view>

#include "fuse/session.hpp"

namespace nagaya::fuse {
namespace {

constexpr std::size_t read_ahead = 32 * KiB;
// A record of getdents64(2).
constexpr std::size_t at_inode = 0, at_offset = 8, at_length = 16, at_type = 18, at_name = 19;

struct Entry {
  u64 inode = 0, next = 0;
  u8 type = 0;
  std::string_view name;
  std::size_t length = 0;
};

template <class T>
T load(const u8* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/// The entry at the handle's position, read from the host when needed. False at the end, or with an error.
bool peek(Handle& handle, Entry& out, int& error) {
  error = 0;
  if (handle.used >= handle.entries.size()) {
    handle.entries.resize(read_ahead);
    handle.used = 0;
    const long count = ::syscall(SYS_getdents64, handle.fd.get(), handle.entries.data(), handle.entries.size());
    if (count < 0) error = errno;
    handle.entries.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    if (count <= 0) return false;
  }
  const u8* record = handle.entries.data() + handle.used;
  out.inode = load<u64>(record + at_inode);
  out.next = load<u64>(record + at_offset);
  out.length = load<u16>(record + at_length);
  out.type = record[at_type];
  out.name = reinterpret_cast<const char*>(record + at_name);
  return true;
}

u64 padded(u64 size) { return FUSE_DIRENT_ALIGN(size); }

int read_entries(Session& session, Call& call, bool plus) {
  fuse_read_in args{};
  HandlePtr handle;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.handle(args.fh, true, handle)) return error;
  if (args.size > call.room || args.size > most_transfer) return EINVAL;
  std::lock_guard lock(handle->mutex);
  if (args.offset != handle->position || args.offset == 0) {
    if (::lseek(handle->fd.get(), static_cast<off_t>(args.offset), SEEK_SET) < 0) return errno;
    handle->entries.clear();
    handle->used = 0;
    handle->position = args.offset;
  }
  const bool at_root = handle->node->id == FUSE_ROOT_ID;
  Entry entry;
  int error = 0;
  while (peek(*handle, entry, error)) {
    const u64 head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    if (call.reply.size() + padded(head + entry.name.size()) > args.size) break;
    const bool dots = entry.name == "." || entry.name == "..";
    fuse_direntplus item{};
    item.dirent.ino = session.client_inode(handle->node->device, entry.inode);
    // What lies above the folder is not shown.
    if (entry.name == ".." && at_root) item.dirent.ino = session.client_inode(handle->node->device, handle->node->inode);
    item.dirent.off = entry.next;
    item.dirent.namelen = static_cast<u32>(entry.name.size());
    item.dirent.type = entry.type;
    // What cannot be looked up (gone, or no descriptor left) is listed without: node 0.
    if (plus && !dots && session.enter(*handle->node, std::string(entry.name), item.entry_out) != 0) {
      item.entry_out = {};
    }
    if (plus && item.entry_out.nodeid == 0) {
      item.entry_out.attr.ino = item.dirent.ino;
      item.entry_out.attr.mode = u32{entry.type} << 12;
    }
    const auto* bytes = plus ? reinterpret_cast<const u8*>(&item) : reinterpret_cast<const u8*>(&item.dirent);
    call.reply.insert(call.reply.end(), bytes, bytes + head);
    call.reply.insert(call.reply.end(), entry.name.begin(), entry.name.end());
    call.reply.resize(padded(call.reply.size()), 0);
    handle->used += entry.length;
    handle->position = entry.next;
  }
  return call.reply.empty() ? error : 0;
}

}  // namespace

int open_folder(Session& session, Call& call) {
  fuse_open_in args{};
  NodePtr node;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.folder(call.head.nodeid, node)) return error;
  fuse_open_out out{};
  if (const int error = session.open(node, O_RDONLY | O_DIRECTORY, true, out.fh)) return error;
  call.put(out);
  return 0;
}

int read_folder(Session& session, Call& call) { return read_entries(session, call, false); }
int read_folder_plus(Session& session, Call& call) { return read_entries(session, call, true); }

int release_folder(Session& session, Call& call) {
  fuse_release_in args{};
  if (!call.take(args)) return EINVAL;
  return session.handles.remove(args.fh, true) ? 0 : EBADF;
}

int sync_folder(Session& session, Call& call) {
  fuse_fsync_in args{};
  HandlePtr handle;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.handle(args.fh, true, handle)) return error;
  return ::fsync(handle->fd.get()) == 0 ? 0 : errno;
}

}  // namespace nagaya::fuse
