// create and run.
#include <fcntl.h>
#include <unistd.h>

#include "oci/commands.hpp"
#include "oci/options.hpp"

namespace nagaya::oci {
namespace {

constexpr Option create_options[] = {{"bundle", 'b', true},
                                     {"config", 'f', true},
                                     {"console-socket", 0, true},
                                     {"pid-file", 0, true},
                                     {"no-pivot"},
                                     {"no-new-keyring"},
                                     {"preserve-fds", 0, true},
                                     {"no-subreaper"},
                                     {"detach", 'd'},
                                     {"keep"}};

Result<container::CreateOptions> read_options(const Global& global, const Parsed& parsed) {
  container::CreateOptions out;
  TRY_ASSIGN(out.id, only_argument(parsed.arguments, "the container's id"));
  out.state_root = global.root;
  out.bundle = parsed.get("bundle", ".");
  out.console_socket = parsed.get("console-socket");
  out.pid_file = parsed.get("pid-file");
  TRY_ASSIGN(out.preserve_fds, parsed.number("preserve-fds", 0));
  out.no_pivot = parsed.has("no-pivot");
  out.no_new_keyring = parsed.has("no-new-keyring");
  out.no_subreaper = parsed.has("no-subreaper");
  out.manager = global.systemd_cgroup ? cgroup::Manager::systemd : cgroup::Manager::files;
  out.no_cgroup = global.no_cgroup;
  out.rootless = global.rootless;
  return out;
}

}  // namespace

Result<> check_preserved(int count) {
  for (int fd = 3; fd < 3 + count; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0)
      return fail_errno("--preserve-fds: descriptor " + std::to_string(fd) + " is not open");
  }
  return {};
}

Result<int> create_command(const Global& global, Words words) {
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, create_options, false));
  TRY_ASSIGN(const container::CreateOptions options, read_options(global, parsed));
  TRY(check_preserved(options.preserve_fds));
  TRY(container::create(options));
  return 0;
}

Result<int> run_command(const Global& global, Words words) {
  TRY_ASSIGN(const Parsed parsed, Parsed::read(words, create_options, false));
  TRY_ASSIGN(const container::CreateOptions options, read_options(global, parsed));
  TRY(check_preserved(options.preserve_fds));
  return container::run(options, parsed.has("detach"), parsed.has("keep"));
}

}  // namespace nagaya::oci
