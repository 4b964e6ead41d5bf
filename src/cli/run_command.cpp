#include "cli/run_command.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iterator>

#include "cli/container_options.hpp"
#include "cli/device_options.hpp"
#include "cli/launch.hpp"
#include "cli/run_container.hpp"
#include "cli/run_image.hpp"
#include "cli/run_network.hpp"
#include "cli/sizes.hpp"

namespace nagaya::cli {

namespace {

Result<unsigned> parse_count(const std::string& text, std::string_view option) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    return fail(fmt::format("'{}' is no value for {}", text, option), "it must be a whole number");
  return value;
}

std::vector<OptionSpec> options_of_run() {
  std::vector<OptionSpec> out = image_run_options();
  const std::vector<OptionSpec> boot = {
      {"--kernel", "FILE", "kernel to boot: Linux bzImage, ELF (PVH) or multiboot", Completes::file},
      {"--initrd", "FILE", "initial RAM disk", Completes::file},
      {"--append", "TEXT", "kernel command line; parts are joined by blanks (default: console=ttyS0)", Completes::nothing, {}, true, true},
      {"--module", "FILE [ARGS]", "module for a multiboot or PVH kernel, with its arguments", Completes::file, {}, true, true},
      {"--protocol", "NAME", "how the kernel is started: auto, linux64, linux32, pvh, multiboot", Completes::words,
       {"auto", "linux64", "linux32", "pvh", "multiboot"}},
      {"--decompress-in-guest", "", "let a bzImage unpack itself instead of unpacking it here"},
      {"--firmware", "FILE", "firmware image, mapped so that it ends at 4 GiB", Completes::file},
      {"-m,--memory", "SIZE", "guest memory, such as 512M or 2G (default: 256M, of an image's machine 1G); a container's limit (default: none)"},
      {"-c,--cpus", "N", "virtual CPUs (default: 1), of an image's machine also 1.5: two with the time of one and a half; of a container how much CPU time it gets (default: all)"},
      {"--numa-node", "N", "the node of this host whose memory the machine takes while there is some"},
      {"--engine", "NAME", "auto, kvm or soft (default: auto, the one that suits this host)", Completes::words, {"auto", "kvm", "soft"}},
      {"--cpu", "MODEL", "features: portable (default), common to all engines, host (all)",
       Completes::words, {"portable", "common", "host"}},
      {"--code-cache", "SIZE", "bound on the software engine's translated code (default: 128M)"},
      {"--direct-execution", "MODE", "software engine: let programs of the guest run as they are where that pays (auto), never (off), or wherever possible (always)",
       Completes::words, {"auto", "off", "always"}},
      {"--engine-log", "FILE", "at the end, the software engine's counters and translations, readable", Completes::file},
      {"--count-blocks", "", "with --engine-log: count how often each translation runs, which costs speed"},
      {"--perf-map", "", "let perf(1) name the software engine's translations (/tmp/perf-PID.map)"},
  };
  std::ranges::copy(boot, std::back_inserter(out));
  std::ranges::copy(device_options(), std::back_inserter(out));
  std::ranges::copy(network_options(), std::back_inserter(out));
  std::ranges::copy(container_options(), std::back_inserter(out));
  const std::vector<OptionSpec> more = {
      {"--no-reboot", "", "end when the guest resets or triple-faults, instead of starting it again"},
      {"--save-on-signal", "FILE", "SIGUSR1 saves the whole machine to FILE; it goes on", Completes::file},
      {"--save-and-exit", "", "with --save-on-signal: end after saving"},
      {"--restore", "FILE", "start from a saved machine, on either engine", Completes::file},
      {"--control", "SOCKET", "UNIX socket that takes commands as JSON lines (pause, save, quit …)", Completes::file},
      {"--name", "NAME", "name for messages and the process list"},
      {"--dry-run", "", "print the machine's configuration as JSON and do nothing"},
      {"-q,--quiet", "", "no messages about engine and outcome on standard error"},
      {.flags = "IMAGE", .value = "IMAGE [COMMAND…]", .help = "an image of the store ('nagaya images'), and what to run in it", .rest = true},
  };
  std::ranges::copy(more, std::back_inserter(out));
  return out;
}

Result<> take_engine(const Parsed& options, proto::SoftEngineConfig& soft) {
  if (options.has("code-cache")) {
    auto size = parse_size(options.last("code-cache"));
    if (!size) return std::unexpected(std::move(size).error().within("--code-cache"));
    if (*size == 0) return fail("--code-cache 0", "there must be room for code", "give at least 1M");
    soft.code_cache = *size;
  }
  if (options.has("direct-execution")) soft.direct = options.last("direct-execution");
  if (options.has("engine-log") && options.last("engine-log").empty()) return fail("--engine-log", "the path is empty");
  soft.log = options.last("engine-log");
  soft.count_blocks = options.has("count-blocks");
  soft.perf_map = options.has("perf-map");
  if (soft.count_blocks && soft.log.empty()) return fail("--count-blocks", "nothing would show the counts", "give --engine-log FILE, too");
  return {};
}

// What every machine is made of.
Result<> take_common(const Parsed& options, proto::VmConfig& config) {
  if (options.has("memory")) {
    auto size = parse_size(options.last("memory"));
    if (!size) return std::unexpected(std::move(size).error().within("--memory"));
    config.memory = *size;
    // "-m 512" is a habit from elsewhere; the error should say what to type here.
    if (*size < MiB)
      return fail(fmt::format("--memory {}", options.last("memory")), "this is less than 1 MiB; a bare number is bytes",
                  fmt::format("write {}M for MiB", *size));
  }
  if (options.has("cpus")) {
    if (options.has("IMAGE") && options.last("cpus").find('.') != std::string::npos) {
      // The rest of the last one is taken back by a limit (run_image.cpp).
      TRY_ASSIGN(const u64 thousandths, cpu_thousandths(options.last("cpus")));
      config.vcpus = static_cast<unsigned>((thousandths + 999) / 1000);
    } else {
      TRY_ASSIGN(config.vcpus, parse_count(options.last("cpus"), "--cpus"));
    }
  }
  if (options.has("numa-node")) {
    unsigned node = 0;
    const std::string text = options.last("numa-node");
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), node);
    if (error != std::errc{} || end != text.data() + text.size()) return fail(fmt::format("--numa-node {}", text), "it must be a whole number");
    config.numa_node = node;
  }
  if (options.has("engine")) config.engine = options.last("engine");
  if (options.has("cpu")) config.cpu = options.last("cpu");
  TRY(take_engine(options, config.soft));
  for (const std::string& part : options.all("append")) config.append += (config.append.empty() ? "" : " ") + part;
  return devices_from_options(options, config);
}

// A machine made of an image: how it boots is the image's business.
Result<int> run_of_image(const Parsed& options) {
  if (options.has("container")) {
    if (options.has("vm")) return fail("--vm and --container", "it can be run as one of the two");
    if (const std::string other = machine_only_option(options); !other.empty()) return fail(other, "it belongs to virtual machines", "leave --container out");
    return run_container(options);
  }
  TRY_ASSIGN(const proto::VmConfig config, image_machine_from_options(options));
  return run_image(options, config);
}

Result<int> run(const Parsed& options) {
  if (options.has("IMAGE")) return run_of_image(options);
  if (options.has("container")) return fail("--container", "no image is named", "write nagaya run --container IMAGE [COMMAND…]");
  if (const std::string other = container_only_option(options); !other.empty()) return fail(other, "it belongs to containers", "write nagaya run --container IMAGE");
  TRY_ASSIGN(proto::VmConfig config, machine_from_options(options));
  if (options.has("dry-run")) {
    std::string json = config.to_json();
    std::printf("%s\n", json.c_str());
    return 0;
  }
  // Descriptors 3 and 4 are the machine's process's own.
  TRY_ASSIGN(const MachineNetworks networks,
             join_networks(options.all("network"), options.all("publish"), false, options.last("name"), 5, config));
  TRY(config.validate());
  return run_machine(config, {.quiet = options.has("quiet"), .fds = networks.fds});
}

}  // namespace

Result<proto::VmConfig> image_machine_from_options(const Parsed& options) {
  if (const std::string other = container_only_option(options, false); !other.empty()) return fail(other, "it belongs to containers", "give --container, too");
  for (const char* option : {"kernel", "initrd", "firmware", "restore", "protocol", "module", "decompress-in-guest", "control",
                             "save-on-signal", "save-and-exit", "no-reboot", "code-cache", "direct-execution", "engine-log", "count-blocks", "perf-map"}) {
    if (options.has(option)) {
      return fail(fmt::format("--{}", option), fmt::format("it does not go with an image ('{}')", options.all("IMAGE")[0]));
    }
  }
  proto::VmConfig config;
  TRY(take_common(options, config));
  // The machine's console is what its definition does not name.
  if (!options.has("serial")) config.serial.clear();
  return config;
}

Result<proto::VmConfig> machine_from_options(const Parsed& options) {
  proto::VmConfig config;
  config.kernel = options.last("kernel");
  config.initrd = options.last("initrd");
  config.firmware = options.last("firmware");
  config.restore = options.last("restore");
  if (config.kernel.empty() && config.firmware.empty() && config.restore.empty())
    return fail("nothing to run", "neither an image nor --kernel, --firmware or --restore is given", "see 'nagaya help run'");
  for (const OptionSpec& option : image_run_options()) {
    if (options.has(option.key())) return fail(fmt::format("--{}", option.key()), "it goes with an image", "name one, such as 'debian'");
  }
  for (const char* option : {"kernel", "initrd", "firmware", "restore", "save-on-signal", "control"}) {
    if (options.has(option) && options.last(option).empty()) return fail(fmt::format("--{}", option), "the path is empty");
  }
  // Without it a Linux kernel says nothing anywhere.
  if (!options.has("append") && !config.kernel.empty()) config.append = "console=ttyS0";
  config.modules = options.all("module");
  if (options.has("protocol")) config.protocol = options.last("protocol");
  config.decompress_in_guest = options.has("decompress-in-guest");
  TRY(take_common(options, config));
  config.no_reboot = options.has("no-reboot");
  config.save_file = options.last("save-on-signal");
  config.save_then_exit = options.has("save-and-exit");
  if (config.save_then_exit && config.save_file.empty())
    return fail("--save-and-exit", "there is no file to save to", "give --save-on-signal FILE, too");
  config.control = options.last("control");
  if (options.has("name")) config.name = options.last("name");
  TRY(config.validate());
  return config;
}

CommandSpec run_command() {
  return {
      .name = "run",
      .summary = "make and start a virtual machine or a container; its console is this terminal",
      .examples =
          {{"nagaya run debian", "a whole Debian; its root shell is this terminal, Ctrl-] leaves"},
           {"nagaya run --rm debian apt-get --version", "boots, runs the command, and is gone"},
           {"nagaya run -d --name web -m 1G -c 2 -p 8080:80 -v $PWD:/mnt/here debian", "in the background; see exec, logs, stop"},
           {"nagaya run --rm -it --container debian bash", "a shell in a container of the same image"},
           {"nagaya run -d --container --name db -m 512M -v data:/var/lib/db -p 5432:5432 --restart always postgres", "a service that comes back when it fails"},
           {"nagaya run -d --container --init --name vps debian", "a whole system in a container: its init, services, login"},
           {"nagaya run --kernel vmlinuz --initrd initrd.img -m 512M -c 2", "boot only a kernel"},
           {"nagaya run --kernel vmlinuz --append 'console=ttyS0 quiet' --engine soft", "on the software engine, with a command line"},
           {"nagaya run --kernel suite.elf --debug-exit --testdev --no-reboot; echo $?", "run a CPU test suite and see its verdict"},
           {"nagaya run --kernel vmlinuz --save-on-signal vm.state & kill -USR1 $!", "save the whole machine to a file"},
           {"nagaya run --kernel vmlinuz --initrd initrd.img -p 8080:80", "with a network card; port 8080 of this host is the guest's port 80"},
           {"nagaya run --restore vm.state --engine kvm", "and go on from there, also on the other engine"}},
      .options = options_of_run(),
      .sections = {{"Console",
                    "On a terminal every key goes to the guest, also Ctrl-C; Ctrl-] ends the machine and gives the terminal back. "
                    "Without a terminal, standard input is the guest's serial input.",
                    {}},
                   {"Signals", {},
                    {{"SIGUSR1", "save to the file of --save-on-signal"},
                     {"SIGTERM, SIGINT, SIGHUP", "end the machine; the exit code is then 128 + the signal's number"}}}},
      .run = run,
  };
}

}  // namespace nagaya::cli
