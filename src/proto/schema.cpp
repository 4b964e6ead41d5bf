#include "proto/schema.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <regex>
#include <set>
#include <stdexcept>
#include <vector>

#include "base/suggest.hpp"
#include "base/types.hpp"
#include "proto/text.hpp"

namespace nagaya::proto {

const nlohmann::json& resolve(const nlohmann::json& root, const nlohmann::json& node) {
  const nlohmann::json* at = &node;
  for (int hops = 0; at->is_object() && at->contains("$ref"); hops++) {
    const std::string reference = (*at)["$ref"].get<std::string>();
    if (hops > 16 || !reference.starts_with("#/")) throw std::runtime_error("reference " + reference);
    at = &root.at(nlohmann::json::json_pointer(reference.substr(1)));
  }
  return *at;
}

namespace {

const std::set<std::string, std::less<>>& keywords() {
  static const std::set<std::string, std::less<>> known = {
      "$ref",     "type",     "enum",      "properties", "required",  "additionalProperties", "minProperties", "maxProperties", "items",  "minItems",
      "maxItems", "minLength", "maxLength", "pattern",    "minimum",   "maximum",              "allOf",         "format",        "default", "description"};
  return known;
}

// std::regex is dear to build and recurses over its subject: each is built once, and subjects are short (check_schema).
const std::regex& compiled(const std::string& pattern) {
  static std::mutex mutex;
  static std::map<std::string, std::regex> all;
  const std::lock_guard lock(mutex);
  auto found = all.find(pattern);
  if (found == all.end()) found = all.emplace(pattern, std::regex(pattern, std::regex::ECMAScript | std::regex::optimize)).first;
  return found->second;
}
constexpr std::size_t longest_matched = 8192;

std::unexpected<SchemaFault> wrong(const std::string& field, std::string detail) {
  return std::unexpected(SchemaFault{field, std::move(detail), {}});
}

std::string member(const std::string& field, std::string_view name) {
  const std::string shown = printable(name, 64);
  return field.empty() ? shown : fmt::format("{}.{}", field, shown);
}

bool is_type(std::string_view type, const nlohmann::json& value) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return false;
}

// Compares without losing the ends of 64-bit integers in a double.
bool less(const nlohmann::json& a, const nlohmann::json& b) {
  if (a.is_number_integer() && b.is_number_integer()) {
    if (a.is_number_unsigned() && b.is_number_unsigned()) return a.get<u64>() < b.get<u64>();
    if (a.is_number_unsigned()) return b.get<i64>() >= 0 && a.get<u64>() < static_cast<u64>(b.get<i64>());
    if (b.is_number_unsigned()) return a.get<i64>() < 0 || static_cast<u64>(a.get<i64>()) < b.get<u64>();
    return a.get<i64>() < b.get<i64>();
  }
  return a.get<double>() < b.get<double>();
}

Checked validate_string(const nlohmann::json& schema, const std::string& text, const std::string& field) {
  if (text.find('\0') != std::string::npos) return wrong(field, "it must not hold the character NUL");
  const std::size_t length = characters(text);
  if (schema.contains("minLength") && length < schema["minLength"].get<std::size_t>()) {
    return wrong(field, length == 0 ? "it must not be empty" : fmt::format("it must have {} characters at least", schema["minLength"].get<u64>()));
  }
  if (schema.contains("maxLength") && length > schema["maxLength"].get<std::size_t>()) {
    return wrong(field, fmt::format("it must have {} characters at most", schema["maxLength"].get<u64>()));
  }
  if (schema.contains("pattern")) {
    const std::string pattern = schema["pattern"];
    if (text.size() > longest_matched || !std::regex_search(text, compiled(pattern))) return wrong(field, fmt::format("it must match {}", pattern));
  }
  if (schema.value("format", "") == "date-time" && !parse_time(text)) return wrong(field, "it must be a time as in 2026-01-31T12:00:00Z");
  return {};
}

Checked validate_array(const nlohmann::json& root, const nlohmann::json& schema, const nlohmann::json& value, const std::string& field) {
  if (schema.contains("minItems") && value.size() < schema["minItems"].get<std::size_t>()) {
    return wrong(field, fmt::format("it must have {} items at least", schema["minItems"].get<u64>()));
  }
  if (schema.contains("maxItems") && value.size() > schema["maxItems"].get<std::size_t>()) {
    return wrong(field, fmt::format("it must have {} items at most", schema["maxItems"].get<u64>()));
  }
  if (!schema.contains("items")) return {};
  for (std::size_t i = 0; i < value.size(); i++) {
    if (auto ok = validate(root, schema["items"], value[i], fmt::format("{}[{}]", field, i)); !ok) return ok;
  }
  return {};
}

Checked validate_object(const nlohmann::json& root, const nlohmann::json& schema, const nlohmann::json& value, const std::string& field) {
  if (schema.contains("required")) {
    for (const nlohmann::json& name : schema["required"]) {
      if (!value.contains(name.get<std::string>())) return wrong(member(field, name.get<std::string>()), "it is missing");
    }
  }
  if (schema.contains("minProperties") && value.size() < schema["minProperties"].get<std::size_t>()) return wrong(field, "it must say something");
  if (schema.contains("maxProperties") && value.size() > schema["maxProperties"].get<std::size_t>()) {
    return wrong(field, fmt::format("it must have {} members at most", schema["maxProperties"].get<u64>()));
  }
  const auto properties = schema.find("properties"), others = schema.find("additionalProperties");
  for (const auto& [name, inner] : value.items()) {
    const std::string place = member(field, name);
    if (name.find('\0') != std::string::npos) return wrong(place, "a name must not hold the character NUL");
    if (properties != schema.end()) {
      if (const auto own = properties->find(name); own != properties->end()) {
        if (auto ok = validate(root, *own, inner, place); !ok) return ok;
        continue;
      }
    }
    if (others == schema.end()) continue;
    if (others->is_boolean()) {
      if (!others->get<bool>()) {
        std::vector<std::string> known;
        if (properties != schema.end()) {
          for (const auto& [own, unused] : properties->items()) known.push_back(own);
        }
        const std::string meant = suggestion(name, known);
        return std::unexpected(SchemaFault{place, "there is no such field", meant.empty() ? "" : fmt::format("did you mean '{}'?", meant)});
      }
    } else if (auto ok = validate(root, *others, inner, place); !ok) {
      return ok;
    }
  }
  return {};
}

}  // namespace

Result<> check_schema(const nlohmann::json& root, const nlohmann::json& schema, const std::string& where) {
  if (!schema.is_object()) return fail(where, "a schema must be an object");
  if (schema.contains("$ref")) {
    (void)resolve(root, schema);  // throws when it leads nowhere; what it leads to is checked where it stands
    return {};
  }
  for (const auto& [name, value] : schema.items()) {
    if (!keywords().contains(name)) return fail(where, fmt::format("the validator does not understand '{}'", name));
  }
  if (schema.contains("type")) {
    constexpr std::string_view types[] = {"object", "array", "string", "boolean", "integer", "number"};
    const auto known = [&](const nlohmann::json& type) { return type.is_string() && std::ranges::find(types, type.get<std::string>()) != std::end(types); };
    const bool all = schema["type"].is_array() ? std::ranges::all_of(schema["type"], known) : known(schema["type"]);
    if (!all) return fail(where, "the validator does not understand its type");
  }
  if (const std::string format = schema.value("format", ""); !format.empty() && format != "date-time" && format != "binary") {
    return fail(where, fmt::format("the validator does not understand format '{}'", format));
  }
  if (schema.contains("pattern")) {
    if (!schema.contains("maxLength") || schema["maxLength"].get<u64>() > longest_matched) return fail(where, "a pattern needs a small maxLength");
    (void)compiled(schema["pattern"]);
  }
  if (schema.contains("properties")) {
    for (const auto& [name, inner] : schema["properties"].items()) TRY(check_schema(root, inner, where + "." + name));
  }
  if (schema.contains("additionalProperties") && !schema["additionalProperties"].is_boolean()) {
    TRY(check_schema(root, schema["additionalProperties"], where + ".*"));
  }
  if (schema.contains("items")) TRY(check_schema(root, schema["items"], where + "[]"));
  if (schema.contains("allOf")) {
    for (const nlohmann::json& part : schema["allOf"]) TRY(check_schema(root, part, where));
  }
  return {};
}

Checked validate(const nlohmann::json& root, const nlohmann::json& reference, const nlohmann::json& value, const std::string& field) {
  const nlohmann::json& schema = resolve(root, reference);
  if (schema.contains("allOf")) {
    for (const nlohmann::json& part : schema["allOf"]) {
      if (auto ok = validate(root, part, value, field); !ok) return ok;
    }
  }
  if (schema.contains("type") && schema["type"].is_array()) {
    if (std::ranges::none_of(schema["type"], [&](const nlohmann::json& one) { return is_type(one.get<std::string>(), value); })) {
      return wrong(field, fmt::format("it must be one of {}", schema["type"].dump()));
    }
  } else if (schema.contains("type")) {
    const std::string type = schema["type"];
    if (!is_type(type, value)) return wrong(field, fmt::format("it must be {} {}", type == "object" || type == "array" || type == "integer" ? "an" : "a", type));
  }
  if (schema.contains("enum") && std::ranges::find(schema["enum"], value) == schema["enum"].end()) {
    return wrong(field, fmt::format("it must be one of {}", schema["enum"].dump()));
  }
  if (value.is_string()) return validate_string(schema, value.get_ref<const std::string&>(), field);
  if (value.is_array()) return validate_array(root, schema, value, field);
  if (value.is_object()) return validate_object(root, schema, value, field);
  if (value.is_number()) {
    if (schema.contains("minimum") && less(value, schema["minimum"])) return wrong(field, fmt::format("it must be {} at least", schema["minimum"].dump()));
    if (schema.contains("maximum") && less(schema["maximum"], value)) return wrong(field, fmt::format("it must be {} at most", schema["maximum"].dump()));
  }
  return {};
}

}  // namespace nagaya::proto
