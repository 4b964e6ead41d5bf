// User namespaces that only carry the maps of an idmapped mount (mount_setattr(2), MOUNT_ATTR_IDMAP).
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/scope.hpp"
#include "container/root/mounts.hpp"

namespace nagaya::container {
namespace {

Result<> write_map(pid_t pid, const char* file, const std::vector<IdMap>& maps) {
  std::string text;
  for (const IdMap& map : maps) text += std::to_string(map.inside) + " " + std::to_string(map.outside) + " " + std::to_string(map.size) + "\n";
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  const host::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd || ::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return fail_errno(std::string("cannot set the ") + file + " of an idmapped mount");
  }
  return {};
}

}  // namespace

Result<host::Fd> user_namespace(const std::vector<IdMap>& uids, const std::vector<IdMap>& gids) {
  clone_args args{};
  args.flags = CLONE_NEWUSER;
  args.exit_signal = SIGCHLD;
  const pid_t pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid < 0) return fail_errno("cannot make a user namespace for an idmapped mount");
  if (pid == 0) {
    for (;;) ::pause();  // only its namespace is wanted
  }
  const ScopeExit end([pid] {
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  });
  TRY(write_map(pid, "uid_map", uids));
  TRY(write_map(pid, "gid_map", gids));
  return host::Fd::open("/proc/" + std::to_string(pid) + "/ns/user", O_RDONLY);
}

}  // namespace nagaya::container
