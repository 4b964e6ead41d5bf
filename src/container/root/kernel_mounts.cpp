#include "container/root/kernel_mounts.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace nagaya::container {
namespace {

/// What the file system wrote about the failure ("e tmpfs: Bad value for 'size'"), without its prefix; else errno's text.
std::unexpected<Error> file_system_error(int context, std::string what, int code) {
  std::array<char, 512> text;
  std::string said;
  for (ssize_t got; (got = ::read(context, text.data(), text.size())) > 0;) {
    std::string_view line(text.data(), static_cast<std::size_t>(got));
    if (line.starts_with("e ")) line.remove_prefix(2);
    if (!said.empty()) said += "; ";
    said += line;
  }
  if (said.empty()) return fail_errno(std::move(what), code);
  return std::unexpected(Error{std::move(what), std::move(said), {}, code});
}

Result<> configure(int context, const std::string& option) {
  const std::size_t equals = option.find('=');
  const int done = equals == std::string::npos
                       ? ::fsconfig(context, FSCONFIG_SET_FLAG, option.c_str(), nullptr, 0)
                       : ::fsconfig(context, FSCONFIG_SET_STRING, option.substr(0, equals).c_str(), option.c_str() + equals + 1, 0);
  if (done != 0) return file_system_error(context, "option '" + option + "'", errno);
  return {};
}

}  // namespace

Result<host::Fd> clone_tree(int at, const std::string& path, bool recursive, bool follow) {
  unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (recursive) flags |= AT_RECURSIVE;
  if (path.empty()) flags |= AT_EMPTY_PATH;
  if (!follow) flags |= AT_SYMLINK_NOFOLLOW;
  host::Fd fd(::open_tree(at, path.c_str(), flags));
  if (!fd) return fail_errno("cannot clone the mount" + (path.empty() ? std::string() : " at '" + path + "'"));
  return fd;
}

Result<host::Fd> new_mount(const std::string& type, const std::string& source, const std::vector<std::string>& options, u64 attributes) {
  const host::Fd context(::fsopen(type.c_str(), FSOPEN_CLOEXEC));
  if (!context) return fail_errno("cannot make a file system of type '" + type + "'");
  if (!source.empty() && ::fsconfig(context.get(), FSCONFIG_SET_STRING, "source", source.c_str(), 0) != 0) {
    return file_system_error(context.get(), "source '" + source + "'", errno);
  }
  for (const std::string& option : options) TRY(configure(context.get(), option));
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return file_system_error(context.get(), "cannot make a file system of type '" + type + "'", errno);
  }
  host::Fd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, static_cast<unsigned>(attributes)));
  if (!mount) return file_system_error(context.get(), "cannot mount a file system of type '" + type + "'", errno);
  return mount;
}

Result<> set_attributes(int mount, u64 set, u64 clear, bool recursive) {
  if (set == 0 && clear == 0) return {};
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  const unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0u);
  if (::mount_setattr(mount, "", flags, &attributes, sizeof attributes) == 0) return {};
  if (errno == EPERM && clear != 0) {
    attributes.attr_set = set & ~static_cast<u64>(MOUNT_ATTR__ATIME);
    attributes.attr_clr = 0;
    if (attributes.attr_set == 0 || ::mount_setattr(mount, "", flags, &attributes, sizeof attributes) == 0) return {};
  }
  return fail_errno("cannot set the mount's attributes");
}

Result<> set_propagation(int mount, u64 flags) {
  mount_attr attributes{};
  attributes.propagation = flags & ~static_cast<u64>(MS_REC);
  const unsigned how = AT_EMPTY_PATH | ((flags & MS_REC) != 0 ? AT_RECURSIVE : 0u);
  if (::mount_setattr(mount, "", how, &attributes, sizeof attributes) != 0) return fail_errno("cannot set the mount's propagation");
  return {};
}

Result<> attach(int mount, int target) {
  if (::move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) return fail_errno("cannot attach the mount");
  return {};
}

}  // namespace nagaya::container
