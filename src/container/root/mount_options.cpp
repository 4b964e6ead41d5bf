#include "container/root/mount_options.hpp"

#include <sys/mount.h>

#include <array>
#include <string_view>

namespace nagaya::container {
namespace {

struct Attribute {
  std::string_view name;
  u64 bits;
  bool on;
};

// linux/mount.h has it, the C library's sys/mount.h of Debian 12, too.
static_assert(MOUNT_ATTR_RDONLY == 1);

constexpr std::array attributes = {
    Attribute{"ro", MOUNT_ATTR_RDONLY, true},
    Attribute{"rw", MOUNT_ATTR_RDONLY, false},
    Attribute{"nosuid", MOUNT_ATTR_NOSUID, true},
    Attribute{"suid", MOUNT_ATTR_NOSUID, false},
    Attribute{"nodev", MOUNT_ATTR_NODEV, true},
    Attribute{"dev", MOUNT_ATTR_NODEV, false},
    Attribute{"noexec", MOUNT_ATTR_NOEXEC, true},
    Attribute{"exec", MOUNT_ATTR_NOEXEC, false},
    Attribute{"noatime", MOUNT_ATTR_NOATIME, true},
    Attribute{"atime", MOUNT_ATTR_NOATIME, false},
    Attribute{"strictatime", MOUNT_ATTR_STRICTATIME, true},
    Attribute{"nostrictatime", MOUNT_ATTR_STRICTATIME, false},
    Attribute{"relatime", MOUNT_ATTR_RELATIME, true},
    Attribute{"norelatime", MOUNT_ATTR_RELATIME, false},
    Attribute{"nodiratime", MOUNT_ATTR_NODIRATIME, true},
    Attribute{"diratime", MOUNT_ATTR_NODIRATIME, false},
    Attribute{"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, true},
    Attribute{"symfollow", MOUNT_ATTR_NOSYMFOLLOW, false},
};

constexpr std::array<std::pair<std::string_view, u64>, 8> propagations = {{
    {"private", MS_PRIVATE},
    {"shared", MS_SHARED},
    {"slave", MS_SLAVE},
    {"unbindable", MS_UNBINDABLE},
    {"rprivate", MS_PRIVATE | MS_REC},
    {"rshared", MS_SHARED | MS_REC},
    {"rslave", MS_SLAVE | MS_REC},
    {"runbindable", MS_UNBINDABLE | MS_REC},
}};

const Attribute* find_attribute(std::string_view name) {
  for (const Attribute& attribute : attributes)
    if (attribute.name == name) return &attribute;
  return nullptr;
}

/// The three kinds of access times are one field: naming one replaces it.
void apply(const Attribute& attribute, u64& set, u64& clear) {
  constexpr u64 times = MOUNT_ATTR__ATIME;
  const bool is_time = attribute.bits == MOUNT_ATTR_RELATIME || (attribute.bits & times) != 0;
  if (is_time) {
    set &= ~times;
    clear |= times;
    if (attribute.on) set |= attribute.bits;
  } else if (attribute.on) {
    set |= attribute.bits;
    clear &= ~attribute.bits;
  } else {
    clear |= attribute.bits;
    set &= ~attribute.bits;
  }
}

}  // namespace

u64 propagation_flags(std::string_view name) {
  for (const auto& [known, flags] : propagations)
    if (known == name) return flags;
  return 0;
}

bool MountOptions::has(std::string_view name) const {
  for (const std::string& option : data)
    if (std::string_view(option).substr(0, option.find('=')) == name) return true;
  return false;
}

MountOptions parse_mount_options(const Mount& mount) {
  MountOptions out;
  out.bind = mount.type == "bind";
  for (const std::string& option : mount.options) {
    // Words of mount(8) that tell the kernel nothing.
    if (option.empty() || option == "defaults" || option == "silent" || option == "loud") continue;
    if (option == "bind" || option == "rbind") {
      out.bind = true;
      out.recursive |= option == "rbind";
    } else if (option == "remount") {
      out.remount = true;
    } else if (option == "tmpcopyup") {
      out.copy_up = true;
    } else if (option == "idmap" || option == "ridmap") {
      out.idmap = true;
      out.idmap_recursive |= option == "ridmap";
    } else if (const u64 flags = propagation_flags(option)) {
      out.propagation.push_back(flags);
    } else if (const Attribute* attribute = find_attribute(option)) {
      apply(*attribute, out.set, out.clear);
    } else if (const Attribute* below = option.starts_with('r') ? find_attribute(std::string_view(option).substr(1)) : nullptr) {
      apply(*below, out.set_recursive, out.clear_recursive);
    } else {
      out.data.push_back(option);
    }
  }
  if (!mount.uid_mappings.empty() || !mount.gid_mappings.empty()) out.idmap = true;
  return out;
}

}  // namespace nagaya::container
