// Memory, processors and limits.
#include <fmt/format.h>

#include <cmath>
#include <map>

#include "definition/libvirt/parts.hpp"
#include "definition/libvirt/units.hpp"
#include "definition/limits.hpp"

namespace nagaya::definition::libvirt {
namespace {

constexpr u64 most_rate = u64{1} << 62;

Result<u64> size_of(const Element& element) {
  auto size = memory_size(element.text(), element.attribute("unit"));
  if (!size) return element.bad(size.error().message());
  return *size;
}

Result<> read_memory(const Element& domain, Json& limits) {
  const Element memory = domain.child("memory");
  if (!memory) return domain.bad("it has no memory", "<memory unit='MiB'>512</memory>");
  TRY_ASSIGN(const u64 size, size_of(memory));
  if (size < MiB) return memory.bad("it is less than 1 MiB");
  if (size > 1024 * GiB) return memory.bad("it is more than 1 TiB");
  memory.harmless("dumpCore");
  if (size % MiB != 0) memory.leave("rounded down to whole MiB");
  limits["memory"] = size;
  if (const Element current = domain.child("currentMemory")) {
    TRY_ASSIGN(const u64 now, size_of(current));
    if (now != size) current.leave("it starts with all of its memory");
  }
  return {};
}

/// Its processors, and the list that pins them.
Result<u64> read_vcpu(const Element& domain, Json& limits) {
  const Element vcpu = domain.child("vcpu");
  if (!vcpu) return 1;
  TRY_ASSIGN(u64 count, vcpu.number(1, 255));
  TRY_ASSIGN(const auto current, vcpu.number("current", 1, count));
  if (current && *current != count) {
    vcpu.leave("current", "none comes later");
    count = *current;
  }
  vcpu.harmless("placement", {"static"});
  if (vcpu.has("cpuset")) {
    auto set = cpu_set(vcpu.attribute("cpuset"));
    if (!set) return vcpu.bad_attribute("cpuset", set.error().message());
    limits["cpuset"] = *set;
  }
  domain.harmless_children({"vcpus"});
  return count;
}

/// Pins of single processors: a machine here is pinned as a whole.
Result<> read_pins(const Element& tune, u64 vcpus, Json& limits) {
  const auto pins = tune.children("vcpupin");
  std::map<u64, std::string> sets;
  for (const Element& pin : pins) {
    TRY_ASSIGN(const auto number, pin.number("vcpu", 0, 4095));
    auto set = cpu_set(pin.attribute("cpuset"));
    if (!number || !set) return pin.bad("it needs 'vcpu' and 'cpuset', a list such as 0-3,7");
    sets[*number] = *set;
  }
  bool one = sets.size() >= vcpus;
  for (const auto& [number, set] : sets) one = one && set == sets.begin()->second;
  if (one && !sets.empty()) {
    limits["cpuset"] = sets.begin()->second;
  } else {
    for (const Element& pin : pins) pin.leave("a machine is pinned as a whole");
  }
  if (const Element emulator = tune.child("emulatorpin")) {
    auto set = cpu_set(emulator.attribute("cpuset"));
    if (!set) return emulator.bad_attribute("cpuset", set.error().message());
    if (limits.value("cpuset", "") != *set) emulator.leave("a machine is pinned as a whole");
  }
  return {};
}

/// Time per period, of the whole domain, or of each processor and so of all together.
Result<> read_quota(const Element& tune, const char* quota_name, const char* period_name, u64 times, u64 vcpus, Json& limits) {
  const Element quota = tune.child(quota_name), period = tune.child(period_name);
  if (!quota || quota.text().starts_with('-') || quota.text() == "0") return {};
  TRY_ASSIGN(const u64 time, quota.number(1, most_rate / 1'000'000));
  u64 every = 100'000;
  if (period) {
    TRY_ASSIGN(every, period.number(1, 1'000'000'000));
  }
  const double cpus = std::round(static_cast<double>(time) * static_cast<double>(times) / static_cast<double>(every) * 1000) / 1000;
  if (cpus >= static_cast<double>(vcpus)) return {};
  if (std::ceil(cpus) != static_cast<double>(vcpus) || cpus < 0.01 || limits.contains("cpus")) {
    quota.leave("it takes whole processors away: let the domain have fewer");
    return {};
  }
  limits["cpus"] = cpus;
  return {};
}

Result<> read_cpu_tune(const Element& domain, u64 vcpus, Json& limits) {
  const Element tune = domain.child("cputune");
  if (const Element shares = tune.child("shares")) {
    TRY_ASSIGN(const u64 value, shares.number(2, 262'144));
    limits["cpuWeight"] = cpu_weight_of_shares(value);
  }
  TRY(read_pins(tune, vcpus, limits));
  TRY(read_quota(tune, "global_quota", "global_period", 1, vcpus, limits));
  TRY(read_quota(tune, "quota", "period", vcpus, vcpus, limits));
  if (!limits.contains("cpus")) limits["cpus"] = vcpus;
  return {};
}

Result<> read_memory_tune(const Element& domain, Json& limits) {
  const Element tune = domain.child("memtune");
  if (const Element soft = tune.child("soft_limit")) {
    TRY_ASSIGN(const u64 size, size_of(soft));
    if (size < unlimited_memory) limits["memoryReservation"] = size;
  }
  for (const char* name : {"hard_limit", "swap_hard_limit"}) {
    const Element limit = tune.child(name);
    if (!limit) continue;
    TRY_ASSIGN(const u64 size, size_of(limit));
    if (size < unlimited_memory) limit.leave("the process around a machine gets what it needs");
  }
  return {};
}

Result<> read_block_tune(const Element& domain, Json& limits) {
  const Element tune = domain.child("blkiotune");
  if (const Element weight = tune.child("weight")) {
    TRY_ASSIGN(const u64 value, weight.number(10, 1000));
    limits["ioWeight"] = io_weight_of_blkio(static_cast<u16>(value));
  }
  constexpr std::pair<const char*, const char*> rates[] = {
      {"read_bytes_sec", "deviceReadBps"}, {"write_bytes_sec", "deviceWriteBps"}, {"read_iops_sec", "deviceReadIops"}, {"write_iops_sec", "deviceWriteIops"}};
  for (const Element& device : tune.children("device")) {
    const std::string path = device.child("path").text();
    if (!path.starts_with('/') || path.find(':') != std::string::npos) return device.bad("it needs the path of a block device, without a colon");
    for (const auto& [element, field] : rates) {
      const Element rate = device.child(element);
      if (!rate) continue;
      TRY_ASSIGN(const u64 value, rate.number(0, most_rate));
      if (value != 0) limits[field].push_back(fmt::format("{}:{}", path, value));
    }
  }
  return {};
}

Result<> read_numa(const Element& domain, Json& document) {
  const Element memory = domain.child("numatune").child("memory");
  if (!memory) return {};
  const std::string mode = memory.attribute("mode");
  memory.harmless("placement", {"static"});
  if (!memory.has("nodeset")) {
    memory.leave("it names no nodes");
    return {};
  }
  auto set = cpu_set(memory.attribute("nodeset"));
  if (!set) return memory.bad_attribute("nodeset", set.error().message());
  const auto node = whole_number(*set);
  if (mode == "preferred" && node && *node < 1024) {
    document["numaNode"] = *node;
  } else if (mode == "strict" || mode.empty() || mode == "restrictive") {
    document["limits"]["numaNodes"] = *set;
  } else {
    memory.leave("a machine prefers one node, or has the memory of some alone");
  }
  return {};
}

/// What its processors are.
void read_cpu(const Element& domain, Json& document) {
  const Element cpu = domain.child("cpu");
  if (!cpu) return;
  const std::string mode = cpu.attribute("mode");
  cpu.harmless("match", {"exact"});
  cpu.harmless("check", {"none", "partial"});
  cpu.harmless("migratable", {"on", "off"});
  if (mode == "host-passthrough" || mode == "maximum") {
    document["cpu"] = "host";
  } else {
    cpu.leave("mode", "its processors are the portable ones");
  }
  const Element topology = cpu.child("topology");
  if (topology && topology.attribute("cores") == "1" && topology.attribute("threads") == "1") {
    topology.harmless();  // one in each socket, as here
  } else if (topology) {
    topology.leave("each processor is one of its own");
  }
}

}  // namespace

Result<> read_resources(const Element& domain, Json& document) {
  Json& limits = document["limits"];
  TRY(read_memory(domain, limits));
  TRY_ASSIGN(const u64 vcpus, read_vcpu(domain, limits));
  TRY(read_cpu_tune(domain, vcpus, limits));
  TRY(read_memory_tune(domain, limits));
  TRY(read_block_tune(domain, limits));
  TRY(read_numa(domain, document));
  read_cpu(domain, document);
  return {};
}

}  // namespace nagaya::definition::libvirt
