#include "definition/libvirt/write.hpp"

#include <fmt/format.h>

#include "definition/document.hpp"
#include "definition/libvirt/parts.hpp"
#include "definition/libvirt/write_parts.hpp"
#include "definition/libvirt/xml.hpp"

namespace nagaya::definition::libvirt {
namespace {

/// Labels that libvirt has elements for: a title is one line.
bool has_element(const std::string& label, const std::string& value) {
  return (label == "description" || (label == "title" && value.find('\n') == std::string::npos)) && !value.empty() && xml_text(value);
}

void write_metadata(Writing& out, Rest& document) {
  pugi::xml_node block = out.domain.append_child("metadata").append_child("nagaya:definition");
  set(block, "xmlns:nagaya", metadata_namespace);
  for (const char* field : {"image", "project", "engine", "append"}) {
    const Json& value = document.look(field);
    if (!value.is_string() || (std::string_view(field) == "engine" && value != "kvm")) continue;
    if (!xml_text(value.get_ref<const std::string&>())) continue;
    put(block, (std::string("nagaya:") + field).c_str(), "value", value);
  }
  for (const auto& [label, value] : document.look("labels").items()) {
    const std::string text = value;
    if (has_element(label, text)) continue;
    if (!xml_text(label) || !xml_text(text)) {
      out.left_out.push_back("labels (XML cannot hold one of them)");
      continue;
    }
    pugi::xml_node one = put(block, "nagaya:label", "name", label);
    set(one, "value", text);
  }
}

void write_names(Writing& out, Rest& document) {
  for (const char* name : {"title", "description"}) {
    const Json& labels = document.look("labels");
    if (labels.contains(name) && has_element(name, labels[name])) put(out.domain, name, labels[name]);
  }
  document.take("labels");
}

void write_os(Writing& out, Rest& document, const std::optional<Boot>& boot) {
  pugi::xml_node os = out.domain.append_child("os");
  pugi::xml_node type = put(os, "type", "hvm");
  set(type, "arch", "x86_64");
  set(type, "machine", "q35");
  const Json append = document.take("append");
  const std::string more = append.is_string() ? append.get<std::string>() : "";
  if (boot) {
    put(os, "kernel", boot->kernel);
    if (!boot->initrd.empty()) put(os, "initrd", boot->initrd);
    const std::string line = boot->append + (more.empty() ? "" : " " + more);
    if (xml_text(line)) put(os, "cmdline", line);
  } else {
    out.left_out.emplace_back("image (libvirt has none: give the domain a disk, and a kernel or a boot loader)");
    if (!more.empty() && xml_text(more)) put(os, "cmdline", more);
  }
  if (!xml_text(more)) out.left_out.emplace_back("append (XML cannot hold it)");
}

void write_behaviour(pugi::xml_node domain) {
  pugi::xml_node features = domain.append_child("features");
  features.append_child("acpi");
  features.append_child("apic");
  put(domain, "clock", "offset", "utc");
  put(domain, "on_poweroff", "destroy");
  put(domain, "on_reboot", "restart");
  put(domain, "on_crash", "destroy");
}

}  // namespace

pugi::xml_node put(pugi::xml_node parent, const char* name, const std::string& text) {
  pugi::xml_node out = parent.append_child(name);
  out.text().set(text.c_str());
  return out;
}

pugi::xml_node put(pugi::xml_node parent, const char* name, const char* attribute, const std::string& value) {
  pugi::xml_node out = parent.append_child(name);
  set(out, attribute, value);
  return out;
}

void set(pugi::xml_node node, const char* attribute, const std::string& value) { node.append_attribute(attribute).set_value(value.c_str()); }

std::string item_prefix(const char* list, std::size_t index) { return fmt::format("hardware.{}[{}].", list, index); }

Result<Exported> write_domain(const Json& document, const std::optional<Boot>& boot) {
  if (document.value("kind", "") != "vm") return fail(title(document), "only virtual machines can be written for libvirt", "a container of libvirt lives in a folder of the host");
  Exported out;
  pugi::xml_document tree;
  pugi::xml_node domain = tree.append_child("domain");
  Writing writing{domain, {}, out.left_out};
  Rest rest(document);
  rest.take("kind");
  put(domain, "name", rest.take("name").get<std::string>());
  set(domain, "type", rest.look("engine") == "soft" ? "qemu" : "kvm");
  write_metadata(writing, rest);
  write_names(writing, rest);
  for (const char* field : {"image", "project", "engine"}) rest.take(field);
  write_os(writing, rest, boot);
  write_resources(writing, rest);
  write_behaviour(domain);
  writing.devices = domain.append_child("devices");
  Rest hardware = rest.part("hardware");
  write_disks(writing, hardware, boot);
  write_interfaces(writing, rest, hardware);
  write_ports(writing, hardware);
  write_others(writing, rest, hardware);
  hardware.finish(out.left_out, "hardware.");
  rest.finish(out.left_out);
  out.xml = print_xml(tree);
  return out;
}

}  // namespace nagaya::definition::libvirt
