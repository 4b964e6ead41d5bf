#include "domain/machine_update.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <thread>

#include "base/log.hpp"
#include "domain/container_spec.hpp"
#include "domain/machine_control.hpp"
#include "domain/machine_group.hpp"

namespace nagaya::domain {
namespace {

using Verb = proto::VmCommand::Verb;

std::unexpected<Error> needs_restart(const MachineSpec& spec, std::string why) {
  return std::unexpected(Error{fmt::format("machine '{}' must be started anew for that", spec.name), std::move(why), fmt::format("stop it first: 'nagaya stop {}'", spec.name), EBUSY});
}

/// Thousandths of a processor that a process with so many may take; 0: all of them.
u64 quota(const MachineSpec& spec, unsigned vcpus) {
  const u64 wanted = spec.limits.cpu_thousandths != 0 ? spec.limits.cpu_thousandths : u64{spec.vcpus} * 1000;
  return wanted < u64{vcpus} * 1000 ? wanted : 0;
}

/// The limits that the cgroup alone holds.
DomainLimits of_group(const MachineSpec& spec, unsigned vcpus) {
  DomainLimits out = spec.limits;
  out.cpu_thousandths = quota(spec, vcpus);
  return out;
}

/// A guest that keeps its memory whatever it is asked for must not outgrow its limit; one that takes memory back when it runs out of it
/// would be killed for that, so that its process keeps the room of its start.
bool keeps_promises(const MachineSpec& spec) { return spec.devices.balloon && !spec.devices.balloon->deflate_on_oom; }

/// Waits until the guest has given back so much that the limit harms nobody, and sets it then. The guest may be slow: no error.
void lower_when_possible(const Machine& machine, const cgroup::Group& group, u64 limit) {
  constexpr int looks = 100;
  constexpr auto pause = std::chrono::milliseconds(50);
  for (int i = 0; i < looks; ++i) {
    const auto stats = group.stats();
    if (!stats) return;
    // Memory of files that nobody maps goes by itself.
    const u64 files = stats->memory_file > stats->memory_shmem ? stats->memory_file - stats->memory_shmem : 0;
    if (stats->memory - std::min(stats->memory, files) < limit) {
      cgroup::Resources one;
      one.memory.emplace().limit = static_cast<i64>(limit);
      if (auto done = group.set(one); !done) log::info("machine '{}': {}", machine.spec.name, done.error().message());
      return;
    }
    std::this_thread::sleep_for(pause);
  }
  log::info("machine '{}': its guest has not given its memory back yet", machine.spec.name);
}

Result<> update_live(const Machine& machine, const MachineSpec& wanted) {
  auto now = command_machine(machine, {});
  if (!now) {
    now.error().code = EBUSY;
    return std::unexpected(std::move(now.error()));
  }
  const Started started{.memory = now->memory, .vcpus = now->vcpus};
  TRY_ASSIGN(cgroup::Resources resources, live_resources(machine.spec, wanted, started));
  TRY_ASSIGN(const auto group, running_group(machine));
  if (!group && of_group(machine.spec, started.vcpus) != of_group(wanted, started.vcpus)) {
    return needs_restart(wanted, "its process has no cgroup, where limits are set");
  }
  const bool other_memory = machine.spec.memory != wanted.memory;
  const auto room = group && other_memory && wanted.limits.memory == 0 && keeps_promises(machine.spec) ? started_limit(machine) : std::nullopt;
  const u64 limit = room ? *room - process_memory_of(started.memory) + process_memory_of(wanted.memory) : 0;
  const bool more = wanted.memory > machine.spec.memory;
  if (limit != 0 && more) {
    if (!resources.memory) resources.memory.emplace();
    resources.memory->limit = static_cast<i64>(limit);
  }
  if (group) {
    if (auto done = group->set(resources); !done) {
      if (done.error().code == 0) done.error().code = EINVAL;
      return std::unexpected(Error(done.error()).within(fmt::format("limits of machine '{}'", machine.spec.name)));
    }
  }
  if (!other_memory) return {};
  if (auto done = command_machine(machine, {.verb = Verb::balloon, .target = wanted.memory}); !done) {
    return std::unexpected(Error(done.error()).within(fmt::format("memory of machine '{}'", machine.spec.name)));
  }
  if (limit != 0 && !more) lower_when_possible(machine, *group, limit);
  return {};
}

}  // namespace

Result<cgroup::Resources> live_resources(const MachineSpec& before, const MachineSpec& wanted, const Started& started) {
  if (wanted.memory > started.memory) {
    return needs_restart(wanted, fmt::format("it was started with {} MiB of memory, and {} are more", started.memory / MiB, wanted.memory / MiB));
  }
  if (wanted.vcpus > started.vcpus) return needs_restart(wanted, fmt::format("it was started with {} processors, and {} are more", started.vcpus, wanted.vcpus));
  TRY_ASSIGN(cgroup::Resources out, limits_as_resources(of_group(wanted, started.vcpus)));
  // What is not said stays as it is.
  if (quota(before, started.vcpus) != 0 && quota(wanted, started.vcpus) == 0) {
    if (!out.cpu) out.cpu.emplace();
    out.cpu->quota = -1;
  }
  return out;
}

Result<> update_machine(const MachineStore& store, const Machine& machine, const MachineSpec& wanted) {
  if (auto ok = wanted.validate(); !ok) {
    ok.error().code = EINVAL;
    return ok;
  }
  // Held while it changes, so that no start comes in between.
  const auto held = store.lock(machine);
  if (!held) {
    if (held.error().code != EBUSY) return std::unexpected(held.error());
    TRY(update_live(machine, wanted));
  }
  return store.save({.spec = wanted, .places = machine.places});
}

}  // namespace nagaya::domain
