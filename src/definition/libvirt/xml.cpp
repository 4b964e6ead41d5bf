#include "definition/libvirt/xml.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "proto/text.hpp"

namespace nagaya::definition::libvirt {
namespace {

/// The text between two marks is skipped; npos: the second one is missing.
std::size_t behind(std::string_view text, std::size_t at, std::string_view end) {
  const std::size_t found = text.find(end, at);
  return found == std::string_view::npos ? found : found + end.size();
}

bool good_character(u32 code) { return (code >= 0x20 || code == '\t' || code == '\n' || code == '\r') && (code < 0xd800 || code > 0xdfff) && code <= 0x10ffff && code != 0xfffe && code != 0xffff; }

/// "#10", "#x1F" or one of the five names. pugixml leaves what it does not know as it stands, and a reference to zero would end a text.
bool good_reference(std::string_view name) {
  constexpr std::array<std::string_view, 5> known = {"lt", "gt", "amp", "quot", "apos"};
  if (!name.starts_with('#')) return std::ranges::find(known, name) != known.end();
  name.remove_prefix(1);
  const bool hexadecimal = name.starts_with('x');
  if (hexadecimal) name.remove_prefix(1);
  u32 code = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), code, hexadecimal ? 16 : 10);
  return error == std::errc{} && end == name.data() + name.size() && good_character(code);
}

/// What the parser lets pass and XML does not.
Result<> check_characters(std::string_view text) {
  if (!proto::valid_utf8(text)) return fail("the text", "it is no UTF-8");
  if (!std::ranges::all_of(text, [](unsigned char c) { return good_character(c); })) return fail("the text", "it holds a control character");
  for (std::size_t at = text.find_first_of("<&"); at < text.size(); at = text.find_first_of("<&", at)) {
    const std::string_view rest = text.substr(at);
    if (rest.starts_with("<!--")) {
      at = behind(text, at + 4, "-->");
    } else if (rest.starts_with("<![CDATA[")) {
      at = behind(text, at, "]]>");
    } else if (rest.starts_with("<?")) {
      at = behind(text, at, "?>");
    } else if (rest.starts_with("<!")) {
      return fail("the text", "it has a document type (DOCTYPE)", "take it out; entities of one's own are not read");
    } else if (rest[0] == '&') {
      const std::size_t end = rest.find(';');
      if (end == std::string_view::npos || !good_reference(rest.substr(1, end - 1))) return fail("the text", "it has an unknown entity or character reference", "write &amp; for an '&'");
      at += end + 1;
    } else {
      ++at;
    }
    if (at == std::string_view::npos) return fail("the text", "it ends in the middle");
  }
  return {};
}

Result<> check_attributes(pugi::xml_node node) {
  std::array<std::string_view, most_attributes> names;
  std::size_t count = 0;
  for (const pugi::xml_attribute one : node.attributes()) {
    if (count == names.size()) return fail(proto::printable(node.name(), 64), "it has more than 64 attributes");
    names[count++] = one.name();
  }
  std::ranges::sort(names.begin(), names.begin() + count);
  const auto twice = std::adjacent_find(names.begin(), names.begin() + count);
  if (twice != names.begin() + count) return fail(proto::printable(node.name(), 64), "an attribute stands twice in it");
  return {};
}

/// Without recursion, as the parser itself goes.
Result<> check_shape(pugi::xml_node root) {
  std::size_t count = 0;
  unsigned depth = 1;
  for (pugi::xml_node at = root;;) {
    if (++count > most_nodes) return fail("the text", "it has more than 50000 elements");
    if (depth > deepest_xml) return fail("the text", "it is nested more than 32 levels deep");
    TRY(check_attributes(at));
    if (at.first_child()) {
      at = at.first_child();
      ++depth;
      continue;
    }
    while (at != root && !at.next_sibling()) {
      at = at.parent();
      --depth;
    }
    if (at == root) return {};
    at = at.next_sibling();
  }
}

struct Writer final : pugi::xml_writer {
  void write(const void* data, std::size_t size) override { out.append(static_cast<const char*>(data), size); }
  std::string out;
};

}  // namespace

bool xml_text(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return (c >= 0x20 && c != 0x7f) || c == '\t' || c == '\n'; });
}

Result<> parse_xml(std::string_view text, pugi::xml_document& document) {
  if (text.size() > longest_xml) return fail("the text", "it has more than 1 MiB");
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  TRY(check_characters(text));
  // Whitespace alone is a value where an element holds nothing else.
  const auto parsed = document.load_buffer(text.data(), text.size(), pugi::parse_default | pugi::parse_ws_pcdata_single, pugi::encoding_utf8);
  if (!parsed) {
    const auto line = 1 + std::ranges::count(text.substr(0, static_cast<std::size_t>(std::max<std::ptrdiff_t>(parsed.offset, 0))), '\n');
    return fail("it is no XML", std::string(parsed.description()) + ", line " + std::to_string(line));
  }
  const pugi::xml_node root = document.document_element();
  if (!root || root.next_sibling()) return fail("it is no XML", "it must have one element that holds all others");
  return check_shape(root);
}

std::string print_xml(const pugi::xml_document& document) {
  Writer writer;
  document.save(writer, "  ", pugi::format_default, pugi::encoding_utf8);
  writer.out += '\n';
  return std::move(writer.out);
}

}  // namespace nagaya::definition::libvirt
