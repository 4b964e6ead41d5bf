// What a container sees of its own limits: a server beside its monitor, which lives as long as that, and the files of
// each start. Where it cannot be had (no /dev/fuse), the container has the host's files, and the monitor's log says why.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "container/spec/spec.hpp"
#include "domain/container_store.hpp"
#include "procview/procview.hpp"

namespace nagaya::domain {

class ContainerViews {
 public:
  /// Starts the server, in the monitor's own mount namespace: nobody else sees its files. An empty program: none.
  void begin(const Container& container, const std::string& program);
  /// Files for one start, whose uptime begins now: source and target of each.
  std::vector<std::pair<std::string, std::string>> of_start(const std::string& cgroup);
  /// A child that was waited for was the server: the next start gets a new one.
  void reaped(pid_t child) {
    if (child == server_.pid()) server_.forget();
  }
  void end() { server_ = {}; }

 private:
  void start();
  std::string folder_, program_;
  procview::Server server_;
};

/// A time namespace whose CLOCK_BOOTTIME begins now: it is what /proc/PID/stat and sysinfo(2) count from, and must agree
/// with the container's /proc/uptime, or ps would show nonsense. Not where the container sees the host's processes, and
/// not on kernels without such namespaces (before Linux 5.6).
void begin_uptime(container::Spec& spec);

}  // namespace nagaya::domain
