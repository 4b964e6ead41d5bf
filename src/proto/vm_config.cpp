#include "proto/vm_config.hpp"

#include <algorithm>
#include <array>

#include "proto/json_fields.hpp"

namespace nagaya::proto {
namespace {

constexpr std::array<std::string_view, 6> char_types = {"null", "stdio", "stdout", "file", "socket", "pty"};
constexpr std::array<std::string_view, 3> engines = {"auto", "kvm", "soft"};
constexpr std::array<std::string_view, 3> cpus = {"portable", "host", "common"};
constexpr std::array<std::string_view, 5> protocols = {"auto", "linux64", "linux32", "pvh", "multiboot"};
constexpr std::array<std::string_view, 2> disk_formats = {"raw", "qcow2"};
constexpr std::size_t most_disks = 16, longest_serial = 20;
constexpr u64 least_memory = 2 * MiB, most_memory = 1024 * GiB;
constexpr unsigned most_vcpus = 255;
constexpr std::size_t most_serial_ports = 4;
constexpr std::size_t longest_append = 64 * KiB - 1, longest_path = 4095;

template <std::size_t N>
Result<> one_of(const char* key, std::string_view value, const std::array<std::string_view, N>& allowed) {
  if (std::ranges::find(allowed, value) != allowed.end()) return {};
  return fail(fmt::format("{} '{}'", key, value), "no such choice", fmt::format("one of {}", fmt::join(allowed, ", ")));
}

Result<> check_path(const char* key, const std::string& path) {
  if (path.size() > longest_path) return fail(fmt::format("{}", key), "the path is too long");
  if (path.find('\0') != std::string::npos) return fail(fmt::format("{}", key), "the path holds a zero byte");
  return {};
}

Result<> check_char(const char* key, const CharConfig& config) {
  const bool needs_path = config.type == CharConfig::Type::file || config.type == CharConfig::Type::socket;
  if (needs_path && config.path.empty()) {
    return fail(key, fmt::format("type '{}' needs a 'path'", char_types[static_cast<std::size_t>(config.type)]));
  }
  if (!needs_path && !config.path.empty()) {
    return fail(key, fmt::format("type '{}' takes no 'path'", char_types[static_cast<std::size_t>(config.type)]));
  }
  return check_path(key, config.path);
}

nlohmann::ordered_json char_json(const CharConfig& config) {
  nlohmann::ordered_json out = {{"type", char_types[static_cast<std::size_t>(config.type)]}};
  if (!config.path.empty()) out["path"] = config.path;
  return out;
}

Result<CharConfig> char_from(const nlohmann::json& value, const std::string& where) {
  if (!value.is_object()) return fail(where, "must be an object with a 'type'");
  Fields fields(value, where);
  CharConfig out;
  std::string type;
  fields.text("type", type);
  fields.text("path", out.path);
  TRY(fields.finish());
  TRY(one_of((where + " type").c_str(), type, char_types));
  out.type = static_cast<CharConfig::Type>(std::ranges::find(char_types, type) - char_types.begin());
  return out;
}

Result<FwCfgItem> fw_cfg_from(const nlohmann::json& value) {
  if (!value.is_object()) return fail("fw_cfg", "each item must be an object");
  Fields fields(value, "fw_cfg");
  FwCfgItem out;
  std::string text;
  fields.text("name", out.name);
  fields.text("file", out.file);
  if (value.contains("string")) {
    fields.text("string", text);
    out.text = text;
  }
  TRY(fields.finish());
  return out;
}

nlohmann::ordered_json disk_json(const DiskConfig& disk) {
  nlohmann::ordered_json out = {{"path", disk.path}, {"format", disk.format}, {"readonly", disk.read_only}};
  if (!disk.serial.empty()) out["serial"] = disk.serial;
  return out;
}

Result<DiskConfig> disk_from(const nlohmann::json& value) {
  if (!value.is_object()) return fail("disks", "each must be an object");
  Fields fields(value, "disks");
  DiskConfig out;
  fields.text("path", out.path);
  fields.text("format", out.format);
  fields.flag("readonly", out.read_only);
  fields.text("serial", out.serial);
  TRY(fields.finish());
  return out;
}

Result<> check_disks(const std::vector<DiskConfig>& disks) {
  if (disks.size() > most_disks) return fail("disks", fmt::format("more than {}", most_disks));
  for (const DiskConfig& disk : disks) {
    if (disk.path.empty()) return fail("disks", "a disk needs a 'path'");
    TRY(check_path("disks", disk.path));
    TRY(one_of("disk format", disk.format, disk_formats));
    if (disk.serial.size() > longest_serial || !std::ranges::all_of(disk.serial, [](char c) { return c > ' ' && c < 127; })) {
      return fail("disk serial", "at most 20 printable characters");
    }
  }
  return {};
}

bool plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name[0] != '-' && name[0] != '.' &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

Result<> check_devices(const VmConfig& c) {
  if (c.serial.size() > most_serial_ports) return fail("serial", "a PC has at most 4 ports");
  int interactive = 0;
  for (const CharConfig& port : c.serial) {
    TRY(check_char("serial", port));
    if (port.type == CharConfig::Type::stdio) ++interactive;
  }
  if (interactive > 1) return fail("serial", "only one port can have standard input");
  if (c.debug_console) {
    TRY(check_char("debug_console", *c.debug_console));
    const auto type = c.debug_console->type;
    if (type == CharConfig::Type::socket || type == CharConfig::Type::pty) {
      return fail("debug_console", "it has output only: null, stdio, stdout or file");
    }
  }
  TRY(check_disks(c.disks));
  for (const FwCfgItem& item : c.fw_cfg) {
    if (item.name.empty() || item.name.size() > 55 || item.name.find('\0') != std::string::npos) {
      return fail(fmt::format("fw_cfg name '{}'", item.name), "it must have 1 to 55 characters");
    }
    if (item.text.has_value() == !item.file.empty()) {
      return fail(fmt::format("fw_cfg item '{}'", item.name), "it needs either 'string' or 'file'");
    }
    TRY(check_path("fw_cfg file", item.file));
  }
  return {};
}

}  // namespace

Result<> VmConfig::validate() const {
  if (!plain_name(name)) {
    return fail(fmt::format("name '{}'", name), "1 to 64 letters, digits, '-', '_', '.', beginning with none of the marks");
  }
  if (memory < least_memory || memory > most_memory || memory % MiB != 0) {
    return fail(fmt::format("memory of {} bytes", memory), "it must be whole MiB, from 2 MiB to 1 TiB");
  }
  if (vcpus < 1 || vcpus > most_vcpus) return fail(fmt::format("{} vCPUs", vcpus), "it must be 1 to 255");
  TRY(one_of("engine", engine, engines));
  TRY(one_of("cpu", cpu, cpus));
  TRY(one_of("protocol", protocol, protocols));
  if (kernel.empty() && firmware.empty() && restore.empty()) {
    return fail("nothing to start", "neither kernel, firmware nor a saved machine is given");
  }
  if (kernel.empty() && restore.empty() && (!initrd.empty() || !append.empty() || !modules.empty())) {
    return fail("initrd, append and modules", "they need a kernel");
  }
  if (append.size() > longest_append || append.find('\0') != std::string::npos) {
    return fail("append", "longer than 65535 bytes, or it holds a zero byte");
  }
  for (const auto& [key, path] : {std::pair{"kernel", &kernel}, {"initrd", &initrd}, {"firmware", &firmware},
                                  {"restore", &restore}, {"save_file", &save_file}, {"control", &control}}) {
    TRY(check_path(key, *path));
  }
  for (const std::string& module : modules) TRY(check_path("modules", module));
  return check_devices(*this);
}

std::string VmConfig::to_json() const {
  nlohmann::ordered_json out = {{"name", name}, {"memory", memory}, {"vcpus", vcpus}, {"engine", engine}, {"cpu", cpu}};
  const auto text = [&](const char* key, const std::string& value) {
    if (!value.empty()) out[key] = value;
  };
  text("kernel", kernel);
  text("initrd", initrd);
  text("append", append);
  if (!modules.empty()) out["modules"] = modules;
  out["protocol"] = protocol;
  out["decompress_in_guest"] = decompress_in_guest;
  text("firmware", firmware);
  text("restore", restore);
  out["serial"] = nlohmann::ordered_json::array();
  for (const CharConfig& port : serial) out["serial"].push_back(char_json(port));
  if (debug_console) out["debug_console"] = char_json(*debug_console);
  out["debug_exit"] = debug_exit;
  out["testdev"] = testdev;
  out["no_reboot"] = no_reboot;
  if (!disks.empty()) {
    out["disks"] = nlohmann::ordered_json::array();
    for (const DiskConfig& disk : disks) out["disks"].push_back(disk_json(disk));
  }
  if (rng) out["rng"] = true;
  if (!fw_cfg.empty()) {
    out["fw_cfg"] = nlohmann::ordered_json::array();
    for (const FwCfgItem& item : fw_cfg) {
      nlohmann::ordered_json one = {{"name", item.name}};
      if (item.text) one["string"] = *item.text;
      if (!item.file.empty()) one["file"] = item.file;
      out["fw_cfg"].push_back(std::move(one));
    }
  }
  text("save_file", save_file);
  out["save_then_exit"] = save_then_exit;
  text("control", control);
  return print(out, 1);
}

Result<VmConfig> VmConfig::from_json(std::string_view text) {
  TRY_ASSIGN(const auto object, parse_object(text, "machine configuration"));
  Fields fields(object, "machine configuration");
  VmConfig out;
  fields.text("name", out.name);
  fields.number("memory", out.memory);
  fields.number("vcpus", out.vcpus);
  fields.text("engine", out.engine);
  fields.text("cpu", out.cpu);
  fields.text("kernel", out.kernel);
  fields.text("initrd", out.initrd);
  fields.text("append", out.append);
  fields.texts("modules", out.modules);
  fields.text("protocol", out.protocol);
  fields.flag("decompress_in_guest", out.decompress_in_guest);
  fields.text("firmware", out.firmware);
  fields.text("restore", out.restore);
  if (const auto* ports = fields.take("serial")) {
    if (!ports->is_array()) return fail("machine configuration", "'serial' must be a list");
    for (const auto& port : *ports) {
      TRY_ASSIGN(auto one, char_from(port, "serial"));
      out.serial.push_back(std::move(one));
    }
  }
  if (const auto* console = fields.take("debug_console")) {
    TRY_ASSIGN(out.debug_console, char_from(*console, "debug_console"));
  }
  fields.flag("debug_exit", out.debug_exit);
  fields.flag("testdev", out.testdev);
  fields.flag("no_reboot", out.no_reboot);
  if (const auto* disks = fields.take("disks")) {
    if (!disks->is_array()) return fail("machine configuration", "'disks' must be a list");
    for (const auto& disk : *disks) {
      TRY_ASSIGN(auto one, disk_from(disk));
      out.disks.push_back(std::move(one));
    }
  }
  fields.flag("rng", out.rng);
  if (const auto* items = fields.take("fw_cfg")) {
    if (!items->is_array()) return fail("machine configuration", "'fw_cfg' must be a list");
    for (const auto& item : *items) {
      TRY_ASSIGN(auto one, fw_cfg_from(item));
      out.fw_cfg.push_back(std::move(one));
    }
  }
  fields.text("save_file", out.save_file);
  fields.flag("save_then_exit", out.save_then_exit);
  fields.text("control", out.control);
  TRY(fields.finish());
  TRY(out.validate());
  return out;
}

}  // namespace nagaya::proto
