// Folders, memory in files, the balloon, chance, items of fw_cfg; and what every domain has that needs no word.
#include <fmt/format.h>

#include <algorithm>

#include "definition/libvirt/parts.hpp"

namespace nagaya::definition::libvirt {
namespace {

bool yes(const std::string& word) { return word == "on" || word == "yes"; }

Result<> read_filesystem(const Element& filesystem, Json& document) {
  const std::string type = filesystem.attribute("type");
  if (!type.empty() && type != "mount") return filesystem.bad_attribute("type", "a folder of the host is shared, and nothing else");
  const Element driver = filesystem.child("driver"), target = filesystem.child("target");
  if (driver.attribute("type") != "virtiofs") {
    driver ? driver.leave("type", "it is virtiofs: the guest mounts it so") : filesystem.leave("accessmode", "it is virtiofs: the guest mounts it so");
  }
  filesystem.harmless("accessmode", {"passthrough"});
  filesystem.harmless("model", {"virtio", "virtio-transitional", "virtio-non-transitional"});
  driver.harmless("queue");
  filesystem.child("binary").harmless("path");
  filesystem.harmless_children({"alias", "address"});
  TRY_ASSIGN(const std::string folder, filesystem.child("source").file("dir"));
  const std::string tag = target.attribute("dir");
  const bool read_only = static_cast<bool>(filesystem.child("readonly"));
  // A tag that is a path says where people want it: the agent in the guest mounts it there.
  if (tag.starts_with('/') && tag != "/") {
    if (folder.find(':') != std::string::npos || tag.find(':') != std::string::npos) return filesystem.bad("a folder with a colon in its path needs a tag that is no path");
    document["volumes"].push_back(fmt::format("{}:{}{}", folder, tag, read_only ? ":ro" : ""));
    return {};
  }
  if (tag.empty() || tag.size() > 36 || !std::ranges::all_of(tag, [](char c) { return c > ' ' && c < 127; })) return target.bad_attribute("dir", "a tag has 1 to 36 printable characters");
  Json share = {{"tag", tag}, {"path", folder}};
  if (read_only) share["readOnly"] = true;
  document["hardware"]["shares"].push_back(std::move(share));
  return {};
}

Result<> read_memory_device(const Element& memory, Json& hardware) {
  if (memory.attribute("model") != "virtio-pmem") {
    memory.leave("only virtio-pmem can be had");
    return {};
  }
  TRY_ASSIGN(const std::string path, [&]() -> Result<std::string> {
    const std::string text = memory.child("source").child("path").text();
    if (!text.starts_with('/')) return memory.bad("it needs the path of its file");
    return text;
  }());
  memory.harmless("access", {"shared"});
  memory.child("target").child("size").harmless();  // the file's
  memory.harmless_children({"alias", "address"});
  hardware["pmems"].push_back({{"path", path}});
  return {};
}

void read_balloon(const Element& balloon, Json& hardware) {
  const std::string model = balloon.attribute("model");
  balloon.harmless_children({"alias", "address"});
  if (model == "none") return balloon.leave("each machine has one");
  if (!balloon.has("autodeflate") && !balloon.has("freePageReporting")) return;
  hardware["balloon"] = {{"deflateOnOom", yes(balloon.attribute("autodeflate"))}, {"freePageReporting", yes(balloon.attribute("freePageReporting"))}};
}

void read_chance(const Element& rng, Json& hardware) {
  const Element backend = rng.child("backend");
  const std::string model = backend.attribute("model");
  rng.harmless("model", {"virtio", "virtio-transitional", "virtio-non-transitional"});
  rng.harmless_children({"alias", "address"});
  if (model != "random" && model != "builtin") backend.leave("the host's kernel gives it");
  hardware["rng"] = true;
}

Result<> read_firmware_items(const Element& domain, Json& hardware) {
  for (const Element& info : domain.children("sysinfo")) {
    if (info.attribute("type") != "fwcfg") {
      info.leave("");
      continue;
    }
    for (const Element& entry : info.children("entry")) {
      Json item = {{"name", entry.attribute("name")}};
      if (entry.has("file")) {
        TRY_ASSIGN(item["file"], entry.file("file"));
      } else {
        item["string"] = entry.whole_text();
      }
      const std::size_t size = item["name"].get_ref<const std::string&>().size();
      if (size == 0 || size > 55) return entry.bad_attribute("name", "it has 1 to 55 characters");
      hardware["fwCfg"].push_back(std::move(item));
    }
  }
  return {};
}

/// What carries devices that have lines of their own, and what is there anyway.
void pass_harmless(const Element& domain, const Element& devices) {
  devices.harmless_children({"emulator"});
  for (const Element& controller : devices.children("controller")) {
    const std::string type = controller.attribute("type");
    const bool carrier = type == "pci" || type == "ide" || type == "sata" || type == "fdc" || type == "virtio-serial" || type == "scsi";
    if (carrier || (type == "usb" && controller.attribute("model") == "none")) {
      controller.harmless();
    } else {
      controller.leave("");
    }
  }
  for (const Element& input : devices.children("input")) input.attribute("bus") == "ps2" ? input.harmless() : input.leave("");
  for (const Element& video : devices.children("video")) video.child("model").attribute("type") == "none" ? video.harmless() : video.leave("");
  for (const Element& audio : devices.children("audio")) audio.attribute("type") == "none" ? audio.harmless() : audio.leave("");
  for (const Element& vsock : devices.children("vsock")) vsock.leave("each machine has sockets of its own, without a number on the host");
  for (const Element& label : domain.children("seclabel")) {
    const std::string type = label.attribute("type");
    type == "dynamic" || type == "none" ? label.harmless() : label.leave("each machine's process is in a jail");
  }
  const Element resource = domain.child("resource"), partition = resource.child("partition");
  if (partition && partition.text() != "/machine") partition.leave("");
  // Guests' memory can always be shared with what serves their folders.
  const Element backing = domain.child("memoryBacking");
  backing.child("source").harmless("type", {"memfd", "anonymous"});
  backing.child("access").harmless("mode", {"shared", "private"});
  const Element power = domain.child("pm");
  for (const Element& state : power.children()) state.attribute("enabled") == "no" ? state.harmless() : state.leave("");
}

}  // namespace

Result<> read_others(const Element& domain, const Element& devices, Json& document) {
  for (const Element& filesystem : devices.children("filesystem")) TRY(read_filesystem(filesystem, document));
  if (document.contains("volumes") && document["volumes"].size() > 16) return devices.bad("at most 16 folders are shared by their places");
  Json hardware = Json::object();
  for (const Element& memory : devices.children("memory")) TRY(read_memory_device(memory, hardware));
  if (const Element balloon = devices.child("memballoon")) read_balloon(balloon, hardware);
  for (const Element& rng : devices.children("rng")) read_chance(rng, hardware);
  TRY(read_firmware_items(domain, hardware));
  pass_harmless(domain, devices);
  for (const auto& [key, value] : hardware.items()) document["hardware"][key] = value;
  return {};
}

}  // namespace nagaya::definition::libvirt
