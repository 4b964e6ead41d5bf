// Limits of a domain in the terms of the OCI runtime specification, which the cgroup room takes.
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <charconv>

#include "domain/container_spec.hpp"

namespace nagaya::domain {
namespace {

constexpr u64 period_us = 100'000;
constexpr i64 usual_pids = 4096;

/// "DEVICE:RATE"
Result<std::vector<container::ThrottleDevice>> throttles(const std::vector<std::string>& given) {
  std::vector<container::ThrottleDevice> out;
  for (const std::string& text : given) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) return fail(fmt::format("rate '{}'", text), "write DEVICE:RATE");
    const std::string path = text.substr(0, colon);
    u64 rate = 0;
    const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), rate);
    if (error != std::errc{} || end != text.data() + text.size()) return fail(fmt::format("rate '{}'", text), "the rate is a whole number");
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return fail_errno(fmt::format("cannot find the device '{}'", path));
    if (!S_ISBLK(info.st_mode)) return fail(fmt::format("'{}'", path), "it is no block device");
    out.push_back({.major = major(info.st_rdev), .minor = minor(info.st_rdev), .rate = rate});
  }
  return out;
}

}  // namespace

Result<container::Resources> limits_as_resources(const DomainLimits& limits) {
  container::Resources out;
  if (limits.memory != 0 || limits.memory_reservation != 0 || limits.memory_swap != 0) {
    auto& memory = out.memory.emplace();
    if (limits.memory != 0) memory.limit = static_cast<i64>(limits.memory);
    if (limits.memory_reservation != 0) memory.reservation = static_cast<i64>(limits.memory_reservation);
    if (limits.memory_swap != 0) memory.swap = limits.memory_swap;
  }
  if (limits.cpu_thousandths != 0 || limits.cpu_shares != 0 || !limits.cpuset_cpus.empty() || !limits.cpuset_mems.empty()) {
    auto& cpu = out.cpu.emplace();
    if (limits.cpu_thousandths != 0) {
      cpu.period = period_us;
      cpu.quota = static_cast<i64>(limits.cpu_thousandths * period_us / 1000);
    }
    if (limits.cpu_shares != 0) cpu.shares = limits.cpu_shares;
    cpu.cpus = limits.cpuset_cpus;
    cpu.mems = limits.cpuset_mems;
  }
  out.pids_limit = limits.pids == 0 ? usual_pids : limits.pids;
  if (limits.blkio_weight != 0 || !limits.read_bps.empty() || !limits.write_bps.empty() || !limits.read_iops.empty() || !limits.write_iops.empty()) {
    auto& io = out.block_io.emplace();
    if (limits.blkio_weight != 0) io.weight = limits.blkio_weight;
    TRY_ASSIGN(io.read_bps, throttles(limits.read_bps));
    TRY_ASSIGN(io.write_bps, throttles(limits.write_bps));
    TRY_ASSIGN(io.read_iops, throttles(limits.read_iops));
    TRY_ASSIGN(io.write_iops, throttles(limits.write_iops));
  }
  return out;
}

}  // namespace nagaya::domain
