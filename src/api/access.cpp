#include "api/access.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace nagaya::api {

std::string_view role_name(Role role) {
  switch (role) {
    case Role::viewer: return "viewer";
    case Role::operator_: return "operator";
    default: return "admin";
  }
}

Result<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::viewer, Role::operator_, Role::admin}) {
    if (text == role_name(role)) return role;
  }
  return fail(fmt::format("'{}' is no role", text), {}, "viewer, operator or admin");
}

Result<Scope> parse_scope(std::string_view text) {
  constexpr std::pair<std::string_view, Scope> names[] = {
      {"domain", Scope::domain}, {"volume", Scope::volume}, {"operation", Scope::operation}, {"definition", Scope::definition},
      {"filter", Scope::filter}, {"shared", Scope::shared}, {"host", Scope::host}};
  for (const auto& [name, scope] : names) {
    if (text == name) return scope;
  }
  return fail(fmt::format("'{}' is no scope", text));
}

bool sees(const Caller& caller, std::string_view project) {
  return !caller.confined() || std::ranges::find(caller.projects, project) != caller.projects.end();
}

Answer<> may_call(const Caller& caller, Role needed, Scope scope, bool reads) {
  if (caller.role < needed) {
    return refuse(403, fmt::format("{} has the role {}; this needs {}", caller.name, role_name(caller.role), role_name(needed)));
  }
  // Every token's list shows who else there is: that is the host's, too.
  if (scope == Scope::host && caller.confined()) {
    return refuse(403, fmt::format("{} is confined to projects; this {} the whole host", caller.name, reads ? "shows" : "changes"));
  }
  return {};
}

Answer<> may_use(const Caller& caller, std::string_view project, std::string_view what, std::string_view name) {
  if (sees(caller, project)) return {};
  return refuse(404, fmt::format("there is no {} '{}'", what, name));
}

Answer<> may_make_in(const Caller& caller, std::string_view project) {
  if (sees(caller, project)) return {};
  return refuse(403, fmt::format("project '{}' is not one of {}'s", project, caller.name), "project");
}

Answer<> may_define(const Caller& caller, const Json& definition) {
  if (caller.role == Role::admin && !caller.confined()) return {};
  const auto host_only = [&](std::string_view what, std::string field) {
    return refuse(403, fmt::format("{} is for administrators of the host", what), std::move(field));
  };
  // What reaches for the host, or loosens what keeps a guest in place. Fields that are added later are the administrators' until they stand here.
  constexpr std::string_view open_fields[] = {
      "kind",     "name",      "project", "image",    "command",  "entrypoint", "env",         "workdir",    "user",    "hostname", "limits", "labels", "networks",
      "publish",  "volumes",   "restart", "health",    "autostart", "terminal", "interactive", "system",    "reaper",     "remove",  "stopSignal", "stopTimeout", "readOnly",
      "shmSize",  "ulimits",   "capDrop", "tmpfs",    "publishAll", "dns",      "addHosts",    "engine",     "cpu",     "numaNode", "diskSize", "userData", "append",
      "sshKeys",  "privileged"};
  for (const auto& [field, value] : definition.items()) {
    if (std::ranges::find(open_fields, field) == std::end(open_fields)) return host_only(fmt::format("'{}'", field), field);
  }
  if (const auto limits = definition.find("limits"); limits != definition.end()) {
    for (const char* field : {"deviceReadBps", "deviceWriteBps", "deviceReadIops", "deviceWriteIops"}) {
      if (limits->contains(field)) return host_only("a device of the host", fmt::format("limits.{}", field));
    }
  }
  if (definition.value("privileged", false)) return host_only("a privileged container", "privileged");
  if (const auto volumes = definition.find("volumes"); volumes != definition.end()) {
    for (std::size_t i = 0; i < volumes->size(); i++) {
      // A place alone gets a volume of its own. A named volume is a plain name; everything else is a path of the host.
      const std::string text = (*volumes)[i].get<std::string>(), source = text.substr(0, text.find(':'));
      const bool named = text.find(':') == std::string::npos ||
                         (!source.empty() && source.find_first_of("/,=\\") == std::string::npos && source[0] != '.' && source[0] != '~');
      if (!named) return host_only("a folder of the host", fmt::format("volumes[{}]", i));
    }
  }
  if (const auto networks = definition.find("networks"); networks != definition.end()) {
    for (std::size_t i = 0; i < networks->size(); i++) {
      const std::string text = (*networks)[i].get<std::string>(), name = text.substr(0, text.find(','));
      if (name == "host" || name.find(':') != std::string::npos) return host_only("the host's own network", fmt::format("networks[{}]", i));
    }
  }
  // The kernel's command line can turn off what keeps a guest in place only inside that guest: it is the caller's own.
  return {};
}

}  // namespace nagaya::api
