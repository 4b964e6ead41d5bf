#include "container/namespaces.hpp"
#include "container/spec/names.hpp"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace nagaya::container {
namespace {

constexpr unsigned new_time = 0x80;  // CLONE_NEWTIME, which older C libraries do not name
constexpr unsigned flags[] = {CLONE_NEWPID, CLONE_NEWNET,  CLONE_NEWNS,     CLONE_NEWIPC,
                              CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWCGROUP, new_time};

}  // namespace

unsigned clone_flag(NamespaceKind kind) { return flags[static_cast<int>(kind)]; }

Result<NamespacePlan> NamespacePlan::make(const std::vector<Namespace>& namespaces) {
  NamespacePlan plan;
  unsigned seen = 0;
  for (const Namespace& item : namespaces) {
    const unsigned flag = clone_flag(item.kind);
    const std::string name(namespace_name(item.kind));
    if ((seen & flag) != 0) return fail("the configuration names the " + name + " namespace twice");
    seen |= flag;
    if (item.path.empty()) {
      plan.fresh_ |= flag;
      continue;
    }
    auto fd = host::Fd::open(item.path, O_RDONLY);
    if (!fd) return std::unexpected(std::move(fd.error()).within(name + " namespace"));
    if (static_cast<unsigned>(::ioctl(fd->get(), NS_GET_NSTYPE)) != flag)
      return fail("'" + item.path + "' is no " + name + " namespace");
    plan.joined_.push_back({item.kind, item.path, std::move(*fd)});
  }
  return plan;
}

bool NamespacePlan::joins(NamespaceKind kind) const {
  for (const Joined& item : joined_) {
    if (item.kind == kind) return true;
  }
  return false;
}

bool NamespacePlan::needs_helper() const {
  return joins(NamespaceKind::pid) || joins(NamespaceKind::user) || (is_fresh(NamespaceKind::user) && !joined_.empty());
}

Result<> NamespacePlan::join(unsigned which, bool lenient) {
  for (Joined& item : joined_) {
    const unsigned flag = clone_flag(item.kind);
    if (item.done || (flag & which) == 0) continue;
    if (::setns(item.fd.get(), static_cast<int>(flag)) != 0) {
      if (lenient && errno == EPERM) continue;
      return fail_errno("cannot join the " + std::string(namespace_name(item.kind)) + " namespace '" +
                        item.path + "'");
    }
    item.done = true;
  }
  return {};
}

Result<> enter_new_time_namespace(const Linux& config) {
  if (::unshare(static_cast<int>(new_time)) != 0) return fail_errno("cannot make a time namespace");
  std::string lines;
  const auto add = [&lines](const char* clock, const std::optional<TimeOffset>& offset) {
    if (offset)
      lines += std::string(clock) + " " + std::to_string(offset->secs) + " " + std::to_string(offset->nanosecs) + "\n";
  };
  add("monotonic", config.monotonic_offset);
  add("boottime", config.boottime_offset);
  if (!lines.empty()) {
    TRY_ASSIGN(const host::Fd file, host::Fd::open("/proc/self/timens_offsets", O_WRONLY));
    if (::write(file.get(), lines.data(), lines.size()) < 0)
      return fail_errno("cannot set the time namespace's offsets");
  }
  TRY_ASSIGN(const host::Fd made, host::Fd::open("/proc/self/ns/time_for_children", O_RDONLY));
  if (::setns(made.get(), static_cast<int>(new_time)) != 0) return fail_errno("cannot enter the time namespace");
  return {};
}

Result<pid_t> clone_process(u64 clone_flags) {
  clone_args args{};
  args.flags = clone_flags;
  // With CLONE_PARENT the end is told to our parent by its own child signal; naming one is refused.
  args.exit_signal = (clone_flags & CLONE_PARENT) != 0 ? 0 : SIGCHLD;
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return fail_errno("cannot make the container's process and namespaces");
  return static_cast<pid_t>(pid);
}

}  // namespace nagaya::container
