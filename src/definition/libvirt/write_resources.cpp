// Memory, processors and limits.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "definition/libvirt/units.hpp"
#include "definition/libvirt/write_parts.hpp"
#include "definition/limits.hpp"

namespace nagaya::definition::libvirt {
namespace {

constexpr u64 period_us = 100'000, least_quota_us = 1000;
constexpr u16 least_blkio = 100;  // of libvirt's schema

void put_size(pugi::xml_node parent, const char* name, u64 bytes) {
  const bool whole = bytes % KiB == 0;
  set(put(parent, name, std::to_string(whole ? bytes / KiB : bytes)), "unit", whole ? "KiB" : "b");
}

void write_cpus(Writing& out, Rest& limits) {
  const Json cpus = limits.take("cpus");
  const double count = cpus.is_number() && cpus.get<double>() > 0 ? cpus.get<double>() : 1;
  const double whole = std::ceil(count);
  const pugi::xml_node vcpu = put(out.domain, "vcpu", std::to_string(static_cast<unsigned>(whole)));
  set(vcpu, "placement", "static");
  if (const Json set_of = limits.take("cpuset"); set_of.is_string() && set_of != "") set(vcpu, "cpuset", set_of);
  pugi::xml_node tune = out.domain.append_child("cputune");
  if (const Json weight = limits.take("cpuWeight"); weight.is_number() && weight != 0) put(tune, "shares", std::to_string(shares_of_cpu_weight(weight)));
  if (count != whole) {
    const auto quota = static_cast<u64>(std::llround(count * static_cast<double>(period_us)));
    if (quota < least_quota_us) {
      out.left_out.emplace_back("limits.cpus (less than a hundredth of a processor)");
    } else {
      put(tune, "global_period", std::to_string(period_us));
      put(tune, "global_quota", std::to_string(quota));
    }
  }
  if (!tune.first_child()) out.domain.remove_child(tune);
}

void write_disk_time(Writing& out, Rest& limits) {
  pugi::xml_node tune = out.domain.append_child("blkiotune");
  if (const Json& weight = limits.look("ioWeight"); weight.is_number() && weight != 0) {
    const u16 value = blkio_of_io_weight(weight);
    if (value >= least_blkio) {
      put(tune, "weight", std::to_string(value));
      limits.take("ioWeight");
    } else {
      limits.leave("ioWeight", "libvirt's weights begin at 100 of 1000", out.left_out, "limits.");
    }
  }
  constexpr std::pair<const char*, const char*> rates[] = {
      {"deviceReadBps", "read_bytes_sec"}, {"deviceWriteBps", "write_bytes_sec"}, {"deviceReadIops", "read_iops_sec"}, {"deviceWriteIops", "write_iops_sec"}};
  std::map<std::string, pugi::xml_node> devices;
  for (const auto& [field, element] : rates) {
    for (const Json& one : limits.take(field)) {
      const std::string text = one;
      const std::size_t colon = text.rfind(':');
      const std::string path = text.substr(0, colon);
      pugi::xml_node& device = devices[path];
      if (!device) {
        device = tune.append_child("device");
        put(device, "path", path);
      }
      if (device.child(element)) {
        out.left_out.push_back(fmt::format("limits.{} (twice for '{}')", field, path));
      } else {
        put(device, element, text.substr(colon + 1));
      }
    }
  }
  for (const char* field : {"readBps", "writeBps"}) limits.leave(field, "of the disk that domains lie on, whichever that is", out.left_out, "limits.");
  if (!tune.first_child()) out.domain.remove_child(tune);
}

void write_numa(Writing& out, Rest& document, Rest& limits) {
  const Json nodes = limits.take("numaNodes");
  if (nodes.is_string() && nodes != "") {
    pugi::xml_node memory = out.domain.append_child("numatune").append_child("memory");
    set(memory, "mode", "strict");
    set(memory, "nodeset", nodes);
    document.leave("numaNode", "beside limits.numaNodes", out.left_out);
  } else if (const Json node = document.take("numaNode"); node.is_number()) {
    pugi::xml_node memory = out.domain.append_child("numatune").append_child("memory");
    set(memory, "mode", "preferred");
    set(memory, "nodeset", node.dump());
  }
}

}  // namespace

void write_resources(Writing& out, Rest& document) {
  Rest limits = document.part("limits");
  const Json memory = limits.take("memory");
  put_size(out.domain, "memory", memory.is_number() && memory != 0 ? memory.get<u64>() : GiB);
  write_cpus(out, limits);
  if (const Json soft = limits.take("memoryReservation"); soft.is_number() && soft != 0) put_size(out.domain.append_child("memtune"), "soft_limit", soft);
  write_disk_time(out, limits);
  write_numa(out, document, limits);
  limits.finish(out.left_out, "limits.");
  const Json cpu = document.look("cpu");
  if (cpu == "host") {
    put(out.domain, "cpu", "mode", "host-passthrough");
    document.take("cpu");
  } else if (cpu == "portable") {
    document.take("cpu");
  }
}

}  // namespace nagaya::definition::libvirt
