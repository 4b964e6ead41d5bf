// A document that is taken apart: what nobody has taken is what was left out.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "definition/yaml.hpp"

namespace nagaya::definition::libvirt {

class Rest {
 public:
  explicit Rest(Json document) : json_(std::move(document)) {}

  [[nodiscard]] bool has(const char* field) const { return json_.contains(field); }
  [[nodiscard]] const Json& look(const char* field) const;  ///< null: there is none
  /// The field, which is gone then; null: there is none.
  Json take(const char* field);
  /// Members of the field "limits" or "hardware", or of an item of a list of hardware, as one that is taken apart by itself.
  Rest part(const char* field) { return Rest(take(field)); }
  /// Left out for a reason; gone, too.
  void leave(const char* field, std::string why, std::vector<std::string>& left_out, const std::string& prefix = {});
  /// What is still there, by its path.
  void finish(std::vector<std::string>& left_out, const std::string& prefix = {}) const;

 private:
  Json json_;
};

}  // namespace nagaya::definition::libvirt
