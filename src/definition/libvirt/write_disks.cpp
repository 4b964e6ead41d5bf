// Disks: the machine's own first where its place is known, then those of its hardware.
#include <fmt/format.h>

#include "definition/libvirt/parts.hpp"
#include "definition/libvirt/write_parts.hpp"
#include "definition/libvirt/xml.hpp"

namespace nagaya::definition::libvirt {
namespace {

pugi::xml_node begin_disk(Writing& out, const std::string& path, const std::string& format, std::size_t number) {
  pugi::xml_node disk = out.devices.append_child("disk");
  const bool device = path.starts_with("/dev/");
  set(disk, "type", device ? "block" : "file");
  set(disk, "device", "disk");
  pugi::xml_node driver = disk.append_child("driver");
  set(driver, "name", "qemu");
  set(driver, "type", format);
  put(disk, "source", device ? "dev" : "file", path);
  pugi::xml_node target = disk.append_child("target");
  set(target, "dev", fmt::format("vd{}", static_cast<char>('a' + number)));
  set(target, "bus", "virtio");
  return disk;
}

void write_disk(Writing& out, Rest disk, std::size_t index) {
  const std::string prefix = item_prefix("disks", index), path = disk.take("path");
  if (!path.starts_with('/') || !xml_text(path)) {
    out.left_out.push_back(prefix + "path (it is not absolute)");
    return;
  }
  const Json format = disk.take("format");
  pugi::xml_node node = begin_disk(out, path, format.is_string() ? format.get<std::string>() : "raw", index + 1);
  pugi::xml_node driver = node.child("driver");
  if (disk.take("readOnly") == true) node.append_child("readonly");
  if (const Json serial = disk.take("serial"); serial.is_string() && serial != "") put(node, "serial", serial);
  if (const Json io = disk.take("io"); io.is_string() && io != "auto") set(driver, "io", io);
  if (const Json ring = disk.take("ring"); ring == "split") set(driver, "packed", "off");
  pugi::xml_node tune = node.append_child("iotune");
  constexpr std::pair<const char*, const char*> rates[] = {{"iops", "total_iops_sec"}, {"iopsBurst", "total_iops_sec_max"}, {"bps", "total_bytes_sec"}, {"bpsBurst", "total_bytes_sec_max"}};
  for (const auto& [field, element] : rates) {
    if (const Json rate = disk.take(field); rate.is_number() && rate != 0) put(tune, element, rate.dump());
  }
  if (!tune.first_child()) node.remove_child(tune);
  disk.leave("backing", "libvirt takes what the image itself names", out.left_out, prefix);
  disk.finish(out.left_out, prefix);
}

}  // namespace

void write_disks(Writing& out, Rest& hardware, const std::optional<Boot>& boot) {
  if (boot) put(begin_disk(out, boot->disk, "qcow2", 0), "alias", "name", own_disk_alias);
  const Json disks = hardware.take("disks");
  for (std::size_t i = 0; i < disks.size(); ++i) write_disk(out, Rest(disks[i]), i);
}

}  // namespace nagaya::definition::libvirt
