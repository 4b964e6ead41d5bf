#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "procview/procview.hpp"
#include "procview/server/serve.hpp"

namespace nagaya::procview {

Result<host::Fd> mount_view(const std::string& folder) {
  const std::string place = folder + "/mnt";
  unmount_view(folder);
  if (::mkdir(place.c_str(), 0755) != 0 && errno != EEXIST) return fail_errno(fmt::format("cannot make '{}'", place));
  TRY_ASSIGN(host::Fd connection, host::Fd::open("/dev/fuse", O_RDWR));
  // Documentation/filesystems/fuse.rst. Readers in containers are other users; the files' modes say what they may.
  const std::string options = fmt::format("fd={},rootmode=40555,user_id={},group_id={},allow_other,default_permissions",
                                          connection.get(), ::geteuid(), ::getegid());
  if (::mount("nagaya-procview", place.c_str(), "fuse.nagaya-procview",
              MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, options.c_str()) != 0) {
    return fail_errno(fmt::format("cannot mount at '{}'", place), 0,
                      errno == EPERM ? "it needs CAP_SYS_ADMIN, in a user namespace of one's own, too" : "");
  }
  return connection;
}

}  // namespace nagaya::procview
