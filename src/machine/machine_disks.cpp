// What the control thread does with the disks of a running machine.
#include <fmt/format.h>

#include <algorithm>

#include "machine/machine.hpp"
#include "virtio/blk/blk.hpp"

namespace nagaya::machine {

void Machine::disk_full(std::size_t index) {
  {
    const std::lock_guard lock(events_mutex_);
    if (!full_disks_.insert(index).second) return;
  }
  for (const auto& thread : threads_) thread->stop();
  hooks_.notify();
}

std::vector<Machine::DiskRef> Machine::take_full_disks() {
  std::set<std::size_t> full;
  {
    const std::lock_guard lock(events_mutex_);
    full.swap(full_disks_);
  }
  std::vector<DiskRef> out;
  for (const std::size_t index : full) out.push_back({board_->disks[index].name, board_->disks[index].path});
  return out;
}

u64 Machine::disk_space(const std::string& name) const {
  const auto disk = std::ranges::find(board_->disks, name, &BoardDisk::name);
  return disk == board_->disks.end() ? ~u64{0} : disk->device.host_space();
}

/// A saved machine goes on with its disks as they are in their files.
Result<> Machine::sync_disks() {
  for (const BoardDisk& disk : board_->disks) {
    if (auto done = disk.device.sync(); !done) return std::unexpected(std::move(done.error()).within(fmt::format("'{}'", disk.path)));
  }
  return {};
}

Result<> Machine::resize_disk(const std::string& name, u64 size) {
  const auto disk = std::ranges::find(board_->disks, name, &BoardDisk::name);
  if (disk == board_->disks.end()) {
    return fail(fmt::format("no disk '{}'", name), {}, fmt::format("there are {}, disk0 being the first", board_->disks.size()));
  }
  return disk->device.resize(size);
}

}  // namespace nagaya::machine
