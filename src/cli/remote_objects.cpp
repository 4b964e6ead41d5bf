// Networks and images of a server, by the words of this host's own.
#include <fmt/core.h>

#include <charconv>
#include <cstdio>

#include "cli/remote.hpp"
#include "cli/table.hpp"

namespace nagaya::cli {
namespace {

using api::Client;
using api::url_part;
using Json = nlohmann::json;

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Result<int> remove_each(const Client& client, const std::string& folder, const std::vector<std::string>& names) {
  return each_there(names, [&](const std::string& name) -> Result<> {
    TRY(client.call("DELETE", folder + url_part(name)));
    return {};
  });
}

Result<int> create_network(const Client& client, const Parsed& options) {
  const auto& names = options.all("NAME");
  if (names.size() != 1) return fail("nagaya network create", "it takes one name");
  Json document = {{"kind", "network"}, {"name", names[0]}, {"driver", options.has("driver") ? options.last("driver") : "user"}};
  if (options.has("subnet")) document["subnet"] = options.last("subnet");
  if (options.has("mtu")) {
    const std::string text = options.last("mtu");
    unsigned mtu = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mtu);
    if (error != std::errc{} || end != text.data() + text.size()) return fail(fmt::format("--mtu {}", text), "it must be a whole number");
    document["mtu"] = mtu;
  }
  if (options.has("internal")) document["internal"] = true;
  if (options.has("no-host-loopback")) document["hostLoopback"] = false;
  if (options.has("no-ip6")) document["ip6"] = false;
  const std::string path = "/networks/" + url_part(names[0]);
  TRY_ASSIGN(const Json plan, client.call("PUT", path + "?dryRun=true", document));
  if (plan.value("action", "") != "create") return fail(fmt::format("network '{}'", names[0]), "it is there already");
  TRY(client.call("PUT", path, document));
  print(names[0] + "\n");
  return 0;
}

Result<int> list_networks(const Client& client, const Parsed& options) {
  TRY_ASSIGN(const Json networks, client.call("GET", "/networks"));
  Table table{{"name", "driver", "subnet", "mtu", "internal"}, {}};
  for (const Json& one : networks) {
    if (options.has("quiet")) print(one.value("name", "") + "\n");
    table.rows.push_back({one.value("name", ""), one.value("kind", ""), one.value("subnet", "-"), one.contains("mtu") ? fmt::format("{}", one.value("mtu", 0)) : "-",
                          one.value("internal", false) ? "yes" : "no"});
  }
  if (!options.has("quiet")) print(render(table, options.last("output")));
  return 0;
}

Result<int> network(const Client& client, const Parsed& options) {
  const std::string action = options.last("ACTION");
  if (action == "create") return create_network(client, options);
  if (action == "ls") return list_networks(client, options);
  if (!options.has("NAME")) return fail(fmt::format("nagaya network {}", action), "no network is named", "'nagaya network ls' lists them");
  if (action == "rm") return remove_each(client, "/networks/", options.all("NAME"));
  if (action != "inspect") return fail("nagaya network", "no action is named", "create, ls, inspect or rm");
  Json out = Json::array();
  for (const std::string& name : options.all("NAME")) {
    TRY_ASSIGN(Json one, client.call("GET", "/networks/" + url_part(name)));
    out.push_back(std::move(one));
  }
  print(out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  return 0;
}

Result<int> rmi(const Client& client, const Parsed& options) {
  if (!options.has("IMAGE")) return fail("nagaya rmi", "no image is named", "'nagaya images' lists them");
  return remove_each(client, "/images/", options.all("IMAGE"));
}

}  // namespace

std::vector<CommandSpec> remote_object_commands(const Client& client) {
  return {done_there("network", client, network), done_there("rmi", client, rmi)};
}

}  // namespace nagaya::cli
