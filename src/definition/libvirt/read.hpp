// A libvirt domain as a definition (https://libvirt.org/formatdomain.html): what we have, we take; what we have not, is told.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "definition/yaml.hpp"

namespace nagaya::definition::libvirt {

struct Imported {
  Json document;                        ///< a machine's, checked
  std::vector<std::string> left_out{};  ///< a line each: the place in the XML, and why where it needs saying
};

/// Whether a text is XML and no YAML: its first character that is no blank.
[[nodiscard]] bool is_xml(std::string_view text);
/// `image`: what a domain starts from that names none itself (as those do that we wrote). Errors name the element: what cannot be left out
/// without another guest coming of it.
[[nodiscard]] Result<Imported> read_domain(std::string_view text, const std::string& image);
/// Its kind and name alone.
[[nodiscard]] Result<Json> read_domain_name(std::string_view text);

}  // namespace nagaya::definition::libvirt
