#include "proto/device_config.hpp"

#include <algorithm>
#include <array>

#include "proto/json_fields.hpp"

namespace nagaya::proto {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 6> char_types = {"null", "stdio", "stdout", "file", "socket", "pty"};
constexpr std::array<std::string_view, 2> disk_formats = {"raw", "qcow2"}, ring_kinds = {"packed", "split"};
constexpr std::array<std::string_view, 3> disk_methods = {"auto", "threads", "io_uring"};
constexpr std::size_t most_disks = 16, longest_serial = 20, most_serial_ports = 4, most_nets = 8, most_consoles = 16,
                      most_shares = 16, most_pmems = 8, longest_tag = 36, longest_interface = 15, most_backing = 64;
constexpr unsigned most_pairs = 8, least_mtu = 68, most_mtu = 65535;
constexpr std::size_t longest_path = 4095, longest_socket = 107;
// Room for "_4294967295" behind it.
constexpr std::size_t longest_vsock = longest_socket - 11;

bool printable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 127; });
}

// ---- One device each: to JSON, from JSON, what is wrong with it. ----

Json to_json(const CharConfig& config) {
  Json out = {{"type", char_types[static_cast<std::size_t>(config.type)]}};
  if (!config.path.empty()) out["path"] = config.path;
  return out;
}

Result<> take(Fields& fields, CharConfig& out) {
  std::string type;
  fields.text("type", type);
  fields.text("path", out.path);
  const auto found = std::ranges::find(char_types, type);
  if (found == char_types.end()) {
    return fail(fmt::format("type '{}'", type), "no such choice", fmt::format("one of {}", fmt::join(char_types, ", ")));
  }
  out.type = static_cast<CharConfig::Type>(found - char_types.begin());
  return {};
}

Result<> check(const char* key, const CharConfig& config) {
  const bool needs_path = config.type == CharConfig::Type::file || config.type == CharConfig::Type::socket;
  if (needs_path == config.path.empty()) {
    return fail(key, fmt::format("type '{}' {} a 'path'", char_types[static_cast<std::size_t>(config.type)],
                                 needs_path ? "needs" : "does not take"));
  }
  return check_path(key, config.path);
}

Json to_json(const FwCfgItem& item) {
  Json out = {{"name", item.name}};
  if (item.text) out["string"] = *item.text;
  if (!item.file.empty()) out["file"] = item.file;
  return out;
}

Result<> take(Fields& fields, FwCfgItem& out) {
  fields.text("name", out.name);
  fields.text("file", out.file);
  std::string text;
  if (fields.text("string", text)) out.text = text;
  return {};
}

Result<> check(const char*, const FwCfgItem& item) {
  if (item.name.empty() || item.name.size() > 55 || item.name.find('\0') != std::string::npos) {
    return fail(fmt::format("fw_cfg name '{}'", item.name), "it must have 1 to 55 characters");
  }
  if (item.text.has_value() == !item.file.empty()) {
    return fail(fmt::format("fw_cfg item '{}'", item.name), "it needs either 'string' or 'file'");
  }
  return check_path("fw_cfg file", item.file);
}

Json to_json(const DiskConfig& disk) {
  Json out = {{"path", disk.path}, {"format", disk.format}, {"readonly", disk.read_only}};
  if (!disk.serial.empty()) out["serial"] = disk.serial;
  if (!disk.backing.empty()) out["backing"] = disk.backing;
  if (disk.io != "auto") out["io"] = disk.io;
  if (disk.ring != "packed") out["ring"] = disk.ring;
  for (const auto& [key, value] : {std::pair{"iops", disk.limits.iops}, {"iops_burst", disk.limits.iops_burst},
                                   {"bps", disk.limits.bps}, {"bps_burst", disk.limits.bps_burst}}) {
    if (value != 0) out[key] = value;
  }
  return out;
}

Result<> take(Fields& fields, DiskConfig& out) {
  fields.text("path", out.path);
  fields.text("format", out.format);
  fields.flag("readonly", out.read_only);
  fields.text("serial", out.serial);
  fields.texts("backing", out.backing);
  fields.text("io", out.io);
  fields.text("ring", out.ring);
  fields.number("iops", out.limits.iops);
  fields.number("iops_burst", out.limits.iops_burst);
  fields.number("bps", out.limits.bps);
  fields.number("bps_burst", out.limits.bps_burst);
  return {};
}

Result<> check(const char* key, const DiskConfig& disk) {
  if (disk.path.empty()) return fail(key, "a disk needs a 'path'");
  TRY(check_path(key, disk.path));
  if (std::ranges::find(disk_formats, disk.format) == disk_formats.end()) {
    return fail(fmt::format("disk format '{}'", disk.format), "no such choice", fmt::format("one of {}", fmt::join(disk_formats, ", ")));
  }
  if (std::ranges::find(disk_methods, disk.io) == disk_methods.end()) {
    return fail(fmt::format("disk io '{}'", disk.io), "no such choice", fmt::format("one of {}", fmt::join(disk_methods, ", ")));
  }
  if (disk.io == "io_uring" && disk.format != "raw") return fail("disk io 'io_uring'", "only raw images use it");
  if (std::ranges::find(ring_kinds, disk.ring) == ring_kinds.end()) {
    return fail(fmt::format("disk ring '{}'", disk.ring), "no such choice", fmt::format("one of {}", fmt::join(ring_kinds, ", ")));
  }
  if (disk.serial.size() > longest_serial || !printable(disk.serial)) return fail("disk serial", "at most 20 printable characters");
  if (disk.backing.size() > most_backing) return fail(key, fmt::format("more than {} places for backing files", most_backing));
  for (const std::string& place : disk.backing) TRY(check_path("disk backing", place));
  if ((disk.limits.iops == 0 && disk.limits.iops_burst != 0) || (disk.limits.bps == 0 && disk.limits.bps_burst != 0)) {
    return fail(key, "a burst needs a limit");
  }
  return {};
}

Json to_json(const NetConfig& net) {
  Json out = Json::object();
  if (net.fd >= 0) out["fd"] = net.fd;
  if (!net.socket.empty()) out["socket"] = net.socket;
  if (!net.tap.empty()) out["tap"] = net.tap;
  if (!net.mac.empty()) out["mac"] = net.mac;
  if (net.mtu != 0) out["mtu"] = net.mtu;
  out["queues"] = net.queues;
  if (net.rate_in != 0) out["rate_in"] = net.rate_in;
  if (net.rate_out != 0) out["rate_out"] = net.rate_out;
  return out;
}

Result<> take(Fields& fields, NetConfig& out) {
  fields.number("fd", out.fd);
  fields.text("socket", out.socket);
  fields.text("tap", out.tap);
  fields.text("mac", out.mac);
  fields.number("mtu", out.mtu);
  fields.number("queues", out.queues);
  fields.number("rate_in", out.rate_in);
  fields.number("rate_out", out.rate_out);
  return {};
}

/// An individual address: six hexadecimal bytes with colons, the multicast bit clear.
bool good_mac(std::string_view mac) {
  if (mac.size() != 17) return false;
  for (std::size_t i = 0; i < mac.size(); ++i) {
    if (i % 3 == 2 ? mac[i] != ':' : !std::isxdigit(static_cast<unsigned char>(mac[i]))) return false;
  }
  return std::string_view("02468aceACE").find(mac[1]) != std::string_view::npos;
}

Result<> check(const char* key, const NetConfig& net) {
  if ((net.fd >= 0) + !net.socket.empty() + !net.tap.empty() != 1) {
    return fail(key, "each card needs exactly one of 'fd', 'socket' and 'tap'");
  }
  TRY(check_path(key, net.socket));
  if (net.socket.size() > longest_socket) return fail(key, fmt::format("the socket's path has more than {} bytes", longest_socket));
  if (net.tap.size() > longest_interface || !printable(net.tap) || net.tap.find('/') != std::string::npos) {
    return fail(fmt::format("tap '{}'", net.tap), "an interface's name has 1 to 15 printable characters without '/'");
  }
  if (!net.mac.empty() && !good_mac(net.mac)) {
    return fail(fmt::format("MAC address '{}'", net.mac), "it must be six bytes like 52:54:00:12:34:56, no multicast address");
  }
  if (net.mtu != 0 && (net.mtu < least_mtu || net.mtu > most_mtu)) return fail(fmt::format("MTU {}", net.mtu), "it must be 68 to 65535");
  if (net.queues < 1 || net.queues > most_pairs) return fail(fmt::format("{} queue pairs", net.queues), "it must be 1 to 8");
  if (net.queues > 1 && net.tap.empty()) return fail(key, "more than one queue pair needs a 'tap'");
  return {};
}

Json to_json(const ConsoleConfig& console) {
  Json out = to_json(console.where);
  if (!console.name.empty()) out["name"] = console.name;
  out["terminal"] = console.terminal;
  return out;
}

Result<> take(Fields& fields, ConsoleConfig& out) {
  TRY(take(fields, out.where));
  fields.text("name", out.name);
  fields.flag("terminal", out.terminal);
  return {};
}

Result<> check(const char* key, const ConsoleConfig& console) {
  TRY(check(key, console.where));
  if (!console.name.empty() && !plain_name(console.name)) return fail(fmt::format("console name '{}'", console.name), "letters, digits, '-', '_' and '.'");
  if (!console.terminal && console.name.empty()) return fail(key, "a port that is no terminal needs a 'name'");
  return {};
}

Json to_json(const VsockConfig& vsock) { return {{"cid", vsock.cid}, {"path", vsock.path}}; }

Result<> take(Fields& fields, VsockConfig& out) {
  fields.number("cid", out.cid);
  fields.text("path", out.path);
  return {};
}

Result<> check(const char* key, const VsockConfig& vsock) {
  if (vsock.cid < 3 || vsock.cid >= 0xffff'ffff) return fail(fmt::format("vsock CID {}", vsock.cid), "it must be 3 to 4294967294");
  if (vsock.path.empty()) return fail(key, "it needs a 'path'");
  TRY(check_path(key, vsock.path));
  if (vsock.path.size() > longest_vsock) return fail(key, fmt::format("the path has more than {} bytes", longest_vsock));
  return {};
}

Json to_json(const ShareConfig& share) { return {{"tag", share.tag}, {"path", share.path}, {"readonly", share.read_only}}; }

Result<> take(Fields& fields, ShareConfig& out) {
  fields.text("tag", out.tag);
  fields.text("path", out.path);
  fields.flag("readonly", out.read_only);
  return {};
}

Result<> check(const char* key, const ShareConfig& share) {
  if (share.tag.empty() || share.tag.size() > longest_tag || !printable(share.tag)) {
    return fail(fmt::format("share tag '{}'", share.tag), "it must have 1 to 36 printable characters");
  }
  if (share.path.empty()) return fail(key, "a share needs a 'path'");
  return check_path(key, share.path);
}

Json to_json(const PmemConfig& pmem) { return {{"path", pmem.path}, {"readonly", pmem.read_only}}; }

Result<> take(Fields& fields, PmemConfig& out) {
  fields.text("path", out.path);
  fields.flag("readonly", out.read_only);
  return {};
}

Result<> check(const char* key, const PmemConfig& pmem) {
  if (pmem.path.empty()) return fail(key, "a persistent memory needs a 'path'");
  return check_path(key, pmem.path);
}

Json to_json(const BalloonConfig& balloon) {
  return {{"deflate_on_oom", balloon.deflate_on_oom}, {"free_page_reporting", balloon.free_page_reporting}};
}

Result<> take(Fields& fields, BalloonConfig& out) {
  fields.flag("deflate_on_oom", out.deflate_on_oom);
  fields.flag("free_page_reporting", out.free_page_reporting);
  return {};
}

// ---- Lists and options of them. ----

template <class T>
Result<T> one_from(const nlohmann::json& value, const char* key) {
  if (!value.is_object()) return fail(key, "each must be an object");
  Fields fields(value, key);
  T out;
  TRY(take(fields, out));
  TRY(fields.finish());
  return out;
}

template <class T>
void put_list(Json& out, const char* key, const std::vector<T>& list) {
  if (list.empty()) return;
  out[key] = Json::array();
  for (const T& item : list) out[key].push_back(to_json(item));
}

template <class T>
Result<> take_list(Fields& fields, const char* key, std::vector<T>& out) {
  const auto* list = fields.take(key);
  if (list == nullptr) return {};
  if (!list->is_array()) return fail(key, "it must be a list");
  for (const auto& item : *list) {
    TRY_ASSIGN(T one, one_from<T>(item, key));
    out.push_back(std::move(one));
  }
  return {};
}

template <class T>
void put_optional(Json& out, const char* key, const std::optional<T>& item) {
  if (item) out[key] = to_json(*item);
}

template <class T>
Result<> take_optional(Fields& fields, const char* key, std::optional<T>& out) {
  if (const auto* item = fields.take(key)) {
    TRY_ASSIGN(out, one_from<T>(*item, key));
  }
  return {};
}

template <class T>
Result<> check_list(const char* key, const std::vector<T>& list, std::size_t most) {
  if (list.size() > most) return fail(key, fmt::format("more than {}", most));
  for (const T& item : list) TRY(check(key, item));
  return {};
}

/// Standard input can go to one place.
Result<> check_interactive(const DeviceConfig& devices) {
  const auto is_stdio = [](const CharConfig& where) { return where.type == CharConfig::Type::stdio; };
  const auto count = std::ranges::count_if(devices.serial, is_stdio) +
                     std::ranges::count_if(devices.consoles, is_stdio, &ConsoleConfig::where);
  if (count > 1) return fail("serial and consoles", "only one port can have standard input");
  return {};
}

}  // namespace

bool plain_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name[0] != '-' && name[0] != '.' &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

Result<> check_path(const char* key, const std::string& path) {
  if (path.size() > longest_path) return fail(key, "the path is too long");
  if (path.find('\0') != std::string::npos) return fail(key, "the path holds a zero byte");
  return {};
}

Result<> DeviceConfig::validate_devices() const {
  TRY(check_list("serial", serial, most_serial_ports));
  TRY(check_interactive(*this));
  if (debug_console) {
    TRY(check("debug_console", *debug_console));
    const auto type = debug_console->type;
    if (type == CharConfig::Type::socket || type == CharConfig::Type::pty) {
      return fail("debug_console", "it has output only: null, stdio, stdout or file");
    }
  }
  TRY(check_list("disks", disks, most_disks));
  TRY(check_list("fw_cfg", fw_cfg, 4096));
  TRY(check_list("nets", nets, most_nets));
  TRY(check_list("consoles", consoles, most_consoles));
  if (vsock) TRY(check("vsock", *vsock));
  TRY(check_list("shares", shares, most_shares));
  for (auto share = shares.begin(); share != shares.end(); ++share) {
    if (std::find_if(shares.begin(), share, [&](const ShareConfig& other) { return other.tag == share->tag; }) != share) {
      return fail(fmt::format("share tag '{}'", share->tag), "two shares have it; the guest could not tell them apart");
    }
  }
  return check_list("pmems", pmems, most_pmems);
}

void put_devices(Json& out, const DeviceConfig& devices) {
  out["serial"] = Json::array();
  for (const CharConfig& port : devices.serial) out["serial"].push_back(to_json(port));
  put_optional(out, "debug_console", devices.debug_console);
  out["debug_exit"] = devices.debug_exit;
  out["testdev"] = devices.testdev;
  put_list(out, "disks", devices.disks);
  if (devices.rng) out["rng"] = true;
  put_list(out, "fw_cfg", devices.fw_cfg);
  put_list(out, "nets", devices.nets);
  put_list(out, "consoles", devices.consoles);
  put_optional(out, "vsock", devices.vsock);
  put_list(out, "shares", devices.shares);
  put_list(out, "pmems", devices.pmems);
  put_optional(out, "balloon", devices.balloon);
}

Result<> take_devices(Fields& fields, DeviceConfig& devices) {
  TRY(take_list(fields, "serial", devices.serial));
  TRY(take_optional(fields, "debug_console", devices.debug_console));
  fields.flag("debug_exit", devices.debug_exit);
  fields.flag("testdev", devices.testdev);
  TRY(take_list(fields, "disks", devices.disks));
  fields.flag("rng", devices.rng);
  TRY(take_list(fields, "fw_cfg", devices.fw_cfg));
  TRY(take_list(fields, "nets", devices.nets));
  TRY(take_list(fields, "consoles", devices.consoles));
  TRY(take_optional(fields, "vsock", devices.vsock));
  TRY(take_list(fields, "shares", devices.shares));
  TRY(take_list(fields, "pmems", devices.pmems));
  return take_optional(fields, "balloon", devices.balloon);
}

}  // namespace nagaya::proto
