#include "domain/machine_group.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>

#include "base/log.hpp"
#include "domain/container_spec.hpp"
#include "host/fd.hpp"

namespace nagaya::domain {
namespace {

constexpr u64 longest_note = 64 * KiB;

/// Of the software engine, when nothing is said: twice its code cache, for code and its records (engine/soft/code_cache.hpp).
constexpr u64 usual_code_cache = 128 * MiB;
/// The program, its heap and stacks, and some of its disks' page cache, which belongs to whoever reads first.
constexpr u64 base_room = 192 * MiB;
/// Of each disk (tables of an image, requests under way) and each share (inodes and names that the kernel keeps).
constexpr u64 device_room = 32 * MiB;
/// Page tables on both sides, dirty bitmaps: one part in 32 of the guest's memory is several times what they take.
constexpr u64 part_of_memory = 32;

cgroup::Place place_of(const Machine& machine) {
  if (::geteuid() == 0) return {.path = "/nagaya/" + machine.spec.name};
  return {.path = "nagaya-" + machine.spec.name, .optional = true};
}

}  // namespace

u64 process_memory_of(u64 guest_memory) { return guest_memory + guest_memory / part_of_memory; }

u64 process_memory(const proto::VmConfig& config) {
  const u64 code_cache = config.soft.code_cache != 0 ? config.soft.code_cache : usual_code_cache;
  const u64 soft = config.engine == "kvm" ? 0 : 2 * code_cache;
  u64 files = 0;
  for (const auto& image : config.fw_cfg) files += image.file.empty() ? 0 : device_room;
  return process_memory_of(config.memory) + base_room + soft + files +
         device_room * (config.disks.size() + config.shares.size() + config.nets.size() + config.pmems.size());
}

Result<cgroup::Resources> machine_resources(const DomainLimits& limits, const proto::VmConfig& config) {
  DomainLimits all = limits;
  if (all.memory == 0) all.memory = process_memory(config);
  return limits_as_resources(all);
}

Result<MachineGroup> MachineGroup::make(const Machine& machine, const proto::VmConfig& config) {
  const bool wanted = machine.spec.limits != DomainLimits{};
  MachineGroup out;
  const auto made = [&]() -> Result<> {
    TRY_ASSIGN(const auto layout, cgroup::read_layout());
    TRY_ASSIGN(const auto resources, machine_resources(machine.spec.limits, config));
    const cgroup::Place place = place_of(machine);
    TRY_ASSIGN(const auto planned, cgroup::Group::plan(layout, place));
    const std::string note = planned.saved();
    TRY(host::replace_file(machine.places.group(), {reinterpret_cast<const u8*>(note.data()), note.size()}));
    out.note_ = machine.places.group();
    std::vector<std::string> notices;
    TRY_ASSIGN(auto group, cgroup::Group::create(layout, place, resources, 0, &notices));
    for (const std::string& line : notices) log::info("machine '{}': {}", machine.spec.name, line);
    out.group_.emplace(std::move(group));
    const std::string limit = std::to_string(resources.memory ? resources.memory->limit.value_or(0) : 0);
    return host::replace_file(machine.places.group_limit(), {reinterpret_cast<const u8*>(limit.data()), limit.size()});
  }();
  if (made) return out;
  if (wanted) return std::unexpected(Error(made.error()).within(fmt::format("limits of machine '{}'", machine.spec.name)));
  log::info("machine '{}' has no cgroup: {}", machine.spec.name, made.error().message());
  return out;
}

MachineGroup::~MachineGroup() {
  if (group_) {
    if (auto done = group_->remove(); !done) {
      log::info("{}", done.error().message());
      return;  // the next command finds it by the note
    }
  }
  if (!note_.empty()) ::unlink(note_.c_str());
}

Result<> MachineGroup::join() const { return group_ ? group_->add(0) : Result<>(); }

Result<std::optional<cgroup::Group>> running_group(const Machine& machine) {
  const auto note = host::read_file(machine.places.group(), longest_note);
  if (!note) return std::optional<cgroup::Group>();
  TRY_ASSIGN(const auto layout, cgroup::read_layout());
  TRY_ASSIGN(auto group, cgroup::Group::open(layout, std::string(note->begin(), note->end())));
  return std::optional<cgroup::Group>(std::move(group));
}

std::optional<u64> started_limit(const Machine& machine) {
  const auto text = host::read_file(machine.places.group_limit(), longest_note);
  if (!text) return {};
  u64 limit = 0;
  const char* begin = reinterpret_cast<const char*>(text->data());
  const auto [end, error] = std::from_chars(begin, begin + text->size(), limit);
  if (error != std::errc{} || limit == 0) return {};
  return limit;
}

void remove_left_group(const Machine& machine) {
  const auto note = host::read_file(machine.places.group(), longest_note);
  if (!note) return;
  const auto layout = cgroup::read_layout();
  if (!layout) return;
  if (auto group = cgroup::Group::open(*layout, std::string(note->begin(), note->end()))) {
    (void)group->kill_all(SIGKILL);
    if (!group->remove()) return;
  }
  ::unlink(machine.places.group().c_str());
}

}  // namespace nagaya::domain
