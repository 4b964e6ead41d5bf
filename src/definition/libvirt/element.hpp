// An XML document that knows what has been read of it: what nobody asked for is what was left out.
#pragma once
#include <initializer_list>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::definition::libvirt {

/// What has become of the elements and attributes of a document, by their address in its tree.
class Ledger {
 public:
  void take(const void* of) { known_.try_emplace(of, Taken{}); }
  void take_all(const void* of) { known_[of] = Taken{.all = true}; }
  void leave(const void* of, std::string why) { known_[of] = Taken{.left = true, .why = std::move(why)}; }
  /// A line for each thing that was not taken, in the order of the document: "devices/graphics[vnc]", with the reason in parentheses when there
  /// is one. What lies inside it is not told again. At most 200, then how many more.
  [[nodiscard]] std::vector<std::string> left_out(pugi::xml_node root) const;

 private:
  struct Taken {
    bool all = false, left = false;
    std::string why{};
  };
  struct Walk;
  std::unordered_map<const void*, Taken> known_;
};

/// "devices/disk[vda]": elements from below the root, each with the word that tells it from its neighbours, and its number where that is not enough.
[[nodiscard]] std::string path_of(pugi::xml_node node);

class Element {
 public:
  Element(pugi::xml_node node, Ledger& ledger) : node_(node), ledger_(&ledger) {
    if (node) ledger.take(node.internal_object());
  }
  explicit operator bool() const { return static_cast<bool>(node_); }
  [[nodiscard]] std::string name() const { return node_.name(); }
  [[nodiscard]] pugi::xml_node node() const { return node_; }

  // Each counts as read. Of what is not there everything is empty.
  [[nodiscard]] std::string attribute(const char* name) const;
  [[nodiscard]] bool has(const char* name) const { return static_cast<bool>(node_.attribute(name)); }
  /// The first of that name.
  [[nodiscard]] Element child(const char* name) const { return {node_.child(name), *ledger_}; }
  [[nodiscard]] std::vector<Element> children(const char* name) const { return children_of({name}); }
  [[nodiscard]] std::vector<Element> children_of(std::initializer_list<std::string_view> names) const;  ///< in the order of the document
  [[nodiscard]] std::vector<Element> children() const;
  [[nodiscard]] std::string whole_text() const;  ///< as it stands
  [[nodiscard]] std::string text() const;        ///< without the blanks around it

  // Things that a guest here has anyway, or that say nothing about it: no line.
  void harmless() const;  ///< with all that is in it
  void harmless(const char* attribute) const;
  void harmless_children(std::initializer_list<const char*> names) const;
  /// The attribute when it has one of these values.
  void harmless(const char* attribute, std::initializer_list<std::string_view> values) const;
  // Left out for a reason.
  void leave(std::string why) const;
  void leave(const char* attribute, std::string why) const;

  [[nodiscard]] std::unexpected<Error> bad(std::string why, std::string hint = {}) const;
  [[nodiscard]] std::unexpected<Error> bad_attribute(const char* attribute, std::string why, std::string hint = {}) const;
  /// A number in bounds; nothing: there is no such attribute.
  [[nodiscard]] Result<std::optional<u64>> number(const char* attribute, u64 least, u64 most) const;
  [[nodiscard]] Result<u64> number(u64 least, u64 most) const;  ///< its text
  /// An absolute path without control characters; an error when it is missing.
  [[nodiscard]] Result<std::string> file(const char* attribute) const;

 private:
  pugi::xml_node node_;
  Ledger* ledger_;
};

}  // namespace nagaya::definition::libvirt
