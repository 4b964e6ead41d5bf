// Serial ports, consoles and channels.
#include <optional>

#include "definition/libvirt/parts.hpp"
#include "proto/device_config.hpp"

namespace nagaya::definition::libvirt {
namespace {

/// Where a port leads; nothing: not to what we have, and that is noted.
Result<std::optional<Json>> place_of(const Element& port) {
  const std::string type = port.attribute("type");
  const Element source = port.child("source");
  port.harmless_children({"alias", "address", "protocol"});
  if (type == "pty" || type.empty()) {
    source.harmless();  // its number of the moment
    port.harmless("tty");
    return Json{{"type", "pty"}};
  }
  if (type == "null" || type == "stdio") return Json{{"type", type}};
  if (type == "file") {
    TRY_ASSIGN(const std::string path, source.file("path"));
    source.harmless("append", {"off"});
    return Json{{"type", "file"}, {"path", path}};
  }
  if (type == "unix" && source.attribute("mode") == "bind" && source.has("path")) {
    TRY_ASSIGN(const std::string path, source.file("path"));
    if (path.size() > 107) return source.bad_attribute("path", "the path of a socket has at most 107 bytes");
    return Json{{"type", "socket"}, {"path", path}};
  }
  port.leave(type == "unix" ? "without a path of its own, or not listening" : "");
  return std::nullopt;
}

bool is_debug_console(const Element& serial) { return serial.child("target").child("model").attribute("name") == "isa-debugcon"; }

Result<> read_debug_console(const Element& serial, Json& hardware) {
  TRY_ASSIGN(auto place, place_of(serial));
  if (!place) return {};
  if (const std::string type = (*place)["type"]; type == "pty" || type == "socket") {
    serial.leave("it has output only");
    return {};
  }
  serial.child("target").harmless();
  hardware["debugConsole"] = std::move(*place);
  return {};
}

/// What virsh calls the console is ours: the log and the terminal of a machine.
Result<> read_serials(const std::vector<Element>& ports, Json& hardware) {
  Json list = Json::array();
  bool usual = false;
  for (const Element& port : ports) {
    if (is_debug_console(port)) {
      TRY(read_debug_console(port, hardware));
      continue;
    }
    TRY_ASSIGN(auto place, place_of(port));
    if (!place) continue;
    const Element target = port.child("target");
    target.harmless("port");
    target.harmless("type", {"isa-serial", "serial"});
    target.child("model").harmless("name", {"isa-serial"});
    if (list.size() == 4) return port.bad("a machine has at most 4 serial ports");
    if (list.empty() && (*place)["type"] == "pty" && port.child("alias").attribute("name") != terminal_alias) {
      usual = true;
      place = Json{{"type", "stdio"}};
    }
    list.push_back(std::move(*place));
  }
  if (!list.empty() && !(usual && list.size() == 1)) hardware["serial"] = std::move(list);
  return {};
}

Result<> read_virtio_port(const Element& port, bool terminal, Json& hardware) {
  TRY_ASSIGN(auto place, place_of(port));
  if (!place) return {};
  const Element target = port.child("target");
  const std::string name = target.attribute("name");
  target.harmless("port");
  target.harmless("state");
  if (!name.empty() && !proto::plain_name(name)) return target.bad_attribute("name", "letters, digits, '-', '_' and '.'");
  if (!terminal && name.empty()) return target.bad_attribute("name", "it is missing");
  if (!name.empty()) (*place)["name"] = name;
  if (!terminal) (*place)["terminal"] = false;
  if (hardware["consoles"].size() == 16) return port.bad("a machine has at most 16 ports of the virtio console");
  hardware["consoles"].push_back(std::move(*place));
  return {};
}

}  // namespace

Result<> read_ports(const Element& devices, Json& document) {
  Json hardware = Json::object();
  std::vector<Element> serials = devices.children("serial");
  const bool has_serial = !serials.empty();
  for (const Element& port : devices.children_of({"console", "channel"})) {
    const bool console = port.name() == "console";
    const std::string target = port.child("target").attribute("type");
    if (target == "virtio") {
      TRY(read_virtio_port(port, console, hardware));
    } else if (!console || (!target.empty() && target != "serial")) {
      port.leave("");
    } else if (has_serial) {
      port.harmless();  // the first serial port once more
    } else {
      serials.push_back(port);
    }
  }
  TRY(read_serials(serials, hardware));
  for (const auto& [key, value] : hardware.items()) {
    if (!value.is_null()) document["hardware"][key] = value;
  }
  return {};
}

}  // namespace nagaya::definition::libvirt
