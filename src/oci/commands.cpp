#include "oci/commands.hpp"

#include "host/fd.hpp"

namespace nagaya::oci {
namespace {

constexpr Command table[] = {
    {"create", create_command, true, "[-b BUNDLE] [--console-socket PATH] [--pid-file PATH] ID",
     "make a container, ready to start"},
    {"start", start_command, false, "ID", "start a created container"},
    {"state", state_command, false, "ID", "print its state as JSON"},
    {"kill", kill_command, false, "[-a] ID [SIGNAL]", "send a signal (SIGTERM) to its first process, or to all"},
    {"delete", delete_command, false, "[-f] ID", "remove a stopped container (-f: any)"},
    {"run", run_command, true, "[-d] [--keep] [-b BUNDLE] ID", "create, start, wait, delete"},
    {"exec", exec_command, true, "[-t] [-d] [-e K=V] [-u UID[:GID]] [--cwd DIR] [-p FILE] ID COMMAND…",
     "run one more process inside"},
    {"ps", ps_command, false, "[-f table|json] ID [PS-OPTION…]", "list its processes"},
    {"list", list_command, false, "[-q] [-f table|json]", "list containers"},
    {"pause", pause_command, false, "ID", "stop all its processes for a while"},
    {"resume", resume_command, false, "ID", "let them go on"},
    {"update", update_command, false, "[--resources FILE] [--memory N] … ID", "change its limits"},
    {"events", events_command, false, "[--stats] [--interval 5s] ID",
     "print statistics and out-of-memory events as JSON"},
    {"checkpoint", checkpoint_command, false,
     "[--image-path DIR] [--work-path DIR] [--parent-path DIR] [--leave-running] [--pre-dump] [--tcp-established] "
     "[--ext-unix-sk] [--shell-job] "
     "[--file-locks] [--lazy-pages --page-server ADDRESS:PORT] [--status-fd N] [--manage-cgroups-mode MODE] "
     "[--empty-ns network] [--auto-dedup] ID",
     "save it to files (CRIU)"},
    {"restore", restore_command, false,
     "[--image-path DIR] [--work-path DIR] [-b BUNDLE] [-d] [--console-socket PATH] [--pid-file PATH] "
     "[--tcp-established] [--ext-unix-sk] "
     "[--shell-job] [--file-locks] [--lazy-pages] [--manage-cgroups-mode MODE] [--empty-ns network] [--auto-dedup] "
     "[--lsm-profile TYPE:NAME] "
     "[--lsm-mount-context CONTEXT] [--keep] ID",
     "make it again from those files"},
    {"spec", spec_command, false, "[-b BUNDLE] [--rootless]", "write a config.json to begin with"},
    {"features", features_command, false, "", "print what this runtime can do as JSON"},
};

}  // namespace

std::span<const Command> commands() { return table; }

Result<> print(std::string_view text) { return host::write_all(1, text); }

Result<std::string> only_argument(const std::vector<std::string>& arguments, const char* what) {
  if (arguments.size() != 1) return fail("exactly one argument is needed: " + std::string(what));
  return arguments[0];
}

}  // namespace nagaya::oci
