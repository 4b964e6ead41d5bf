// The parts of a domain that is written: each takes its fields out of what is left of the document.
#pragma once
#include <pugixml.hpp>

#include "definition/libvirt/field.hpp"
#include "definition/libvirt/write.hpp"

namespace nagaya::definition::libvirt {

struct Writing {
  pugi::xml_node domain, devices;
  std::vector<std::string>& left_out;
};

/// A child with a text in it.
pugi::xml_node put(pugi::xml_node parent, const char* name, const std::string& text);
/// A child with an attribute.
pugi::xml_node put(pugi::xml_node parent, const char* name, const char* attribute, const std::string& value);
void set(pugi::xml_node node, const char* attribute, const std::string& value);
/// The path of a list's item: "hardware.disks[0]."
[[nodiscard]] std::string item_prefix(const char* list, std::size_t index);

void write_resources(Writing& out, Rest& document);
void write_disks(Writing& out, Rest& hardware, const std::optional<Boot>& boot);
void write_interfaces(Writing& out, Rest& document, Rest& hardware);
void write_ports(Writing& out, Rest& hardware);
void write_others(Writing& out, Rest& document, Rest& hardware);

}  // namespace nagaya::definition::libvirt
