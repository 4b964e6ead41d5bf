#include "cli/run_command.hpp"

#include <fmt/core.h>

#include <charconv>
#include <cstdio>

#include "cli/launch.hpp"
#include "cli/sizes.hpp"

namespace nagaya::cli {

namespace {

using proto::CharConfig;

// "stdio", "stdout", "null", "pty", "file:PATH", "unix:PATH".
Result<CharConfig> parse_char_device(const std::string& text, std::string_view option) {
  using Type = CharConfig::Type;
  if (text == "stdio") return CharConfig{Type::stdio};
  if (text == "stdout") return CharConfig{Type::stdout_only};
  if (text == "null" || text == "none") return CharConfig{Type::none};
  if (text == "pty") return CharConfig{Type::pty};
  for (auto [prefix, type] : {std::pair{"file:", Type::file}, std::pair{"unix:", Type::socket}}) {
    if (!text.starts_with(prefix)) continue;
    std::string path = text.substr(std::string_view(prefix).size());
    if (path.empty()) return fail(fmt::format("{} {}", option, text), "a path must follow the colon");
    return CharConfig{type, path};
  }
  return fail(fmt::format("'{}' is no value for {}", text, option), {}, "use stdio, stdout, null, pty, file:PATH or unix:PATH");
}

Result<unsigned> parse_count(const std::string& text, std::string_view option) {
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    return fail(fmt::format("'{}' is no value for {}", text, option), "it must be a whole number");
  return value;
}

// "name=opt/x,string=v" or "name=opt/x,file=path"; the content may hold commas, so that it comes last.
Result<proto::FwCfgItem> parse_fw_cfg(const std::string& text) {
  auto bad = [&](const char* why) { return fail(fmt::format("--fw-cfg {}", text), why, "write name=opt/x,string=v or name=opt/x,file=path"); };
  if (!text.starts_with("name=")) return bad("it does not begin with name=");
  std::size_t comma = text.find(',');
  if (comma == std::string::npos) return bad("string= or file= is missing");
  proto::FwCfgItem item{.name = text.substr(5, comma - 5)};
  std::string rest = text.substr(comma + 1);
  if (rest.starts_with("string=")) {
    item.text = rest.substr(7);
  } else if (rest.starts_with("file=")) {
    item.file = rest.substr(5);
  } else {
    return bad("string= or file= is missing");
  }
  return item;
}

// "path=disk.qcow2,format=qcow2,readonly=on,serial=x". A path with a comma in it: write the comma twice.
Result<proto::DiskConfig> parse_disk(const std::string& text) {
  const auto bad = [&](std::string why) {
    return fail(fmt::format("--disk {}", text), std::move(why), "write path=FILE,format=raw|qcow2,readonly=on|off,serial=TEXT");
  };
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  proto::DiskConfig disk;
  bool stated = false;
  for (const std::string& part : parts) {
    const std::size_t equals = part.find('=');
    const std::string key = part.substr(0, equals), value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (key == "path") {
      disk.path = value;
    } else if (key == "format") {
      disk.format = value;
      stated = true;
    } else if (key == "readonly" && (value == "on" || value == "off")) {
      disk.read_only = value == "on";
    } else if (key == "serial") {
      disk.serial = value;
    } else {
      return bad(fmt::format("'{}' is not understood", part));
    }
  }
  if (disk.path.empty()) return bad("path= is missing");
  if (!stated) return bad("format= is missing; it is never guessed, because a guest may have written what looks like another");
  return disk;
}

Result<int> run(const Parsed& options) {
  TRY_ASSIGN(proto::VmConfig config, machine_from_options(options));
  if (options.has("dry-run")) {
    std::string json = config.to_json();
    std::printf("%s\n", json.c_str());
    return 0;
  }
  return run_machine(config, options.has("quiet"));
}

std::vector<OptionSpec> options_of_run() {
  const std::string char_devices = "stdio, stdout, null, pty, file:PATH or unix:PATH";
  return {
      {"--kernel", "FILE", "kernel to boot: Linux bzImage, ELF (PVH) or multiboot", Completes::file},
      {"--initrd", "FILE", "initial RAM disk", Completes::file},
      {"--append", "TEXT", "kernel command line; parts are joined by blanks (default: console=ttyS0)", Completes::nothing, {}, true, true},
      {"--module", "FILE [ARGS]", "module for a multiboot or PVH kernel, with its arguments", Completes::file, {}, true, true},
      {"--protocol", "NAME", "how the kernel is started: auto, linux64, linux32, pvh, multiboot", Completes::words,
       {"auto", "linux64", "linux32", "pvh", "multiboot"}},
      {"--decompress-in-guest", "", "let a bzImage unpack itself instead of unpacking it here"},
      {"--firmware", "FILE", "firmware image, mapped so that it ends at 4 GiB", Completes::file},
      {"-m,--memory", "SIZE", "guest memory, such as 512M or 2G (default: 256M)"},
      {"-c,--cpus", "N", "virtual CPUs (default: 1)"},
      {"--engine", "NAME", "auto, kvm or soft (default: auto, the one that suits this host)", Completes::words, {"auto", "kvm", "soft"}},
      {"--cpu", "MODEL", "features: portable (default), common to all engines, host (all)",
       Completes::words, {"portable", "common", "host"}},
      {"--serial", "WHERE", "serial port, the first by default stdio: " + char_devices, Completes::words,
       {"stdio", "stdout", "null", "pty", "file:", "unix:"}, false, true},
      {"--debug-console", "WHERE", "debug console at port E9h: " + char_devices, Completes::words,
       {"stdio", "stdout", "null", "pty", "file:", "unix:"}, false},
      {"--debug-exit", "", "port F4h ends the machine: value v gives exit code (v << 1) | 1"},
      {"--testdev", "", "test device for CPU test suites (interface of QEMU's pc-testdev)"},
      {"--disk", "DISK", "virtio disk: path=FILE,format=raw|qcow2[,readonly=on][,serial=TEXT]", Completes::nothing, {}, false, true},
      {"--rng", "", "virtio entropy device, fed by the host"},
      {"--fw-cfg", "ITEM", "firmware configuration item: name=opt/x,string=v or name=opt/x,file=path", Completes::nothing, {}, true, true},
      {"--no-reboot", "", "end when the guest resets or triple-faults, instead of starting it again"},
      {"--save-on-signal", "FILE", "SIGUSR1 saves the whole machine to FILE; it goes on", Completes::file},
      {"--save-and-exit", "", "with --save-on-signal: end after saving"},
      {"--restore", "FILE", "start from a saved machine, on either engine", Completes::file},
      {"--control", "SOCKET", "UNIX socket that takes commands as JSON lines (pause, save, quit …)", Completes::file},
      {"--name", "NAME", "name for messages and the process list"},
      {"--dry-run", "", "print the machine's configuration as JSON and do nothing"},
      {"-q,--quiet", "", "no messages about engine and outcome on standard error"},
  };
}

}  // namespace

Result<proto::VmConfig> machine_from_options(const Parsed& options) {
  proto::VmConfig config;
  config.kernel = options.last("kernel");
  config.initrd = options.last("initrd");
  config.firmware = options.last("firmware");
  config.restore = options.last("restore");
  if (config.kernel.empty() && config.firmware.empty() && config.restore.empty())
    return fail("nothing to run", "neither --kernel, --firmware nor --restore is given", "see 'nagaya help run'");
  for (const char* option : {"kernel", "initrd", "firmware", "restore", "save-on-signal", "control"}) {
    if (options.has(option) && options.last(option).empty()) return fail(fmt::format("--{}", option), "the path is empty");
  }

  for (const std::string& part : options.all("append")) config.append += (config.append.empty() ? "" : " ") + part;
  // Without it a Linux kernel says nothing anywhere.
  if (!options.has("append") && !config.kernel.empty()) config.append = "console=ttyS0";
  config.modules = options.all("module");
  if (options.has("protocol")) config.protocol = options.last("protocol");
  config.decompress_in_guest = options.has("decompress-in-guest");

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
    TRY_ASSIGN(config.vcpus, parse_count(options.last("cpus"), "--cpus"));
  }
  if (options.has("engine")) config.engine = options.last("engine");
  if (options.has("cpu")) config.cpu = options.last("cpu");

  for (const std::string& where : options.all("serial")) {
    TRY_ASSIGN(CharConfig port, parse_char_device(where, "--serial"));
    config.serial.push_back(std::move(port));
  }
  if (!options.has("serial")) config.serial.push_back({CharConfig::Type::stdio});
  if (options.has("debug-console")) {
    TRY_ASSIGN(config.debug_console, parse_char_device(options.last("debug-console"), "--debug-console"));
  }
  config.debug_exit = options.has("debug-exit");
  config.testdev = options.has("testdev");
  for (const std::string& text : options.all("disk")) {
    TRY_ASSIGN(proto::DiskConfig disk, parse_disk(text));
    config.disks.push_back(std::move(disk));
  }
  config.rng = options.has("rng");
  for (const std::string& text : options.all("fw-cfg")) {
    TRY_ASSIGN(proto::FwCfgItem item, parse_fw_cfg(text));
    config.fw_cfg.push_back(std::move(item));
  }
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
      .summary = "start a virtual machine; its console is this terminal",
      .examples =
          {{"nagaya run --kernel vmlinuz --initrd initrd.img -m 512M -c 2", "boot Linux; Ctrl-] leaves"},
           {"nagaya run --kernel vmlinuz --append 'console=ttyS0 quiet' --engine soft", "on the software engine, with a command line"},
           {"nagaya run --kernel suite.elf --debug-exit --testdev --no-reboot; echo $?", "run a CPU test suite and see its verdict"},
           {"nagaya run --kernel vmlinuz --save-on-signal vm.state & kill -USR1 $!", "save the whole machine to a file"},
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
