#include "definition/limits.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "host/dirs.hpp"

namespace nagaya::definition {
namespace {

std::unexpected<Error> invalid(Error error) {
  error.code = EINVAL;
  return std::unexpected(std::move(error));
}

// The whole disk that domains lie on: rates are those of disks, not of their partitions.
Result<std::string> disk_of_domains() {
  struct stat about {};
  const std::string folder = host::state_dir();
  if (::stat(folder.c_str(), &about) != 0) return fail_errno(fmt::format("cannot look at '{}'", folder));
  std::error_code error;
  const auto link = std::filesystem::canonical(fmt::format("/sys/dev/block/{}:{}", major(about.st_dev), minor(about.st_dev)), error);
  if (error) return invalid({"readBps, writeBps", fmt::format("'{}' lies on no disk of its own", folder)});
  const auto disk = std::filesystem::exists(link / "partition", error) ? link.parent_path() : link;
  return "/dev/" + disk.filename().string();
}

/// The rate of the disk that domains lie on; 0: those are other disks.
u64 rate_of(const std::vector<std::string>& rates) {
  if (rates.size() != 1) return 0;
  const auto disk = disk_of_domains();
  const std::size_t colon = rates[0].rfind(':');
  if (!disk || rates[0].substr(0, colon) != *disk) return 0;
  return std::strtoull(rates[0].c_str() + colon + 1, nullptr, 10);
}

constexpr std::pair<const char*, std::vector<std::string> domain::DomainLimits::*> rate_lists[] = {
    {"deviceReadBps", &domain::DomainLimits::read_bps},
    {"deviceWriteBps", &domain::DomainLimits::write_bps},
    {"deviceReadIops", &domain::DomainLimits::read_iops},
    {"deviceWriteIops", &domain::DomainLimits::write_iops}};

}  // namespace

u64 shares_of_cpu_weight(u64 weight) { return weight == 0 ? 0 : 2 + (weight - 1) * 262142 / 9999; }
u64 cpu_weight_of_shares(u64 shares) { return shares == 0 ? 0 : 1 + ((shares - 2) * 9999 + 262141) / 262142; }
u16 blkio_of_io_weight(u64 weight) { return weight == 0 ? u16{0} : static_cast<u16>(10 + (weight - 1) * 990 / 9999); }
u64 io_weight_of_blkio(u16 blkio) { return blkio == 0 ? 0 : 1 + ((u64{blkio} - 10) * 9999 + 989) / 990; }

Result<domain::DomainLimits> limits_of(const Json& limits, domain::DomainLimits now) {
  const auto number = [&](const char* name, auto& field, auto convert) {
    if (limits.contains(name)) field = convert(limits[name].template get<u64>());
  };
  const auto same = [](u64 n) { return n; };
  number("memory", now.memory, same);
  number("memoryReservation", now.memory_reservation, same);
  if (limits.contains("memorySwap")) now.memory_swap = limits["memorySwap"].get<i64>();
  number("cpuWeight", now.cpu_shares, shares_of_cpu_weight);
  if (limits.contains("pids")) now.pids = limits["pids"].get<i64>();
  number("ioWeight", now.blkio_weight, blkio_of_io_weight);
  if (limits.contains("cpus")) now.cpu_thousandths = static_cast<u64>(std::llround(limits["cpus"].get<double>() * 1000));
  if (limits.contains("cpuset")) now.cpuset_cpus = limits["cpuset"];
  if (limits.contains("numaNodes")) now.cpuset_mems = limits["numaNodes"];
  for (const auto& [name, rates] : {std::pair{"readBps", &now.read_bps}, std::pair{"writeBps", &now.write_bps}}) {
    if (!limits.contains(name)) continue;
    rates->clear();
    if (limits[name] == 0) continue;
    TRY_ASSIGN(const std::string disk, disk_of_domains());
    rates->push_back(fmt::format("{}:{}", disk, limits[name].get<u64>()));
  }
  for (const auto& [name, list] : rate_lists) {
    if (limits.contains(name)) now.*list = limits[name].get<std::vector<std::string>>();
  }
  if (auto ok = now.validate(); !ok) return invalid(std::move(ok.error()));
  return now;
}

Json limits_json(const domain::DomainLimits& limits) {
  Json out = Json::object();
  if (limits.memory != 0) out["memory"] = limits.memory;
  if (limits.memory_reservation != 0) out["memoryReservation"] = limits.memory_reservation;
  if (limits.memory_swap != 0) out["memorySwap"] = limits.memory_swap;
  if (limits.cpu_thousandths != 0) out["cpus"] = static_cast<double>(limits.cpu_thousandths) / 1000;
  if (limits.cpu_shares != 0) out["cpuWeight"] = cpu_weight_of_shares(limits.cpu_shares);
  if (!limits.cpuset_cpus.empty()) out["cpuset"] = limits.cpuset_cpus;
  if (!limits.cpuset_mems.empty()) out["numaNodes"] = limits.cpuset_mems;
  if (limits.pids != 0) out["pids"] = limits.pids;
  if (limits.blkio_weight != 0) out["ioWeight"] = io_weight_of_blkio(limits.blkio_weight);
  for (const auto& [name, list] : rate_lists) {
    const std::string key = name;
    const u64 rate = key == "deviceReadBps" || key == "deviceWriteBps" ? rate_of(limits.*list) : 0;
    if (rate != 0) {
      out[key == "deviceReadBps" ? "readBps" : "writeBps"] = rate;
    } else if (!(limits.*list).empty()) {
      out[key] = limits.*list;
    }
  }
  return out;
}

}  // namespace nagaya::definition
