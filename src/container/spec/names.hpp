// Names the specification gives to kinds of namespaces.
#pragma once
#include <array>
#include <optional>
#include <string_view>

#include "container/spec/spec.hpp"

namespace nagaya::container {

inline constexpr std::array<std::pair<std::string_view, NamespaceKind>, 8> namespace_names{{
    {"pid", NamespaceKind::pid},
    {"network", NamespaceKind::network},
    {"mount", NamespaceKind::mount},
    {"ipc", NamespaceKind::ipc},
    {"uts", NamespaceKind::uts},
    {"user", NamespaceKind::user},
    {"cgroup", NamespaceKind::cgroup},
    {"time", NamespaceKind::time},
}};

constexpr std::optional<NamespaceKind> namespace_kind(std::string_view name) {
  for (const auto& [text, kind] : namespace_names)
    if (text == name) return kind;
  return {};
}
constexpr std::string_view namespace_name(NamespaceKind kind) {
  for (const auto& [text, known] : namespace_names)
    if (known == kind) return text;
  return "";
}

}  // namespace nagaya::container
