#include "host/confine.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::host {

Result<bool> confine_to_reading(const std::vector<std::string>& folders) {
  landlock_ruleset_attr all{};
  // What the first version of Landlock knows of; later ones know more, which stays with seccomp.
  all.handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |
                          LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                          LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                          LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
  const Fd rules(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0)));
  if (!rules) {
    if (errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM) return false;
    return fail_errno("cannot confine file access");
  }
  for (const std::string& folder : folders) {
    const Fd place(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!place) continue;  // nothing to read there
    landlock_path_beneath_attr rule{};
    rule.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
    rule.parent_fd = place.get();
    if (::syscall(SYS_landlock_add_rule, rules.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) {
      return fail_errno(fmt::format("cannot confine file access to '{}'", folder));
    }
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("cannot give up privileges");
  if (::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0) return fail_errno("cannot confine file access");
  return true;
}

Result<> drop_root() {
  if (::geteuid() != 0) return {};
  int death_signal = 0;
  (void)::prctl(PR_GET_PDEATHSIG, &death_signal);
  constexpr unsigned nobody = 65534;
  const auto failed = [] { return fail_errno("cannot become the user nobody"); };
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return failed();
  if (::setgroups(0, nullptr) != 0 || ::setresgid(nobody, nobody, nobody) != 0 || ::setresuid(nobody, nobody, nobody) != 0) return failed();
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct rights[2]{};
  rights[0].effective = rights[0].permitted = 1u << CAP_NET_BIND_SERVICE;
  if (::syscall(SYS_capset, &header, rights) != 0) {
    // A container's root may lack it itself.
    rights[0] = {};
    if (::syscall(SYS_capset, &header, rights) != 0) return failed();
  }
  // Changing the user cleared it (prctl(2)).
  if (death_signal != 0 && ::prctl(PR_SET_PDEATHSIG, death_signal) != 0) return failed();
  return {};
}

}  // namespace nagaya::host
