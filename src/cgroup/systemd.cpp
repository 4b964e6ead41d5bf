#include "cgroup/systemd.hpp"

#include "cgroup/making.hpp"

namespace nagaya::cgroup {

Result<std::string> scope_folder(const std::string& path) {
  return fail("cgroup '" + path + "' through systemd",
              systemd_runs() ? "no way to it" : "systemd does not run on this host",
              "use --cgroup-manager=cgroupfs and a path such as /nagaya/NAME");
}
Result<> start_scope(const std::string& path, const Resources&, pid_t) {
  TRY(scope_folder(path));
  return {};
}
void stop_scope(const std::string&) {}

}  // namespace nagaya::cgroup
