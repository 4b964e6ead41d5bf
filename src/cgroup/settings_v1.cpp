// cgroup v1: Documentation/admin-guide/cgroup-v1/*.rst.
#include <fmt/format.h>

#include "cgroup/device_rules.hpp"
#include "cgroup/settings.hpp"

namespace nagaya::cgroup {
namespace {

using container::BlockIoLimits;
using container::CpuLimits;
using container::MemoryLimits;

void notice(Notices* notices, std::string text) {
  if (notices != nullptr) notices->push_back(std::move(text));
}

void cpu(const CpuLimits& limits, Writes& out) {
  if (limits.idle && *limits.idle == 0) out.push_back({"cpu.idle", "0"});  // an idle group takes no shares
  if (limits.shares && *limits.shares != 0) out.push_back({"cpu.shares", std::to_string(*limits.shares)});
  if (limits.idle && *limits.idle != 0) out.push_back({"cpu.idle", std::to_string(*limits.idle)});
  if (limits.period && *limits.period != 0) out.push_back({"cpu.cfs_period_us", std::to_string(*limits.period)});
  if (limits.quota && *limits.quota != 0) out.push_back({"cpu.cfs_quota_us", std::to_string(*limits.quota)});
  if (limits.burst) out.push_back({"cpu.cfs_burst_us", std::to_string(*limits.burst)});
  if (limits.realtime_period && *limits.realtime_period != 0)
    out.push_back({"cpu.rt_period_us", std::to_string(*limits.realtime_period)});
  if (limits.realtime_runtime) out.push_back({"cpu.rt_runtime_us", std::to_string(*limits.realtime_runtime)});
}

Result<> memory(const MemoryLimits& limits, Writes& out, Notices* notices) {
  const i64 limit = limits.limit.value_or(0);
  i64 swap = limits.swap.value_or(0);
  if (limit == -1 && swap == 0) swap = -1;  // memory and swap together are never less than memory
  if (swap > 0 && limit > 0 && swap < limit) {
    return fail(fmt::format("memory swap {}", swap),
                fmt::format("less than the memory limit {}, which it includes", limit));
  }
  if (limit != 0) out.push_back({"memory.limit_in_bytes", std::to_string(limit)});
  // Without swap accounting there is nothing to lift.
  if (swap != 0)
    out.push_back({.file = "memory.memsw.limit_in_bytes", .value = std::to_string(swap), .may_miss = swap == -1});
  if (limits.reservation.value_or(0) != 0)
    out.push_back({"memory.soft_limit_in_bytes", std::to_string(*limits.reservation)});
  if (limits.kernel.value_or(0) != 0)
    notice(notices, "the limit of kernel memory is left out: kernels count it as memory");
  if (limits.kernel_tcp.value_or(0) != 0)
    out.push_back({"memory.kmem.tcp.limit_in_bytes", std::to_string(*limits.kernel_tcp)});
  if (limits.swappiness) {
    if (*limits.swappiness > 100) return fail(fmt::format("memory swappiness {}", *limits.swappiness), "above 100");
    out.push_back({"memory.swappiness", std::to_string(*limits.swappiness)});
  }
  if (limits.disable_oom_killer) out.push_back({"memory.oom_control", *limits.disable_oom_killer ? "1" : "0"});
  return {};
}

void blkio(const BlockIoLimits& limits, Writes& out, Notices* notices) {
  const auto weight = [&](const std::string& value, const char* plain, const char* bfq) {
    out.push_back({.file = plain, .value = value, .other_file = bfq, .other_value = value});
  };
  if (limits.weight.value_or(0) != 0) weight(std::to_string(*limits.weight), "blkio.weight", "blkio.bfq.weight");
  bool leaf = limits.leaf_weight.value_or(0) != 0;
  for (const auto& device : limits.weight_devices) {
    leaf = leaf || device.leaf_weight.value_or(0) != 0;
    if (device.weight.value_or(0) == 0) continue;
    weight(fmt::format("{}:{} {}", device.major, device.minor, *device.weight), "blkio.weight_device",
           "blkio.bfq.weight_device");
  }
  if (leaf) notice(notices, "leaf weights of block I/O are left out: they went with the scheduler CFQ (Linux 5.0)");
  const auto throttle = [&](const std::vector<container::ThrottleDevice>& devices, const char* name) {
    for (const auto& device : devices) {
      out.push_back({fmt::format("blkio.throttle.{}_device", name),
                     fmt::format("{}:{} {}", device.major, device.minor, device.rate)});
    }
  };
  throttle(limits.read_bps, "read_bps");
  throttle(limits.write_bps, "write_bps");
  throttle(limits.read_iops, "read_iops");
  throttle(limits.write_iops, "write_iops");
}

}  // namespace

Result<Writes> writes_v1(std::string_view controller, const Resources& r, const std::string& folder, Notices* notices) {
  Writes out;
  if (controller == "cpu" && r.cpu) cpu(*r.cpu, out);
  if (controller == "cpuset" && r.cpu) {
    if (!r.cpu->cpus.empty()) out.push_back({"cpuset.cpus", r.cpu->cpus});
    if (!r.cpu->mems.empty()) out.push_back({"cpuset.mems", r.cpu->mems});
  }
  if (controller == "memory" && r.memory) {
    TRY(check_memory_use(*r.memory, folder, "memory.usage_in_bytes"));
    TRY(memory(*r.memory, out, notices));
  }
  if (controller == "pids" && r.pids_limit)
    out.push_back({"pids.max", *r.pids_limit <= 0 ? "max" : std::to_string(*r.pids_limit)});
  if (controller == "blkio" && r.block_io) blkio(*r.block_io, out, notices);
  if (controller == "hugetlb") {
    for (const auto& page : r.hugepages) {
      TRY(check_page_size(page.page_size));
      out.push_back({fmt::format("hugetlb.{}.limit_in_bytes", page.page_size), std::to_string(page.limit)});
      out.push_back({.file = fmt::format("hugetlb.{}.rsvd.limit_in_bytes", page.page_size),
                     .value = std::to_string(page.limit),
                     .may_miss = true});
    }
  }
  if (controller == "rdma") TRY(rdma_writes(r, out));
  if (controller == "net_cls" && r.net_class_id) out.push_back({"net_cls.classid", std::to_string(*r.net_class_id)});
  if (controller == "net_prio") {
    for (const auto& priority : r.net_priorities)
      out.push_back({"net_prio.ifpriomap", fmt::format("{} {}", priority.name, priority.priority)});
  }
  if (controller == "devices" && !r.devices.empty()) {
    TRY_ASSIGN(const DeviceList list, device_list(r.devices));
    out = device_writes(list);
  }
  return out;
}

}  // namespace nagaya::cgroup
