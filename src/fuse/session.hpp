// What the operations share: the folder, what the client knows of it, what both agreed upon.
#pragma once
#include <atomic>
#include <string>

#include "fuse/call.hpp"
#include "fuse/handles.hpp"
#include "fuse/host_file.hpp"
#include "fuse/nodes.hpp"

namespace nagaya::fuse {

struct Session {
  explicit Session(u64 descriptors) : budget(descriptors) {}

  // First, so that it ends last: what the tables hold gives its places back.
  Budget budget;
  HostFile files;
  bool read_only = false;
  bool privileged = false;  ///< files get the owner that the client asks for
  NodePtr root;
  NodeTable nodes;
  HandleTable handles;
  std::atomic<bool> begun = false;  ///< INIT was there
  std::atomic<u64> agreed = 0;      ///< FUSE_… flags of INIT

  std::mutex devices_mutex;
  std::vector<dev_t> devices;  ///< file systems seen, the root's first; guarded by devices_mutex

  /// Inode numbers of different file systems below the folder must differ for the client, who sees one file system.
  [[nodiscard]] u64 client_inode(dev_t device, ino_t inode);
  void fill(fuse_attr& out, const struct stat& from);
  /// The same for a node, whose size the client then knows.
  void tell(Node& node, fuse_attr& out, const struct stat& from) {
    node.told_size = from.st_size;
    fill(out, from);
  }
  /// The node of a request; 0 and `out`, or an errno value: no such node (ENOENT), or lost (ESTALE).
  [[nodiscard]] int node(u64 id, NodePtr& out) const;
  [[nodiscard]] int folder(u64 id, NodePtr& out) const;
  [[nodiscard]] int handle(u64 id, bool directory, HandlePtr& out) const;
  /// Looks `name` up and counts that. An errno value or 0.
  [[nodiscard]] int enter(const Node& folder, const std::string& name, fuse_entry_out& out);
  /// The same for an inode that `fd` (O_PATH) holds.
  [[nodiscard]] int enter(host::Fd fd, fuse_entry_out& out);
  /// Opens a node anew. An errno value or 0 and the handle's number.
  [[nodiscard]] int open(const NodePtr& node, int flags, bool directory, u64& id);
};

/// How long a client may believe what it was told, in seconds: changes made on the host show after that.
inline constexpr u64 believe_seconds = 1;

/// Running out of descriptors has one name for the client.
[[nodiscard]] int told(int error);

/// An operation: an errno value, or 0 and what `call.reply` holds.
using Operation = int (*)(Session&, Call&);

// Names (operations_names.cpp).
int lookup(Session&, Call&);
int make_node(Session&, Call&);
int make_folder(Session&, Call&);
int make_link(Session&, Call&);
int make_symlink(Session&, Call&);
int remove_file(Session&, Call&);
int remove_folder(Session&, Call&);
int rename_plain(Session&, Call&);
int rename_flags(Session&, Call&);
int create(Session&, Call&);
// Attributes (operations_attributes.cpp).
int get_attributes(Session&, Call&);
int set_attributes(Session&, Call&);
int read_link(Session&, Call&);
int access(Session&, Call&);
int file_system_info(Session&, Call&);
// Extended attributes (operations_xattr.cpp).
int set_xattr(Session&, Call&);
int get_xattr(Session&, Call&);
int list_xattr(Session&, Call&);
int remove_xattr(Session&, Call&);
// Open files (operations_file.cpp).
int open_file(Session&, Call&);
int read(Session&, Call&);
int write(Session&, Call&);
int release(Session&, Call&);
int flush(Session&, Call&);
int sync_file(Session&, Call&);
int allocate(Session&, Call&);
int seek(Session&, Call&);
int copy_range(Session&, Call&);
int sync_all(Session&, Call&);
// Open folders (operations_folder.cpp).
int open_folder(Session&, Call&);
int read_folder(Session&, Call&);
int read_folder_plus(Session&, Call&);
int release_folder(Session&, Call&);
int sync_folder(Session&, Call&);

/// Takes set-user-id, and set-group-id where it means anything, off a file that was written to.
void drop_privileges(int fd);

}  // namespace nagaya::fuse
