#include "container/teardown.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

namespace nagaya::container {
namespace {

constexpr int patience_ms = 10'000;

}  // namespace

Result<> tear_down(const Record& record) {
  auto first = open_process(record.process);
  // The first process takes its whole PID namespace with it; where it has none of its own, the cgroup knows the others.
  if (first) (void)::syscall(SYS_pidfd_send_signal, first->get(), SIGKILL, nullptr, 0);
  if (!record.cgroup_saved.empty()) {
    TRY_ASSIGN(const cgroup::Group group, cgroup::Group::open({}, record.cgroup_saved));
    TRY_ASSIGN(const std::vector<pid_t> left, group.processes());
    // Frozen processes die when they are thawed.
    if (group.frozen()) (void)group.thaw();
    if (!left.empty()) TRY(group.kill_all(SIGKILL));
    if (first && !wait_for_end(first->get(), patience_ms)) return fail("the container's first process does not end");
    return group.remove();
  }
  if (first && !wait_for_end(first->get(), patience_ms)) return fail("the container's first process does not end");
  return {};
}

}  // namespace nagaya::container
