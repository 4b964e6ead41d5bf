#include "oci/limits/hogs.hpp"

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

namespace nagaya::oci_test {

Running::Running(const std::string& script, const Json& resources, const Json& mounts) {
  bundle_.script(script);
  auto& limits = bundle_.config["linux"]["resources"];
  for (const auto& [name, value] : resources.items()) limits[name] = value;
  for (const auto& mount : mounts) bundle_.config["mounts"].push_back(mount);
  bundle_.write_config();
  const Outcome made = bundle_.oci({"run", "-d", "-b", bundle_.path, "c"});
  if (made.code != 0) failure_ = made.err.empty() ? "it ended with " + std::to_string(made.code) : made.err;
}

cgroup::Stats Running::stats() const {
  const auto layout = cgroup::read_layout();
  if (!layout) return {};
  const auto group = cgroup::Group::at(*layout, {.path = bundle_.config["linux"]["cgroupsPath"]});
  const auto stats = group ? group->stats() : std::unexpected(group.error());
  return stats ? *stats : cgroup::Stats{};
}

std::string Running::file(const std::string& controller, const std::string& name) const {
  const auto layout = cgroup::read_layout();
  const auto group = layout ? cgroup::Group::at(*layout, {.path = bundle_.config["linux"]["cgroupsPath"]})
                            : std::unexpected(layout.error());
  if (!group) return {};
  std::ifstream in(group->folder(controller) + "/" + name);
  std::stringstream text;
  text << in.rdbuf();
  std::string out = text.str();
  while (out.ends_with('\n')) out.pop_back();
  return out;
}

bool wait_a_little(int round) {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return round < 1500;
}

}  // namespace nagaya::oci_test
