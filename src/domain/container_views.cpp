#include "domain/container_views.hpp"

#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/log.hpp"

namespace nagaya::domain {

void ContainerViews::begin(const Container& container, const std::string& program) {
  folder_ = container.places.runtime + "/view";
  program_ = program;
  start();
}

void ContainerViews::start() {
  if (program_.empty()) return;
  auto started = procview::Server::start(folder_, program_);
  if (started) {
    server_ = std::move(*started);
  } else {
    log::warning("{}", started.error().message());
  }
}

std::vector<std::pair<std::string, std::string>> ContainerViews::of_start(const std::string& cgroup) {
  std::vector<std::pair<std::string, std::string>> out;
  if (server_.pid() <= 0) start();
  if (server_.pid() <= 0) return out;
  auto ready = server_.ready();
  // One name for all starts: the folder is the container's own.
  auto binds = ready ? procview::add(folder_, {.name = "c", .cgroup = cgroup}) : std::unexpected(std::move(ready).error());
  if (!binds) {
    log::warning("{}", binds.error().message());
    end();
    return out;
  }
  for (auto& [source, target] : *binds) {
    // Not every kernel has each of them (slabinfo), and a file can only be put over one that is there.
    if (::access(target.c_str(), F_OK) == 0) out.emplace_back(std::move(source), std::move(target));
  }
  return out;
}

void begin_uptime(container::Spec& spec) {
  using container::NamespaceKind;
  const bool own_processes = std::ranges::any_of(spec.linux.namespaces, [](const auto& space) { return space.kind == NamespaceKind::pid && space.path.empty(); });
  if (!own_processes || ::access("/proc/self/ns/time", F_OK) != 0) return;
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  spec.linux.namespaces.push_back({NamespaceKind::time, {}});
  // time_namespaces(7): the part below a second is never negative.
  spec.linux.boottime_offset = now.tv_nsec == 0 ? container::TimeOffset{-now.tv_sec, 0}
                                                : container::TimeOffset{-now.tv_sec - 1, static_cast<u32>(1'000'000'000 - now.tv_nsec)};
}

}  // namespace nagaya::domain
