// Disks: files and block devices, whose format is said and never guessed.
#include <fmt/format.h>

#include <algorithm>

#include "definition/libvirt/parts.hpp"
#include "definition/libvirt/units.hpp"

namespace nagaya::definition::libvirt {
namespace {

constexpr std::size_t most_disks = 15;  // and the machine's own

/// Where its backing files lie, as far down as the chain is told.
Result<> read_backing(const Element& disk, Json& out) {
  for (Element at = disk.child("backingStore"); at; at = at.child("backingStore")) {
    const Element source = at.child("source");
    at.harmless("index");
    at.child("format").harmless();
    const std::string type = at.attribute("type");
    if (!source && type.empty()) return {};
    if (type != "file" && type != "block") return at.bad_attribute("type", "its backing file must be a file or block device of this host");
    TRY_ASSIGN(std::string path, source.file(type == "file" ? "file" : "dev"));
    source.harmless("index");
    if (out["backing"].size() == 64) return at.bad("more than 64 backing files");
    out["backing"].push_back(std::move(path));
  }
  return {};
}

Result<> read_driver(const Element& disk, Json& out) {
  const Element driver = disk.child("driver");
  const std::string format = driver.attribute("type");
  out["format"] = format.empty() ? "raw" : format;
  if (out["format"] != "raw" && out["format"] != "qcow2") return driver.bad_attribute("type", "disks here are raw or qcow2", "'nagaya volume convert' makes one of them");
  driver.harmless("name", {"qemu"});
  driver.harmless("cache", {"default", "writeback"});
  driver.harmless("discard", {"unmap"});
  driver.harmless("error_policy", {"report"});
  driver.harmless("rerror_policy", {"report"});
  driver.harmless("detect_zeroes", {"off"});
  driver.harmless("copy_on_read", {"off"});
  driver.leave("cache", "writes go through the host's page cache, flushes to the disk");
  const std::string io = driver.attribute("io");
  if (io == "threads" || (io == "io_uring" && out["format"] == "raw")) {
    out["io"] = io;
  } else if (!io.empty()) {
    driver.leave("io", "what suits the disk is taken");
  }
  const std::string packed = driver.attribute("packed");
  if (packed == "off") out["ring"] = "split";
  return {};
}

Result<> read_limits(const Element& disk, Json& out) {
  const Element tune = disk.child("iotune");
  if (!tune) return {};
  constexpr std::pair<const char*, const char*> rates[] = {{"total_iops_sec", "iops"}, {"total_bytes_sec", "bps"}};
  for (const auto& [name, field] : rates) {
    const Element rate = tune.child(name), burst = tune.child((std::string(name) + "_max").c_str());
    u64 value = 0;
    if (rate) {
      TRY_ASSIGN(value, rate.number(0, u64{1} << 62));
    }
    if (value != 0) out[field] = value;
    if (!burst) continue;
    TRY_ASSIGN(const u64 most, burst.number(0, u64{1} << 62));
    if (value != 0 && most != 0) out[std::string(field) + "Burst"] = most;
    if (value == 0 && most != 0) burst.leave("a burst needs a limit");
    // A burst is what may come at once: a second of the higher rate.
    const Element length = tune.child((std::string(name) + "_max_length").c_str());
    if (length && length.text() != "1") length.leave("a second of it is taken");
  }
  for (const Element& other : tune.children()) {
    if (other.name().starts_with("read_") || other.name().starts_with("write_")) {
      if (other.text() == "0") continue;
      other.leave("reads and writes are limited together");
    } else if (!other.name().starts_with("total_")) {
      other.leave("");
    }
  }
  return {};
}

Result<> read_disk(const Element& disk, std::size_t number, Json& list) {
  const std::string device = disk.attribute("device");
  if (device == "cdrom" || device == "floppy") {
    disk.leave("there are no such drives");
    return {};
  }
  if (!device.empty() && device != "disk") return disk.bad_attribute("device", "it is no plain disk");
  const std::string type = disk.attribute("type");
  if (type != "file" && type != "block" && !type.empty()) return disk.bad_attribute("type", "a disk here is a file or a block device of this host", "take it out, or put it into a file");
  const Element source = disk.child("source");
  if (!source) return disk.bad("it has no source");
  if (disk.node().child("encryption") || source.node().child("encryption")) return disk.bad("its content is encrypted, and would be read as it stands");
  Json out = Json::object();
  TRY_ASSIGN(out["path"], source.file(type == "block" ? "dev" : "file"));
  source.harmless("index");
  TRY(read_driver(disk, out));
  TRY(read_backing(disk, out));
  TRY(read_limits(disk, out));
  if (disk.child("readonly")) out["readOnly"] = true;
  if (const Element serial = disk.child("serial")) {
    const std::string text = serial.text();
    const bool good = text.size() <= 20 && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 127; });
    if (!good) serial.leave("a serial number has at most 20 printable characters");
    if (good && !text.empty()) out["serial"] = text;
  }
  const Element target = disk.child("target");
  const std::string name = target.attribute("dev"), bus = target.attribute("bus");
  const std::string here = fmt::format("vd{}", static_cast<char>('b' + number));
  if (!bus.empty() && bus != "virtio") {
    target.leave("bus", fmt::format("it is a virtio disk, {}", here));
  } else if (!name.empty() && name != here) {
    target.leave("dev", fmt::format("it is {}; vda is the machine's own", here));
  }
  disk.harmless_children({"alias", "address", "mirror"});
  disk.harmless("snapshot");
  disk.harmless("model", {"virtio", "virtio-transitional", "virtio-non-transitional"});
  list.push_back(std::move(out));
  return {};
}

}  // namespace

Result<> read_disks(const Element& devices, bool ours, Json& document) {
  Json list = Json::array();
  for (const Element& disk : devices.children("disk")) {
    if (ours && disk.child("alias").attribute("name") == own_disk_alias) {
      disk.harmless();
      continue;
    }
    if (list.size() == most_disks) return disk.bad("a machine has at most 15 disks beside its own");
    TRY(read_disk(disk, list.size(), list));
  }
  if (!list.empty()) document["hardware"]["disks"] = std::move(list);
  return {};
}

}  // namespace nagaya::definition::libvirt
