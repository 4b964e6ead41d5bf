#include "cli/run_image.hpp"

#include <fmt/core.h>

#include <cstdio>

#include "base/scope.hpp"
#include "cli/container_options.hpp"
#include "cli/exec_command.hpp"
#include "cli/image_for_run.hpp"
#include "cli/launch.hpp"
#include "cli/machine_start.hpp"
#include "cli/sizes.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_make.hpp"
#include "domain/machine_policy.hpp"
#include "host/fd.hpp"

namespace nagaya::cli {

namespace {

constexpr u64 longest_file = 512 * KiB;

Result<std::string> text_of(const std::string& path) {
  TRY_ASSIGN(const auto bytes, host::read_file(path, longest_file));
  return std::string(bytes.begin(), bytes.end());
}

/// The keys of an authorized_keys or .pub file.
Result<> add_keys(const std::string& path, std::vector<std::string>& out) {
  TRY_ASSIGN(const std::string text, text_of(path));
  if (text.find("PRIVATE KEY") != std::string::npos) {
    return fail(fmt::format("--ssh-key {}", path), "this is a private key", fmt::format("give the public one, {}.pub", path));
  }
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    while (line.ends_with('\r') || line.ends_with(' ')) line.pop_back();
    if (!line.empty() && line[0] != '#') out.push_back(std::move(line));
    at = end + 1;
  }
  return {};
}

/// A guest gets so long to start.
constexpr int start_patience_ms = 300'000;
constexpr unsigned stop_seconds = 60;

/// A command in a whole system: the machine starts behind us, and goes when the command has ended.
Result<int> run_inside(const domain::MachineStore& store, const domain::Machine& machine, const Parsed& options) {
  // Its monitor removes it, also when we are killed.
  TRY(start_machine(machine, {.quiet = options.has("quiet"), .remove_after = options.has("rm"), .detach = true, .die_with_us = true}));
  ScopeExit end([&] { (void)domain::stop_machine(store, machine, stop_seconds); });
  const std::string& name = machine.spec.name;
  // Network and mounts are there when the system says that it is up, in whatever state.
  TRY_ASSIGN(const int up, exec_in_machine(name, {"/bin/sh", "-c", "systemctl is-system-running --wait >/dev/null 2>&1; :"}, {}, start_patience_ms));
  if (up > 128) return up;  // a signal to us
  return exec_in_machine(name, machine.spec.command, options, start_patience_ms);
}

}  // namespace

std::vector<OptionSpec> image_run_options() {
  return {
      {"--vm", "", "as a virtual machine; this is what images are run as unless --container is given"},
      {"--container", "", "as a container: a group of processes of this host's kernel"},
      {"-d,--detach", "", "run in the background; print the name"},
      {"--rm", "", "remove it when it has ended"},
      {"--restart", "POLICY", "start it again when it ends: no, on-failure[:N], always, unless-stopped", Completes::words,
       {"no", "on-failure", "always", "unless-stopped"}, false},
      {"-h,--hostname", "NAME", "the guest's host name (default: its name)"},
      {"-v,--volume", "HOST:GUEST[:ro]", "show a folder of this host in the guest; of a container also NAME:GUEST, a volume kept under that name", Completes::file, {}, true, true},
      {"-i,--interactive", "", "give the command our standard input"},
      {"-t,--tty", "", "give the command a terminal"},
      {"-e,--env", "NAME=VALUE", "environment of the command", Completes::nothing, {}, true, true},
      {"-w,--workdir", "DIR", "working folder of the command"},
      {"-u,--user", "USER", "user of the command"},
      {"--entrypoint", "PROGRAM", "instead of the image's entry point"},
      {"--disk-size", "SIZE", "size of the machine's own disk (default: the image's)"},
      {"--ssh-key", "FILE", "public keys that may log in, beside this user's default key", Completes::file, {}, true, true},
      {"--user-data", "FILE", "cloud-init user data for the first start", Completes::file},
  };
}

Result<domain::MachineSpec> spec_from_options(const Parsed& options, const proto::VmConfig& config) {
  domain::MachineSpec spec;
  const std::vector<std::string>& words = options.all("IMAGE");
  spec.image_name = words[0];
  spec.command.assign(words.begin() + 1, words.end());
  spec.name = options.has("name") ? options.last("name") : domain::MachineStore().fresh_name(spec.image_name);
  spec.hostname = options.last("hostname");
  if (options.has("memory")) spec.memory = config.memory;
  spec.vcpus = config.vcpus;
  spec.engine = config.engine;
  spec.cpu = config.cpu;
  spec.devices = config;
  spec.numa_node = config.numa_node;
  TRY(other_limits_from_options(options, spec.limits));
  if (options.last("cpus").find('.') != std::string::npos) {
    TRY_ASSIGN(spec.limits.cpu_thousandths, cpu_thousandths(options.last("cpus")));
  }
  if (options.has("append")) spec.append = config.append;
  if (options.has("disk-size")) {
    TRY_ASSIGN(spec.disk_size, parse_size(options.last("disk-size")));
  }
  for (const std::string& text : options.all("volume")) {
    TRY_ASSIGN(domain::MachineShare share, domain::parse_share(text));
    spec.shares.push_back(std::move(share));
  }
  for (const std::string& path : options.all("ssh-key")) TRY(add_keys(path, spec.ssh_keys));
  if (options.has("user-data")) {
    TRY_ASSIGN(spec.user_data, text_of(options.last("user-data")));
  }
  spec.publish = options.all("publish");
  spec.networks = options.all("network");
  spec.env = options.all("env");
  spec.workdir = options.last("workdir");
  spec.user = options.last("user");
  if (options.has("entrypoint")) spec.entrypoint = options.last("entrypoint");
  return spec;
}

Result<domain::MachinePolicy> policy_from_options(const Parsed& options) {
  domain::MachinePolicy out;
  if (options.has("restart")) {
    TRY_ASSIGN(out.restart, domain::RestartPolicy::parse(options.last("restart")));
  }
  if (out != domain::MachinePolicy{} && options.has("rm")) return fail("--rm and --restart", "what is removed when it ends cannot be started again", "leave one of them out");
  return out;
}

Result<int> run_image(const Parsed& options, const proto::VmConfig& config) {
  TRY_ASSIGN(domain::MachineSpec spec, spec_from_options(options, config));
  TRY_ASSIGN(const image::Image image, image_for_run(spec.image_name, options.has("quiet"), ImageUse::machine));
  spec.image = image.id;
  TRY(spec.validate());
  if (options.has("dry-run")) {
    const std::string json = spec.to_json();
    std::fwrite(json.data(), 1, json.size(), stdout);
    return 0;
  }
  if (options.has("detach") && image.kind == image::Kind::disk && !spec.command.empty()) {
    return fail(fmt::format("nagaya run -d {}", spec.image_name), "a whole system in the background takes no command", "use 'nagaya exec' once it runs");
  }
  const domain::MachineStore store;
  const bool remove_after = options.has("rm");
  TRY_ASSIGN(const domain::MachinePolicy policy, policy_from_options(options));
  if (policy != domain::MachinePolicy{} && image.kind == image::Kind::disk && !spec.command.empty()) {
    return fail("--restart", "a whole system that runs one command ends with it", "leave it or the command out");
  }
  TRY_ASSIGN(const domain::Machine machine, domain::make_machine(store, image, std::move(spec), [&](const domain::Machine& made) {
               return policy == domain::MachinePolicy{} ? Result<>() : policy.write(made);
             }));
  ScopeExit undo([&] { (void)store.remove(machine); });
  if (image.kind == image::Kind::disk && !machine.spec.command.empty()) {
    TRY_ASSIGN(const int code, run_inside(store, machine, options));
    undo.release();
    return code;
  }
  TRY_ASSIGN(const int code, start_machine(machine, {.quiet = options.has("quiet"), .remove_after = remove_after, .detach = options.has("detach")}));
  undo.release();
  if (options.has("detach")) fmt::print("{}\n", machine.spec.name);
  return code;
}

}  // namespace nagaya::cli
