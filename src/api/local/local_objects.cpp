#include "api/local/local_objects.hpp"

#include <fmt/format.h>

#include <cerrno>

#include "api/local/commands.hpp"
#include "api/local/life.hpp"
#include "api/text.hpp"
#include "definition/document.hpp"
#include "definition/objects.hpp"
#include "definition/plan.hpp"
#include "image/store.hpp"
#include "net/network.hpp"

namespace nagaya::api {
namespace {

Json shown(const net::Network& network) {
  Json out = definition::network_document(network);
  out["kind"] = out["driver"];
  out.erase("driver");
  out["internal"] = network.internal;
  return out;
}

}  // namespace

Result<Json> LocalObjects::images() {
  TRY_ASSIGN(const auto store, image::Store::open());
  TRY_ASSIGN(const auto images, store.list());
  Json out = Json::array();
  for (const image::Image& one : images) {
    Json shown = {{"id", one.id}, {"kind", image::kind_name(one.kind)}, {"size", one.size}, {"created", time_text(static_cast<i64>(one.created))}};
    if (const auto users = store.users(one.id); !users.empty()) shown["usedBy"] = users;
    // Under each of its names, so that one can be found and removed by any.
    for (const std::string& name : one.names) {
      shown["name"] = name;
      out.push_back(shown);
    }
    if (one.names.empty()) {
      shown["name"] = "";
      out.push_back(shown);
    }
  }
  return out;
}

Result<> LocalObjects::pull(const std::string& reference, Task& task) {
  const bool recipe = reference == "debian" || reference == "debian:latest";
  task.progress(-1, recipe ? "building" : "fetching");
  const std::vector<std::string> words = recipe ? std::vector<std::string>{"build", "debian"} : std::vector<std::string>{"pull", reference};
  TRY_ASSIGN(const CommandEnd end, run_command(words, task.stop(), [&](const std::string& line) { task.progress(-1, printable(line, 200)); }));
  return succeed(fmt::format("cannot get '{}'", reference), end);
}

Result<> LocalObjects::make_disk(const std::string& image, Task& task) {
  task.progress(-1, "making the image's disk");
  TRY_ASSIGN(const CommandEnd end, run_command({"build", "disk", "--name=" + image}, task.stop(), [&](const std::string& line) { task.progress(-1, printable(line, 200)); }));
  return succeed(fmt::format("cannot make the disk of '{}'", image), end);
}

Result<> LocalObjects::remove_image(const std::string& reference) {
  TRY_ASSIGN(auto store, image::Store::open());
  const auto image = store.find(reference);
  if (!image) return of_code(ENOENT, fmt::format("there is no image '{}'", reference));
  // The last name takes the image with it; then nothing may be based on it.
  auto done = store.remove(reference);
  if (done) return {};
  if (!store.users(image->id).empty()) done.error().code = EBUSY;
  return std::unexpected(std::move(done.error()));
}

Result<Json> LocalObjects::networks() {
  TRY_ASSIGN(const auto networks, net::NetworkStore().list());
  Json out = Json::array();
  for (const net::Network& one : networks) out.push_back(shown(one));
  return out;
}

Result<Json> LocalObjects::create_network(const Json& network) {
  const std::string name = network.at("name"), kind = network.value("kind", "user");
  if (network.contains("bridge")) return of_code(EOPNOTSUPP, "bridge", "its name is made from the network's");
  if (net::NetworkStore().find(name)) return of_code(EEXIST, fmt::format("there is a network '{}' already", name));
  std::vector<std::string> words = {"network", "create", "--driver=" + kind};
  if (const std::string subnet = network.value("subnet", ""); !subnet.empty()) {
    if (!net::Net4::parse(subnet)) return of_code(EINVAL, fmt::format("subnet: '{}' is none", subnet));
    words.push_back("--subnet=" + subnet);
  }
  if (network.value("internal", false)) words.emplace_back("--internal");
  words.push_back(name);  // the schema lets no dash begin it
  // The command knows how to undo what fails half-way.
  TRY_ASSIGN(const CommandEnd end, run_command(words));
  TRY(succeed(fmt::format("cannot make network '{}'", name), end));
  TRY_ASSIGN(const auto made, net::NetworkStore().find(name));
  return shown(made);
}

Result<> LocalObjects::remove_network(const std::string& name) {
  const auto found = net::NetworkStore().find(name);
  if (!found) return of_code(ENOENT, fmt::format("there is no network '{}'", name));
  if (found->built_in()) return of_code(EBUSY, fmt::format("network '{}' is built in", name));
  TRY_ASSIGN(const CommandEnd end, run_command({"network", "rm", name}));
  auto done = succeed(fmt::format("cannot remove network '{}'", name), end);
  if (!done) done.error().code = EBUSY;
  return done;
}

Result<Json> LocalObjects::volumes() {
  Json out = Json::array();
  for (Json& one : definition::all_volumes()) out.push_back(std::move(one));
  return out;
}

Result<Json> LocalObjects::create_volume(const Json& volume) {
  TRY(definition::create_volume(volume));
  return definition::find_volume(volume.at("name")).value_or(volume);
}

Result<> LocalObjects::remove_volume(const std::string& name) { return definition::remove_volume(name); }

Result<Json> LocalObjects::put(const Json& document, bool dry_run) {
  const bool network = document.at("kind") == "network";
  TRY_ASSIGN(const definition::Plan plan, network ? definition::plan_network(net::NetworkStore(), document) : definition::plan_volume(document));
  if (!dry_run && std::string_view(plan.action()) != "none") {
    CommandEnd end;
    TRY_ASSIGN(end, apply_by_command(document, {}, {}, {}));
    TRY(succeed(fmt::format("cannot apply {}", definition::title(document)), end));
  }
  return plan.to_json();
}

}  // namespace nagaya::api
