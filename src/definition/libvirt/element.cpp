#include "definition/libvirt/element.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "definition/libvirt/units.hpp"
#include "definition/libvirt/xml.hpp"
#include "proto/text.hpp"

namespace nagaya::definition::libvirt {
namespace {

constexpr std::size_t most_lines = 200, longest_word = 64;

/// The word that people know such an element by.
std::string label_of(pugi::xml_node node) {
  const std::string_view name = node.name();
  pugi::xml_attribute word;
  if (name == "disk") word = node.child("target").attribute("dev");
  for (const char* key : {"type", "name", "dev", "model", "vcpu"}) {
    if (word) break;
    word = node.attribute(key);
  }
  return proto::printable(word.value(), longest_word);
}

std::string segment_of(pugi::xml_node node) {
  const std::string name = node.name();
  // Alone of its name it needs no more, but for devices and what people know by another word.
  const bool alone = !node.previous_sibling(name.c_str()) && !node.next_sibling(name.c_str());
  const bool plain = alone && name != "boot" && name != "timer" && std::string_view(node.parent().name()) != "devices";
  const std::string label = plain ? "" : label_of(node);
  unsigned before = 0;
  for (pugi::xml_node other = node.previous_sibling(name.c_str()); other; other = other.previous_sibling(name.c_str())) {
    if (label_of(other) == label) ++before;
  }
  const std::string number = before == 0 ? "" : fmt::format("{}{}", label.empty() ? "" : ":", before + 1);
  const std::string inside = label + number;
  return proto::printable(name, longest_word) + (inside.empty() ? "" : fmt::format("[{}]", inside));
}

std::string attribute_path(pugi::xml_node node, pugi::xml_attribute attribute) {
  const std::string path = path_of(node), name = proto::printable(attribute.name(), longest_word);
  return fmt::format("{}{}@{}={}", path, path.empty() ? "" : "/", name, proto::printable(attribute.value(), longest_word));
}

}  // namespace

std::string path_of(pugi::xml_node node) {
  std::string out;
  for (; node.parent() && node.parent().type() != pugi::node_document; node = node.parent()) out = segment_of(node) + (out.empty() ? "" : "/") + out;
  return out;
}

struct Ledger::Walk {
  const Ledger& ledger;
  std::vector<std::string> out{};
  std::size_t more = 0;

  template <class Path>
  void line(const Taken* known, Path path) {
    if (out.size() == most_lines) {
      ++more;
      return;
    }
    std::string text = path();
    if (known != nullptr && !known->why.empty()) text += fmt::format(" ({})", known->why);
    out.push_back(std::move(text));
  }
  const Taken* find(const void* of) const {
    const auto found = ledger.known_.find(of);
    return found == ledger.known_.end() ? nullptr : &found->second;
  }
  // As deep as the parser lets documents be.
  void visit(pugi::xml_node node) {
    const Taken* known = find(node.internal_object());
    if (known == nullptr || known->left) return line(known, [&]() { return path_of(node); });
    if (known->all) return;
    for (const pugi::xml_attribute one : node.attributes()) {
      const Taken* of = find(one.internal_object());
      if (std::string_view(one.name()).starts_with("xmlns") && of == nullptr) continue;
      if (of == nullptr || of->left) line(of, [&]() { return attribute_path(node, one); });
    }
    for (const pugi::xml_node inner : node.children()) {
      if (inner.type() == pugi::node_element) visit(inner);
    }
  }
};

std::vector<std::string> Ledger::left_out(pugi::xml_node root) const {
  Walk walk{*this};
  walk.visit(root);
  if (walk.more != 0) walk.out.push_back(fmt::format("and {} more", walk.more));
  return std::move(walk.out);
}

std::string Element::attribute(const char* name) const {
  const pugi::xml_attribute found = node_.attribute(name);
  if (found) ledger_->take(found.internal_object());
  return found.value();
}

std::vector<Element> Element::children_of(std::initializer_list<std::string_view> names) const {
  std::vector<Element> out;
  for (const pugi::xml_node one : node_.children()) {
    if (std::ranges::find(names, std::string_view(one.name())) != names.end()) out.emplace_back(one, *ledger_);
  }
  return out;
}

std::vector<Element> Element::children() const {
  std::vector<Element> out;
  for (const pugi::xml_node one : node_.children()) {
    if (one.type() == pugi::node_element) out.emplace_back(one, *ledger_);
  }
  return out;
}

std::string Element::whole_text() const {
  // A comment in the middle makes two nodes of one text.
  std::string out;
  for (const pugi::xml_node one : node_.children()) {
    if (one.type() == pugi::node_pcdata || one.type() == pugi::node_cdata) out += one.value();
  }
  return out;
}

std::string Element::text() const {
  const std::string all = whole_text();
  const std::size_t first = all.find_first_not_of(" \t\r\n");
  return first == std::string::npos ? "" : all.substr(first, all.find_last_not_of(" \t\r\n") - first + 1);
}

void Element::harmless() const {
  if (node_) ledger_->take_all(node_.internal_object());
}

void Element::harmless(const char* attribute) const {
  if (const auto found = node_.attribute(attribute)) ledger_->take(found.internal_object());
}

void Element::harmless_children(std::initializer_list<const char*> names) const {
  for (const char* name : names) {
    for (const pugi::xml_node one : node_.children(name)) ledger_->take_all(one.internal_object());
  }
}

void Element::harmless(const char* attribute, std::initializer_list<std::string_view> values) const {
  if (std::ranges::find(values, std::string_view(node_.attribute(attribute).value())) != values.end()) harmless(attribute);
}

void Element::leave(std::string why) const {
  if (node_) ledger_->leave(node_.internal_object(), std::move(why));
}

void Element::leave(const char* attribute, std::string why) const {
  if (const auto found = node_.attribute(attribute)) ledger_->leave(found.internal_object(), std::move(why));
}

std::unexpected<Error> Element::bad(std::string why, std::string hint) const {
  const std::string path = path_of(node_);
  return fail(path.empty() ? name() : path, std::move(why), std::move(hint));
}

std::unexpected<Error> Element::bad_attribute(const char* attribute, std::string why, std::string hint) const {
  const auto found = node_.attribute(attribute);
  return fail(found ? attribute_path(node_, found) : fmt::format("{}/@{}", path_of(node_), attribute), std::move(why), std::move(hint));
}

Result<std::optional<u64>> Element::number(const char* attribute, u64 least, u64 most) const {
  if (!has(attribute)) return std::optional<u64>();
  const auto value = whole_number(this->attribute(attribute));
  if (!value || *value < least || *value > most) return bad_attribute(attribute, fmt::format("it must be a number from {} to {}", least, most));
  return value;
}

Result<u64> Element::number(u64 least, u64 most) const {
  const auto value = whole_number(text());
  if (!value || *value < least || *value > most) return bad(fmt::format("it must be a number from {} to {}", least, most));
  return *value;
}

Result<std::string> Element::file(const char* attribute) const {
  std::string path = this->attribute(attribute);
  if (path.empty()) return bad_attribute(attribute, "it is missing");
  if (path[0] != '/' || path.size() > 4095 || !xml_text(path) || path.find('\n') != std::string::npos) return bad_attribute(attribute, "it must be an absolute path");
  return path;
}

}  // namespace nagaya::definition::libvirt
