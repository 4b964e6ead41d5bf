// Strict reading of one JSON object: each known key is taken once, with its type; finish() refuses what is left. No
// exceptions leave this file's functions.
#pragma once
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::proto {

inline constexpr std::size_t longest_json = 1 * MiB;

/// Parses text that must be one JSON object.
[[nodiscard]] inline Result<nlohmann::json> parse_object(std::string_view text, const std::string& what) {
  if (text.size() > longest_json) return fail(what, "longer than 1 MiB");
  auto value = nlohmann::json::parse(text, nullptr, false);
  if (value.is_discarded()) return fail(what, "not valid JSON");
  if (!value.is_object()) return fail(what, "not a JSON object");
  return value;
}

/// JSON text of strings that may hold any bytes: what is no UTF-8 becomes U+FFFD.
[[nodiscard]] inline std::string print(const nlohmann::ordered_json& value, int indent = -1) {
  return value.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

class Fields {
 public:
  Fields(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {}

  /// Whether there was one.
  bool text(const char* key, std::string& out) {
    const auto* v = take(key);
    if (v == nullptr) return false;
    if (v->is_string()) {
      out = v->get<std::string>();
    } else {
      wrong(key, "a string");
    }
    return true;
  }
  void flag(const char* key, bool& out) {
    if (const auto* v = take(key)) {
      if (!v->is_boolean()) return wrong(key, "true or false");
      out = v->get<bool>();
    }
  }
  /// Whether there was one.
  template <class T>
  bool number(const char* key, T& out) {
    const auto* v = take(key);
    if (v != nullptr) {
      if (v->is_number_unsigned() && v->get<u64>() <= u64{std::numeric_limits<T>::max()}) {
        out = static_cast<T>(v->get<u64>());
      } else if (std::numeric_limits<T>::is_signed && v->is_number_integer() && !v->is_number_unsigned() &&
                 v->get<i64>() >= static_cast<i64>(std::numeric_limits<T>::min())) {
        out = static_cast<T>(v->get<i64>());
      } else {
        wrong(key, std::numeric_limits<T>::is_signed ? "a whole number" : "a whole number, not negative");
      }
    }
    return v != nullptr;
  }
  void texts(const char* key, std::vector<std::string>& out) {
    if (const auto* v = take(key)) {
      if (!v->is_array()) return wrong(key, "a list of strings");
      for (const auto& item : *v) {
        if (!item.is_string()) return wrong(key, "a list of strings");
        out.push_back(item.get<std::string>());
      }
    }
  }
  /// The raw value, or null.
  const nlohmann::json* take(const char* key) {
    const auto it = object_.find(key);
    if (it == object_.end()) return nullptr;
    taken_.insert(key);
    return &*it;
  }
  void wrong(const char* key, std::string_view wanted) { note(fmt::format("'{}' must be {}", key, wanted)); }
  void note(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
  }
  [[nodiscard]] Result<> finish() const {
    if (!problem_.empty()) return fail(where_, problem_);
    for (const auto& [key, value] : object_.items()) {
      if (!taken_.contains(key)) return fail(where_, fmt::format("unknown key '{}'", key));
    }
    return {};
  }

 private:
  const nlohmann::json& object_;
  std::string where_, problem_;
  std::set<std::string, std::less<>> taken_;
};

}  // namespace nagaya::proto
