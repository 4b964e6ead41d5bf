// nagaya-oci: an OCI runtime as podman, buildah, containerd and people call it.
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "container/container.hpp"
#include "container/environment.hpp"
#include "container/warning.hpp"
#include "oci/commands.hpp"
#include "oci/log.hpp"
#include "oci/options.hpp"
#include "oci/own_program.hpp"

namespace {

using namespace nagaya;

constexpr oci::Option global_options[] = {
    {"root", 0, true},           {"log", 0, true},      {"log-format", 0, true}, {"debug"},        {"systemd-cgroup"},
    {"cgroup-manager", 0, true}, {"rootless", 0, true}, {"criu", 0, true},       {"version", 'v'}, {"help", 'h'}};

std::string help() {
  std::string text =
      "usage: nagaya-oci [--root DIR] [--log FILE] [--log-format text|json] [--cgroup-manager "
      "cgroupfs|systemd|disabled] COMMAND …\n\n";
  for (const oci::Command& command : oci::commands()) {
    std::string line = "  " + std::string(command.name) + " " + command.usage;
    if (line.size() < 50) line.resize(50, ' ');
    text += line + "  " + command.does + "\n";
  }
  return text + "\n  --version, --debug, --rootless auto|true|false, --systemd-cgroup\n";
}

/// Descriptors 0, 1, 2 are there: what we open ourselves must not become somebody's output.
void open_standard_descriptors() {
  while (true) {
    const int fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0 || fd > 2) {
      if (fd > 2) ::close(fd);
      return;
    }
    ::fcntl(fd, F_SETFD, 0);
  }
}

Result<oci::Global> read_global(const oci::Parsed& parsed) {
  oci::Global global;
  global.root = parsed.has("root") ? parsed.get("root") : container::default_state_root();
  const std::string format = parsed.get("log-format", "text");
  if (format != "text" && format != "json") return fail("--log-format is text or json, not '" + format + "'");
  std::string log = parsed.get("log");
  if (log.starts_with("file:")) log.erase(0, 5);
  oci::set_log({.file = log, .json = format == "json", .debug = parsed.has("debug")});
  const std::string manager = parsed.get("cgroup-manager", "cgroupfs");
  if (manager != "cgroupfs" && manager != "systemd" && manager != "disabled") {
    return fail("--cgroup-manager is cgroupfs, systemd or disabled, not '" + manager + "'");
  }
  global.systemd_cgroup = parsed.has("systemd-cgroup") || manager == "systemd";
  global.no_cgroup = manager == "disabled";
  if (parsed.has("criu")) ::setenv("NAGAYA_CRIU", parsed.get("criu").c_str(), 1);
  if (const std::string rootless = parsed.get("rootless", "auto"); rootless != "auto")
    global.rootless = rootless == "true";
  return global;
}

Result<int> run(std::span<char*> words) {
  TRY_ASSIGN(const oci::Parsed parsed, oci::Parsed::read(words.subspan(1), global_options, true));
  if (parsed.has("version")) {
    TRY(oci::print("nagaya-oci version " NAGAYA_VERSION "\nspec: 1.1.0\n"));
    return 0;
  }
  if (parsed.has("help") || parsed.arguments.empty() || parsed.arguments[0] == "help") {
    TRY(oci::print(help()));
    return parsed.has("help") || !parsed.arguments.empty() ? 0 : 1;
  }
  TRY_ASSIGN(const oci::Global global, read_global(parsed));
  container::set_warning_sink(oci::log_warning);
  for (const oci::Command& command : oci::commands()) {
    if (parsed.arguments[0] != command.name) continue;
    if (parsed.arguments.size() == 2 && (parsed.arguments[1] == "--help" || parsed.arguments[1] == "-h")) {
      // podman asks checkpoint and restore this way whether they are there.
      TRY(oci::print("usage: nagaya-oci " + std::string(command.name) + " " + command.usage + "\n\n" + command.does +
                     "\n"));
      return 0;
    }
    if (command.enters) TRY(oci::protect_own_program(words.data()));
    return command.run(global, words.subspan(1 + parsed.rest + 1));
  }
  return fail("unknown command '" + parsed.arguments[0] + "'", "", "nagaya-oci help lists them");
}

}  // namespace

int main(int argc, char** argv) {
  // Nobody in a container may look into a process of ours that enters it.
  if (::geteuid() == 0) ::prctl(PR_SET_DUMPABLE, 0);
  open_standard_descriptors();
  const auto status = run({argv, static_cast<std::size_t>(argc)});
  if (status) return *status;
  oci::log_error(status.error().message());
  const bool exec = argc > 1 && container::start_status(status.error()) != 125;
  return exec ? container::start_status(status.error()) : 1;
}
