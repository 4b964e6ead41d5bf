// Resources as writes into a group's files, one controller at a time.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cgroup/cgroup.hpp"

namespace nagaya::cgroup {

/// One value for one file.
struct Write {
  std::string file;
  std::string value;
  std::string other_file{};  ///< instead, where `file` is not there (other I/O scheduler)
  std::string other_value{};
  bool may_miss = false;    ///< a kernel without the file does the same as with it
  bool may_refuse = false;  ///< EPERM is no error

  bool operator==(const Write&) const = default;
};
using Writes = std::vector<Write>;

/// Controllers that resources can need, by cgroup v1's names ("blkio" is v2's "io").
inline constexpr std::string_view all_controllers[] = {"cpu",     "cpuset",  "memory", "pids",    "blkio",
                                                       "devices", "hugetlb", "rdma",   "net_cls", "net_prio"};

/// What `resources` ask of one controller. `folder` is read where a value depends on the one before it; empty: a new
/// group.
Result<Writes> writes_v1(std::string_view controller, const Resources& resources, const std::string& folder,
                         Notices* notices);
/// The same on v2. The devices of v2 are a program and not here; net_cls and net_prio do not exist there.
Result<Writes> writes_v2(std::string_view controller, const Resources& resources, const std::string& folder,
                         Notices* notices);
/// `resources.unified`, with names that leave the group refused.
Result<Writes> writes_unified(const Resources& resources);
/// Does them. Values have rules among each other (memory ≤ memory and swap, burst ≤ quota, …), which let them change in
/// one order only, another one for rising than for falling: what is refused as invalid is tried again after the others,
/// as long as that helps.
Result<> carry_out(const std::string& folder, std::span<const Write> writes);

// Parts that both versions share.
Result<> check_memory_use(const container::MemoryLimits& limits, const std::string& folder, std::string_view use_file);
Result<> check_page_size(std::string_view name);  ///< "2MB", "1GB", "64KB"
Result<> rdma_writes(const Resources& resources, Writes& out);

}  // namespace nagaya::cgroup
