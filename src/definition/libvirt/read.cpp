#include "definition/libvirt/read.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "definition/document.hpp"
#include "definition/libvirt/parts.hpp"
#include "definition/libvirt/xml.hpp"
#include "proto/text.hpp"

namespace nagaya::definition::libvirt {
namespace {

/// The namespace of an element's prefix, said at it or at one around it.
std::string_view namespace_of(pugi::xml_node node) {
  const std::string_view name = node.name();
  const std::size_t colon = name.find(':');
  const std::string declared = colon == std::string_view::npos ? "xmlns" : "xmlns:" + std::string(name.substr(0, colon));
  for (; node; node = node.parent()) {
    if (const auto found = node.attribute(declared.c_str())) return found.value();
  }
  return {};
}

std::string_view local_name(const Element& element) {
  const std::string_view name = element.node().name();
  return name.substr(name.find(':') == std::string_view::npos ? 0 : name.find(':') + 1);
}

/// What we wrote ourselves, of things that libvirt has no word for.
Result<> read_metadata(const Element& domain, Json& document) {
  const Element metadata = domain.child("metadata");
  for (const Element& block : metadata.children()) {
    if (namespace_of(block.node()) != metadata_namespace) {
      block.leave("another program's");
      continue;
    }
    for (const Element& one : block.children()) {
      const std::string name(local_name(one));
      if (name == "label") {
        document["labels"][one.attribute("name")] = one.attribute("value");
      } else if (name == "image" || name == "project" || name == "engine" || name == "append") {
        document[name] = one.attribute("value");
      } else {
        one.leave("");
      }
    }
  }
  return {};
}

void read_names(const Element& domain, Json& document) {
  for (const char* name : {"title", "description"}) {
    const Element element = domain.child(name);
    if (!element) continue;
    const std::string text = element.whole_text();
    if (proto::characters(text) > 256) {
      element.leave("a label has at most 256 characters");
    } else if (!text.empty()) {
      document["labels"][name] = text;
    }
  }
}

Result<> read_type(const Element& domain, Json& document) {
  const std::string type = domain.attribute("type");
  if (type == "lxc") {
    return domain.bad_attribute("type", "a container of libvirt lives in a folder of the host, one here comes from an image", "'nagaya run --container IMAGE', or a definition of the kind 'container'");
  }
  if (type != "kvm" && type != "qemu") return domain.bad_attribute("type", "only kvm and qemu can be had");
  // Where the host has no KVM, a machine of the type kvm runs all the same.
  if (!document.contains("engine") || type == "qemu") document["engine"] = type == "qemu" ? "soft" : "auto";
  domain.harmless("id");
  return {};
}

/// A domain that we wrote: beside the image's name may stand what libvirt starts it from. What somebody has changed since is not taken, and told.
void read_own_boot(const Element& domain, const std::string& append) {
  const Element os = domain.child("os");
  const bool own = domain.node().child("devices").find_child([](pugi::xml_node disk) { return std::string_view(disk.child("alias").attribute("name").value()) == own_disk_alias; });
  for (const char* name : {"kernel", "initrd"}) own ? os.child(name).harmless() : os.child(name).leave("the image's is started");
  const Element cmdline = os.child("cmdline");
  const std::string text = cmdline.whole_text();
  if (cmdline && !(own ? text.ends_with(append) : text == append)) cmdline.leave("what the metadata say of it is taken");
}

Result<> read_os(const Element& domain, const std::string& image, Json& document) {
  const Element os = domain.child("os"), type = os.child("type");
  if (type && type.text() != "hvm") return type.bad(fmt::format("'{}' is not 'hvm'", proto::printable(type.text(), 64)));
  const std::string arch = type.attribute("arch");
  if (!arch.empty() && arch != "x86_64") return type.bad_attribute("arch", "machines here are x86_64");
  type.harmless("machine");
  if (document.contains("image")) {
    read_own_boot(domain, document.value("append", ""));
    return {};
  }
  if (image.empty()) {
    return os ? os.bad("it says no image, and a machine here starts from one, not from a boot loader or a kernel file", "name one with --image; its disk comes first, then those of the domain")
              : domain.bad("it says no image", "name one with --image");
  }
  document["image"] = image;
  for (const char* name : {"kernel", "initrd"}) os.child(name).leave("the image's is started");
  for (const Element& boot : os.children("boot")) boot.leave("the image is started");
  if (const Element cmdline = os.child("cmdline")) {
    const std::string text = cmdline.whole_text();
    if (text.size() > 4096) return cmdline.bad("it has more than 4096 bytes");
    if (!text.empty()) document["append"] = text;
  }
  return {};
}

void read_behaviour(const Element& domain) {
  const Element features = domain.child("features");
  features.harmless_children({"acpi", "apic", "pae"});
  if (const Element port = features.child("vmport"); port && port.attribute("state") != "off") port.leave("");
  const Element clock = domain.child("clock");
  clock.harmless("offset", {"utc"});
  constexpr std::pair<const char*, const char*> events[] = {{"on_poweroff", "destroy"}, {"on_reboot", "restart"}, {"on_crash", "destroy"}};
  for (const auto& [name, usual] : events) {
    const Element event = domain.child(name);
    if (event && event.text() != usual) event.leave(fmt::format("'{}' is done", usual));
  }
}

/// The tree, with its root checked.
Result<pugi::xml_node> root_of(std::string_view text, pugi::xml_document& tree) {
  TRY(parse_xml(text, tree));
  const pugi::xml_node root = tree.document_element();
  if (std::string_view(root.name()) != "domain") return fail(fmt::format("<{}>", proto::printable(root.name(), 64)), "it is no domain of libvirt");
  return root;
}

Result<std::string> name_of(const Element& domain) {
  const Element name = domain.child("name");
  if (!name) return domain.bad("it has no name");
  const std::string text = name.text();
  const bool good = !text.empty() && text.size() <= 64 && std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-'; }) &&
                    std::isalnum(static_cast<unsigned char>(text[0])) != 0;
  if (!good) return name.bad(fmt::format("'{}' is no name here", proto::printable(text, 64)), "at most 64 letters, digits, '-', '_' and '.'; begins with a letter or a digit");
  return text;
}

}  // namespace

bool is_xml(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '<';
}

Result<Imported> read_domain(std::string_view text, const std::string& image) {
  pugi::xml_document tree;
  TRY_ASSIGN(const pugi::xml_node root, root_of(text, tree));
  Ledger ledger;
  const Element domain(root, ledger);
  Json document = {{"kind", "vm"}};
  TRY_ASSIGN(document["name"], name_of(domain));
  TRY(read_metadata(domain, document));
  const bool ours = document.contains("image");
  TRY(read_type(domain, document));
  TRY(read_os(domain, image, document));
  if (const Element secret = domain.child("launchSecurity")) return secret.bad("memory is not encrypted here");
  read_names(domain, document);
  TRY(read_resources(domain, document));
  read_behaviour(domain);
  const Element devices = domain.child("devices");
  TRY(read_disks(devices, ours, document));
  TRY(read_interfaces(devices, document));
  TRY(read_ports(devices, document));
  TRY(read_others(domain, devices, document));
  TRY(check(document));
  return Imported{std::move(document), ledger.left_out(root)};
}

Result<Json> read_domain_name(std::string_view text) {
  pugi::xml_document tree;
  TRY_ASSIGN(const pugi::xml_node root, root_of(text, tree));
  Ledger ledger;
  TRY_ASSIGN(const std::string name, name_of(Element(root, ledger)));
  return Json{{"kind", "vm"}, {"name", name}};
}

}  // namespace nagaya::definition::libvirt
