// Who may do what. All of it is decided here: the router asks for the route, handlers ask for the object, and operations ask
// once more when they act.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "api/problem.hpp"

namespace nagaya::api {

enum class Role : unsigned char { viewer, operator_, admin };
[[nodiscard]] std::string_view role_name(Role role);
[[nodiscard]] Result<Role> parse_role(std::string_view text);

/// Whose the thing is that a route is about (x-scope of the API's document).
enum class Scope : unsigned char { domain, volume, operation, definition, filter, shared, host };
[[nodiscard]] Result<Scope> parse_scope(std::string_view text);

inline constexpr const char* default_project = "default";

struct Caller {
  std::string name;
  Role role = Role::viewer;
  std::vector<std::string> projects{};  ///< empty: all
  std::string token{};                  ///< id of the token it came with; empty: over the Unix socket
  [[nodiscard]] bool confined() const { return !projects.empty(); }
};

/// Whether things of that project are there for the caller at all.
[[nodiscard]] bool sees(const Caller& caller, std::string_view project);
/// Whether the caller may use a route of this role and scope; `reads`: it changes nothing.
[[nodiscard]] Answer<> may_call(const Caller& caller, Role needed, Scope scope, bool reads);
/// Whether the caller may use an object of that project: 404, as if it were not there.
[[nodiscard]] Answer<> may_use(const Caller& caller, std::string_view project, std::string_view what, std::string_view name);
/// Whether the caller may make something in that project: 403.
[[nodiscard]] Answer<> may_make_in(const Caller& caller, std::string_view project);
/// What a definition asks of the host itself (its folders, its privileges) is for administrators who are not confined.
[[nodiscard]] Answer<> may_define(const Caller& caller, const Json& definition);

}  // namespace nagaya::api
