#include "cgroup/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "cgroup/file.hpp"

namespace nagaya::cgroup {
namespace {

/// What a refusal means, where the errno value alone says little.
std::string hint_for(const Write& write, int code) {
  const std::string_view file = write.file;
  if (code == ENOENT) {
    if (file.starts_with("memory.memsw") || file == "memory.swap.max")
      return "the kernel does not count swap; boot it with swapaccount=1";
    if (file.find(".weight") != std::string_view::npos && (file.starts_with("blkio") || file.starts_with("io"))) {
      return "weights of block I/O need the I/O scheduler bfq or the controller iocost";
    }
    if (file.starts_with("cpu.rt")) return "the kernel is built without CONFIG_RT_GROUP_SCHED";
    if (file.starts_with("hugetlb")) return "the host has no pages of that size";
    return "the controller is not enabled in this group, or the kernel is too old";
  }
  if (code == EBUSY && file.starts_with("memory")) return "the group uses more than that now";
  if (code == EBUSY && file.starts_with("cgroup.subtree_control"))
    return "the group has processes of its own; move them into a group below it first";
  if (code == ENODEV) return "no such device";
  if (file.starts_with("cpuset") && (code == EINVAL || code == EACCES || code == ENOSPC || code == ERANGE)) {
    return "only CPUs and memory nodes that the group above has";
  }
  if (file == "devices.allow" && code == EPERM) return "the group above does not have that device itself";
  if (file.starts_with("cpu.rt") && code == EINVAL) return "the groups above have no real-time budget to give";
  return {};
}

std::unexpected<Error> refused(const std::string& folder, const Write& write, int code) {
  return fail_errno(fmt::format("cannot set '{}' to '{}' in '{}'", write.file, write.value, folder), code,
                    hint_for(write, code));
}

/// Keeps the last file open: rules about devices are a dozen values for one file.
class Writer {
 public:
  explicit Writer(const std::string& folder) : folder_(folder) {}
  int operator()(const Write& write) {
    int code = put(write.file, write.value);
    if (code == ENOENT && !write.other_file.empty()) code = put(write.other_file, write.other_value);
    return (code == ENOENT && write.may_miss) || (code == EPERM && write.may_refuse) ? 0 : code;
  }

 private:
  int put(const std::string& file, const std::string& value) {
    if (!last_ || file != name_) {
      last_ = open_for_writing(folder_, file);
      if (!last_) return errno;
      name_ = file;
    }
    return put_open(last_.get(), value);
  }

  const std::string& folder_;
  std::string name_;
  host::Fd last_;
};

}  // namespace

Result<> carry_out(const std::string& folder, std::span<const Write> writes) {
  Writer try_write(folder);
  std::vector<std::pair<const Write*, int>> waiting;
  for (const Write& write : writes) {
    const int code = try_write(write);
    if (code == 0) continue;
    if (code != EINVAL) return refused(folder, write, code);
    waiting.emplace_back(&write, code);
  }
  for (bool progress = writes.size() > waiting.size(); progress && !waiting.empty();) {
    const auto before = waiting.size();
    std::erase_if(waiting, [&](auto& entry) { return (entry.second = try_write(*entry.first)) == 0; });
    progress = waiting.size() < before;
  }
  if (!waiting.empty()) return refused(folder, *waiting.front().first, waiting.front().second);
  return {};
}

Result<> check_memory_use(const container::MemoryLimits& limits, const std::string& folder, std::string_view use_file) {
  if (!limits.check_before_update.value_or(false) || folder.empty() || limits.limit.value_or(0) <= 0) return {};
  TRY_ASSIGN(const u64 use, get_number(folder, use_file));
  if (use != ~u64{0} && use > static_cast<u64>(*limits.limit)) {
    return fail(fmt::format("memory limit {}", *limits.limit), fmt::format("the group uses {} bytes now", use),
                "without checkBeforeUpdate the kernel would end processes");
  }
  return {};
}

Result<> check_page_size(std::string_view name) {
  std::string_view rest = name;
  while (!rest.empty() && rest.front() >= '0' && rest.front() <= '9') rest.remove_prefix(1);
  if (rest.size() == name.size() || (rest != "KB" && rest != "MB" && rest != "GB")) {
    return fail(fmt::format("huge page size '{}'", name), "not a size such as 2MB or 1GB");
  }
  return {};
}

Result<> rdma_writes(const Resources& resources, Writes& out) {
  for (const auto& limit : resources.rdma) {
    if (limit.device.empty() || limit.device.find_first_of(" \n=") != std::string::npos)
      return fail(fmt::format("RDMA device '{}'", limit.device), "no such name");
    std::string value = limit.device;
    if (limit.handles) value += fmt::format(" hca_handle={}", *limit.handles);
    if (limit.objects) value += fmt::format(" hca_object={}", *limit.objects);
    out.push_back({"rdma.max", value});
  }
  return {};
}

}  // namespace nagaya::cgroup
