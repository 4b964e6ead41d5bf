// Labels of Linux security modules, for the next exec. Source: Linux
// Documentation/admin-guide/LSM/{apparmor,SELinux}.rst, proc_pid_attr(5).
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>

#include "container/security/procfs.hpp"
#include "container/security/security.hpp"

namespace nagaya::container {
namespace {

Result<> write_label(const char* path, const char* older, const std::string& text) {
  TRY_ASSIGN(const host::Fd procfs, open_procfs());
  auto done = write_proc_file(procfs, path, text);
  if (!done && done.error().code == ENOENT && older != nullptr) return write_proc_file(procfs, older, text);
  return done;
}

}  // namespace

bool apparmor_enabled() {
  const host::Fd file(::open("/sys/module/apparmor/parameters/enabled", O_RDONLY | O_CLOEXEC));
  char first = 'N';
  return file && ::read(file.get(), &first, 1) == 1 && first == 'Y';
}

bool selinux_enabled() {
  struct statfs info{};
  return ::statfs("/sys/fs/selinux", &info) == 0 && info.f_type == SELINUX_MAGIC;
}

Result<> set_apparmor_profile(const std::string& profile) {
  if (profile.empty()) return {};
  if (!apparmor_enabled()) {
    if (profile == "unconfined") return {};
    return fail("the AppArmor profile '" + profile + "' cannot be applied", "this host's kernel has no AppArmor");
  }
  return write_label("thread-self/attr/apparmor/exec", "thread-self/attr/exec", "exec " + profile);
}

Result<> set_selinux_label(const std::string& label) {
  if (label.empty()) return {};
  if (!selinux_enabled())
    return fail("the SELinux label '" + label + "' cannot be applied", "this host's kernel has no SELinux");
  return write_label("thread-self/attr/exec", nullptr, label);
}

}  // namespace nagaya::container
