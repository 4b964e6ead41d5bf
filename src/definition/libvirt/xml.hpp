// XML from strangers as pugixml's tree: bounded in size, depth and number of nodes, without document types and the entities they bring.
#pragma once
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::definition::libvirt {

inline constexpr std::size_t longest_xml = MiB, most_nodes = 50'000, most_attributes = 64;
inline constexpr unsigned deepest_xml = 32;

/// Fills `document`. Refused: what is no UTF-8, a DOCTYPE, characters that XML has not (as references, too), an attribute twice.
[[nodiscard]] Result<> parse_xml(std::string_view text, pugi::xml_document& document);

/// Whether XML can hold the text as it is: no control characters but tabs and line feeds.
[[nodiscard]] bool xml_text(std::string_view text);

/// Indented by two, with a declaration.
[[nodiscard]] std::string print_xml(const pugi::xml_document& document);

}  // namespace nagaya::definition::libvirt
