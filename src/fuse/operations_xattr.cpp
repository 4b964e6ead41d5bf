// Extended attributes. A client sees those of users, and, where it is trusted with the ownership of files, file capabilities.
// Labels of the host's security modules and access lists are the host's, and trusted.* are for those with CAP_SYS_ADMIN, which a
// machine's process does not keep.
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "fuse/session.hpp"

namespace nagaya::fuse {
namespace {

bool visible(const Session& session, std::string_view name) {
  if (name.starts_with("user.")) return true;
  return session.privileged && name == "security.capability";
}

/// The attribute's name, and the path that names the inode.
int take(Session& session, Call& call, std::string& name, std::string& path) {
  NodePtr node;
  if (const int error = call.take_string(name, longest_name)) return error == ENAMETOOLONG ? ERANGE : error;
  if (const int error = session.node(call.head.nodeid, node)) return error;
  if (!visible(session, name)) return EOPNOTSUPP;
  path = HostFile::path_of(node->fd.get());
  return 0;
}

int reply_size(Call& call, u64 size) {
  fuse_getxattr_out out{};
  out.size = static_cast<u32>(size);
  call.put(out);
  return 0;
}

}  // namespace

int set_xattr(Session& session, Call& call) {
  fuse_setxattr_in args{};
  if (session.agreed & FUSE_SETXATTR_EXT) {
    if (!call.take(args)) return EINVAL;
  } else {
    std::array<u32, 2> first{};
    if (!call.take(first)) return EINVAL;
    args.size = first[0];
    args.flags = first[1];
  }
  std::string name, path;
  if (const int error = take(session, call, name, path)) return error;
  if (args.size > longest_attribute) return E2BIG;
  if (call.rest.size() < args.size) return EINVAL;
  if (args.flags & ~u32{XATTR_CREATE | XATTR_REPLACE}) return EINVAL;
  return ::setxattr(path.c_str(), name.c_str(), call.rest.data(), args.size, static_cast<int>(args.flags)) == 0 ? 0 : errno;
}

int get_xattr(Session& session, Call& call) {
  fuse_getxattr_in args{};
  std::string name, path;
  if (!call.take(args)) return EINVAL;
  if (const int error = take(session, call, name, path)) return error;
  if (args.size > longest_attribute) args.size = longest_attribute;
  if (args.size == 0) {
    const ssize_t size = ::getxattr(path.c_str(), name.c_str(), nullptr, 0);
    return size < 0 ? errno : reply_size(call, static_cast<u64>(size));
  }
  call.reply.resize(args.size);
  const ssize_t size = ::getxattr(path.c_str(), name.c_str(), call.reply.data(), args.size);
  if (size < 0) return errno;
  call.reply.resize(static_cast<std::size_t>(size));
  return 0;
}

int list_xattr(Session& session, Call& call) {
  fuse_getxattr_in args{};
  NodePtr node;
  if (!call.take(args)) return EINVAL;
  if (const int error = session.node(call.head.nodeid, node)) return error;
  std::vector<char> all(longest_attribute);
  const ssize_t size = ::listxattr(HostFile::path_of(node->fd.get()).c_str(), all.data(), all.size());
  if (size < 0) return errno;
  std::string names;
  for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
    const std::string_view name(all.data() + at);
    if (visible(session, name)) names.append(name).push_back('\0');
    at += name.size() + 1;
  }
  if (args.size == 0) return reply_size(call, names.size());
  if (names.size() > args.size) return ERANGE;
  call.reply.assign(names.begin(), names.end());
  return 0;
}

int remove_xattr(Session& session, Call& call) {
  std::string name, path;
  if (const int error = take(session, call, name, path)) return error;
  return ::removexattr(path.c_str(), name.c_str()) == 0 ? 0 : errno;
}

}  // namespace nagaya::fuse
