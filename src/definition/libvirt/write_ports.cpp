// Serial ports, consoles and channels.
#include <fmt/format.h>

#include "definition/libvirt/parts.hpp"
#include "definition/libvirt/write_parts.hpp"

namespace nagaya::definition::libvirt {
namespace {

/// The port's element, or none: it leads to what libvirt has not.
pugi::xml_node write_port(Writing& out, const char* element, Rest& place, const std::string& prefix) {
  const std::string type = place.take("type");
  if (type == "stdout") {
    out.left_out.push_back(prefix + "type (output alone)");
    return {};
  }
  pugi::xml_node port = out.devices.append_child(element);
  set(port, "type", type == "socket" ? "unix" : type);
  if (const Json path = place.take("path"); path.is_string()) {
    pugi::xml_node source = port.append_child("source");
    if (type == "socket") set(source, "mode", "bind");
    set(source, "path", path);
  }
  return port;
}

void write_serials(Writing& out, const Json& serials) {
  if (serials.empty()) {
    // The console of each machine, which virsh knows as a pseudo-terminal.
    pugi::xml_node port = out.devices.append_child("serial");
    set(port, "type", "pty");
    put(port, "target", "port", "0");
  }
  for (std::size_t i = 0; i < serials.size(); ++i) {
    Rest place(serials[i]);
    const pugi::xml_node port = write_port(out, "serial", place, item_prefix("serial", i));
    if (!port) continue;
    put(port, "target", "port", std::to_string(i));
    if (i == 0 && serials[i].at("type") == "pty") put(port, "alias", "name", terminal_alias);
  }
}

}  // namespace

void write_ports(Writing& out, Rest& hardware) {
  write_serials(out, hardware.take("serial"));
  if (const Json debug = hardware.take("debugConsole"); debug.is_object()) {
    Rest place(debug);
    if (pugi::xml_node port = write_port(out, "serial", place, "hardware.debugConsole.")) {
      pugi::xml_node target = put(port, "target", "type", "isa-debug");
      put(target, "model", "name", "isa-debugcon");
      pugi::xml_node address = put(port, "address", "type", "isa");
      set(address, "iobase", "0xe9");
    }
  }
  const Json consoles = hardware.take("consoles");
  std::size_t terminals = 1;  // the first console is the serial port
  for (std::size_t i = 0; i < consoles.size(); ++i) {
    Rest place(consoles[i]);
    const std::string prefix = item_prefix("consoles", i);
    const bool terminal = place.take("terminal") != false;
    const pugi::xml_node port = write_port(out, terminal ? "console" : "channel", place, prefix);
    if (!port) continue;
    pugi::xml_node target = put(port, "target", "type", "virtio");
    if (terminal) {
      set(target, "port", std::to_string(terminals++));
      place.leave("name", "consoles have none", out.left_out, prefix);
    } else if (const Json name = place.take("name"); name.is_string()) {
      set(target, "name", name);
    }
  }
}

}  // namespace nagaya::definition::libvirt
