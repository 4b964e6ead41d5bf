// cgroup v2: Documentation/admin-guide/cgroup-v2.rst.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cgroup/convert.hpp"
#include "cgroup/file.hpp"
#include "cgroup/settings.hpp"

namespace nagaya::cgroup {
namespace {

using container::BlockIoLimits;
using container::CpuLimits;
using container::MemoryLimits;

void notice(Notices* notices, std::string text) {
  if (notices != nullptr) notices->push_back(std::move(text));
}

Result<> cpu(const CpuLimits& limits, const std::string& folder, Writes& out) {
  if (limits.realtime_period.value_or(0) != 0 || limits.realtime_runtime.value_or(0) != 0) {
    return fail("limits of real-time CPU", "cgroup v2 has none", "leave realtimePeriod and realtimeRuntime out");
  }
  if (limits.idle && *limits.idle == 0) out.push_back({"cpu.idle", "0"});
  if (limits.shares && *limits.shares != 0)
    out.push_back({"cpu.weight", std::to_string(cpu_shares_to_weight(*limits.shares))});
  if (limits.idle && *limits.idle != 0) out.push_back({"cpu.idle", std::to_string(*limits.idle)});
  const i64 quota = limits.quota.value_or(0);
  const u64 period = limits.period.value_or(0);
  if (quota != 0 || period != 0) {
    std::string value = quota > 0 ? std::to_string(quota) : "max";
    if (quota == 0 && !folder.empty()) {  // the period alone: the quota stays
      if (auto now = get(folder, "cpu.max")) {
        std::string_view rest = *now;
        value = take_word(rest);
      }
    }
    if (period != 0) value += fmt::format(" {}", period);
    out.push_back({"cpu.max", value});
  }
  if (limits.burst) out.push_back({"cpu.max.burst", std::to_string(*limits.burst)});
  return {};
}

Result<> memory(const MemoryLimits& limits, Writes& out, Notices* notices) {
  const i64 limit = limits.limit.value_or(0);
  i64 swap = limits.swap.value_or(0);
  if (limit == -1 && swap == 0) swap = -1;
  if (swap != 0) {
    TRY_ASSIGN(const std::string value, swap_max(limit, swap));
    // A kernel that does not count swap has the file not; "none" and "any" are what it does then.
    out.push_back({.file = "memory.swap.max", .value = value, .may_miss = value == "0" || value == "max"});
  }
  if (limit != 0) out.push_back({"memory.max", or_max(limit)});
  if (limits.reservation.value_or(0) != 0) out.push_back({"memory.low", or_max(*limits.reservation)});
  if (limits.kernel.value_or(0) != 0 || limits.kernel_tcp.value_or(0) != 0) {
    notice(notices, "limits of kernel memory are left out: cgroup v2 counts it as memory");
  }
  if (limits.swappiness) notice(notices, "memory swappiness is left out: cgroup v2 has one for the whole host");
  if (limits.disable_oom_killer.value_or(false))
    notice(notices, "disableOOMKiller is left out: cgroup v2 always ends a process");
  return {};
}

void io(const BlockIoLimits& limits, Writes& out, Notices* notices) {
  // bfq understands blkio's range; io.weight is the iocost controller's.
  const auto weight = [&](const std::string& device, u64 value) {
    out.push_back({"io.bfq.weight", fmt::format("{}{}", device, value), "io.weight",
                   fmt::format("{}{}", device, io_weight(value))});
  };
  if (limits.weight.value_or(0) != 0) weight("", *limits.weight);
  bool leaf = limits.leaf_weight.value_or(0) != 0;
  for (const auto& device : limits.weight_devices) {
    leaf = leaf || device.leaf_weight.value_or(0) != 0;
    if (device.weight.value_or(0) != 0) weight(fmt::format("{}:{} ", device.major, device.minor), *device.weight);
  }
  if (leaf) notice(notices, "leaf weights of block I/O are left out: cgroup v2 has none");
  std::map<std::pair<i64, i64>, std::string> lines;  // one write per device
  const auto throttle = [&](const std::vector<container::ThrottleDevice>& devices, const char* name) {
    for (const auto& device : devices) {
      lines[{device.major, device.minor}] +=
          fmt::format(" {}={}", name, device.rate == 0 ? "max" : std::to_string(device.rate));
    }
  };
  throttle(limits.read_bps, "rbps");
  throttle(limits.write_bps, "wbps");
  throttle(limits.read_iops, "riops");
  throttle(limits.write_iops, "wiops");
  for (const auto& [device, values] : lines)
    out.push_back({"io.max", fmt::format("{}:{}{}", device.first, device.second, values)});
}

}  // namespace

Result<Writes> writes_v2(std::string_view controller, const Resources& r, const std::string& folder, Notices* notices) {
  Writes out;
  if (controller == "cpu" && r.cpu) TRY(cpu(*r.cpu, folder, out));
  if (controller == "cpuset" && r.cpu) {
    if (!r.cpu->cpus.empty()) out.push_back({"cpuset.cpus", r.cpu->cpus});
    if (!r.cpu->mems.empty()) out.push_back({"cpuset.mems", r.cpu->mems});
  }
  if (controller == "memory" && r.memory) {
    TRY(check_memory_use(*r.memory, folder, "memory.current"));
    TRY(memory(*r.memory, out, notices));
  }
  if (controller == "pids" && r.pids_limit)
    out.push_back({"pids.max", *r.pids_limit <= 0 ? "max" : std::to_string(*r.pids_limit)});
  if (controller == "blkio" && r.block_io) io(*r.block_io, out, notices);
  if (controller == "hugetlb") {
    for (const auto& page : r.hugepages) {
      TRY(check_page_size(page.page_size));
      out.push_back({fmt::format("hugetlb.{}.max", page.page_size), std::to_string(page.limit)});
      out.push_back({.file = fmt::format("hugetlb.{}.rsvd.max", page.page_size),
                     .value = std::to_string(page.limit),
                     .may_miss = true});
    }
  }
  if (controller == "rdma") TRY(rdma_writes(r, out));
  return out;
}

Result<Writes> writes_unified(const Resources& r) {
  Writes out;
  for (const auto& [file, value] : r.unified) {
    const bool plain = !file.empty() && std::all_of(file.begin(), file.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_';
    });
    if (!plain || file.front() == '.' || file.find('.') == std::string::npos)
      return fail(fmt::format("unified cgroup file '{}'", file), "no such name");
    if (file == "cgroup.procs" || file == "cgroup.threads" || file == "cgroup.kill" || file == "cgroup.freeze") {
      return fail(fmt::format("unified cgroup file '{}'", file), "it moves, stops or ends processes and is no limit");
    }
    // One write each: the kernel reads one key at a time.
    std::string_view rest = value;
    for_lines(rest, [&](std::string_view line) {
      if (!line.empty()) out.push_back({file, std::string(line)});
    });
  }
  return out;
}

}  // namespace nagaya::cgroup
