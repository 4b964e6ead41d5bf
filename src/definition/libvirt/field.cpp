#include "definition/libvirt/field.hpp"

#include <fmt/format.h>

namespace nagaya::definition::libvirt {

const Json& Rest::look(const char* field) const {
  static const Json none;
  const auto found = json_.is_object() ? json_.find(field) : json_.end();
  return found == json_.end() ? none : *found;
}

Json Rest::take(const char* field) {
  Json out = look(field);
  if (!out.is_null()) json_.erase(field);
  return out;
}

void Rest::leave(const char* field, std::string why, std::vector<std::string>& left_out, const std::string& prefix) {
  if (take(field).is_null()) return;
  left_out.push_back(fmt::format("{}{}{}", prefix, field, why.empty() ? "" : fmt::format(" ({})", why)));
}

void Rest::finish(std::vector<std::string>& left_out, const std::string& prefix) const {
  if (!json_.is_object()) return;
  for (const auto& [key, value] : json_.items()) left_out.push_back(prefix + key);
}

}  // namespace nagaya::definition::libvirt
