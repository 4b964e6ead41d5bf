#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>

#include <cerrno>

#include "cgroup/cgroup.hpp"
#include "cgroup/file.hpp"

namespace nagaya::cgroup {

Result<host::Fd> Group::oom_watch() const {
  const Part* memory = part("memory");
  if (memory == nullptr) return host::Fd();
  if (memory->v2) {
    host::Fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    if (!watch) return fail_errno("cannot watch memory events");
    if (::inotify_add_watch(watch.get(), (memory->folder + "/memory.events").c_str(), IN_MODIFY) < 0) {
      if (errno == ENOENT) return host::Fd();  // the controller is not enabled
      return fail_errno(fmt::format("cannot watch '{}/memory.events'", memory->folder));
    }
    return watch;
  }
  // cgroup-v1/memory.rst "OOM Control": an eventfd and memory.oom_control's descriptor, by number.
  TRY_ASSIGN(host::Fd watch, host::Fd::eventfd());
  auto control = host::Fd::open(memory->folder + "/memory.oom_control", O_RDONLY);
  if (!control)
    return control.error().code == ENOENT ? Result<host::Fd>(host::Fd()) : std::unexpected(std::move(control).error());
  const int code = put(memory->folder, "cgroup.event_control", fmt::format("{} {}", watch.get(), control->get()));
  if (code != 0) return fail_errno(fmt::format("cannot watch '{}/memory.oom_control'", memory->folder), code);
  return watch;
}

}  // namespace nagaya::cgroup
