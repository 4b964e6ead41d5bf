// Folders, the balloon, chance, items of fw_cfg.
#include <fmt/format.h>

#include "definition/libvirt/write_parts.hpp"
#include "definition/libvirt/xml.hpp"
#include "domain/machine_spec.hpp"

namespace nagaya::definition::libvirt {
namespace {

void write_folder(Writing& out, const std::string& path, const std::string& tag, bool read_only) {
  pugi::xml_node filesystem = out.devices.append_child("filesystem");
  set(filesystem, "type", "mount");
  set(filesystem, "accessmode", "passthrough");
  put(filesystem, "driver", "type", "virtiofs");
  put(filesystem, "source", "dir", path);
  put(filesystem, "target", "dir", tag);
  if (read_only) filesystem.append_child("readonly");
}

void write_folders(Writing& out, Rest& document, Rest& hardware) {
  const Json volumes = document.take("volumes"), shares = hardware.take("shares");
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    const auto share = domain::parse_share(volumes[i]);
    if (!share || !xml_text(share->host) || !xml_text(share->guest)) {
      out.left_out.push_back(fmt::format("volumes[{}]", i));
      continue;
    }
    write_folder(out, share->host, share->guest, share->read_only);
  }
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const std::string path = shares[i].at("path"), tag = shares[i].at("tag");
    // A tag that is a path stands for a volume, see read_filesystem.
    if (!path.starts_with('/') || tag.starts_with('/')) {
      out.left_out.push_back(fmt::format("hardware.shares[{}] ({})", i, tag.starts_with('/') ? "its tag is a path" : "its path is not absolute"));
      continue;
    }
    write_folder(out, path, tag, shares[i].value("readOnly", false));
  }
  if (!out.devices.child("filesystem")) return;
  // virtiofs needs memory that the process which serves it can map.
  pugi::xml_node backing = out.domain.append_child("memoryBacking");
  put(backing, "source", "type", "memfd");
  put(backing, "access", "mode", "shared");
}

void write_firmware_items(Writing& out, const Json& items) {
  pugi::xml_node info;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string text = items[i].value("string", ""), file = items[i].value("file", "");
    if (!xml_text(text) || (file.empty() && text.empty())) {
      out.left_out.push_back(item_prefix("fwCfg", i) + "string (XML cannot hold it)");
      continue;
    }
    if (!info) info = put(out.domain, "sysinfo", "type", "fwcfg");
    pugi::xml_node entry = put(info, "entry", "name", items[i].at("name"));
    if (file.empty()) {
      entry.text().set(text.c_str());
    } else {
      set(entry, "file", file);
    }
  }
}

}  // namespace

void write_others(Writing& out, Rest& document, Rest& hardware) {
  write_folders(out, document, hardware);
  pugi::xml_node balloon = put(out.devices, "memballoon", "model", "virtio");
  if (const Json settings = hardware.take("balloon"); settings.is_object()) {
    set(balloon, "autodeflate", settings.value("deflateOnOom", true) ? "on" : "off");
    set(balloon, "freePageReporting", settings.value("freePageReporting", true) ? "on" : "off");
  }
  if (hardware.take("rng") == true) {
    pugi::xml_node rng = put(out.devices, "rng", "model", "virtio");
    set(put(rng, "backend", "/dev/urandom"), "model", "random");
  }
  write_firmware_items(out, hardware.take("fwCfg"));
  hardware.leave("vsock", "libvirt's has a number on the host, ours a socket file", out.left_out, "hardware.");
  hardware.leave("pmems", "libvirt wants to know their sizes", out.left_out, "hardware.");
}

}  // namespace nagaya::definition::libvirt
