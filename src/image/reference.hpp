// What people call an image: NAME[:TAG], as registries spell it ("debian", "registry.example:5000/team/app:1.2").
#pragma once
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace nagaya::image {

struct Reference {
  std::string name;
  std::string tag = "latest";
  [[nodiscard]] std::string text() const { return name + ":" + tag; }

  /// Checks the grammar of the OCI distribution specification 1.1 ("Pulling manifests"); a name may begin with a
  /// registry's HOST[:PORT].
  static Result<Reference> parse(std::string_view text);
};

}  // namespace nagaya::image
