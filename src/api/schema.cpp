#include "api/schema.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <mutex>
#include <regex>
#include <set>

#include "api/text.hpp"

namespace nagaya::api {
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

std::unexpected<Problem> wrong(const std::string& field, std::string detail) {
  return refuse(400, field.empty() ? std::move(detail) : fmt::format("{}: {}", field, detail), field);
}

std::string member(const std::string& field, std::string_view name) {
  const std::string shown = printable(name, 64);
  return field.empty() ? shown : fmt::format("{}.{}", field, shown);
}

bool is_type(std::string_view type, const Json& value) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return false;
}

// Compares without losing the ends of 64-bit integers in a double.
bool less(const Json& a, const Json& b) {
  if (a.is_number_integer() && b.is_number_integer()) {
    if (a.is_number_unsigned() && b.is_number_unsigned()) return a.get<u64>() < b.get<u64>();
    if (a.is_number_unsigned()) return b.get<i64>() >= 0 && a.get<u64>() < static_cast<u64>(b.get<i64>());
    if (b.is_number_unsigned()) return a.get<i64>() < 0 || static_cast<u64>(a.get<i64>()) < b.get<u64>();
    return a.get<i64>() < b.get<i64>();
  }
  return a.get<double>() < b.get<double>();
}

Answer<> validate_string(const Json& schema, const std::string& text, const std::string& field) {
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

Answer<> validate_array(const Document& document, const Json& schema, const Json& value, const std::string& field) {
  if (schema.contains("minItems") && value.size() < schema["minItems"].get<std::size_t>()) {
    return wrong(field, fmt::format("it must have {} items at least", schema["minItems"].get<u64>()));
  }
  if (schema.contains("maxItems") && value.size() > schema["maxItems"].get<std::size_t>()) {
    return wrong(field, fmt::format("it must have {} items at most", schema["maxItems"].get<u64>()));
  }
  if (!schema.contains("items")) return {};
  for (std::size_t i = 0; i < value.size(); i++) {
    if (auto ok = validate(document, schema["items"], value[i], fmt::format("{}[{}]", field, i)); !ok) return ok;
  }
  return {};
}

Answer<> validate_object(const Document& document, const Json& schema, const Json& value, const std::string& field) {
  if (schema.contains("required")) {
    for (const Json& name : schema["required"]) {
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
        if (auto ok = validate(document, *own, inner, place); !ok) return ok;
        continue;
      }
    }
    if (others == schema.end()) continue;
    if (others->is_boolean()) {
      if (!others->get<bool>()) return wrong(place, "there is no such field");
    } else if (auto ok = validate(document, *others, inner, place); !ok) {
      return ok;
    }
  }
  return {};
}

}  // namespace

Result<> check_schema(const Document& document, const Json& schema, const std::string& where) {
  if (!schema.is_object()) return fail(where, "a schema must be an object");
  if (schema.contains("$ref")) {
    (void)document.resolve(schema);  // throws when it leads nowhere; what it leads to is checked where it stands
    return {};
  }
  for (const auto& [name, value] : schema.items()) {
    if (!keywords().contains(name)) return fail(where, fmt::format("the validator does not understand '{}'", name));
  }
  if (schema.contains("type")) {
    constexpr std::string_view types[] = {"object", "array", "string", "boolean", "integer", "number"};
    if (!schema["type"].is_string() || std::ranges::find(types, schema["type"].get<std::string>()) == std::end(types)) {
      return fail(where, "the validator does not understand its type");
    }
  }
  if (const std::string format = schema.value("format", ""); !format.empty() && format != "date-time" && format != "binary") {
    return fail(where, fmt::format("the validator does not understand format '{}'", format));
  }
  if (schema.contains("pattern")) {
    if (!schema.contains("maxLength") || schema["maxLength"].get<u64>() > longest_matched) return fail(where, "a pattern needs a small maxLength");
    (void)compiled(schema["pattern"]);
  }
  if (schema.contains("properties")) {
    for (const auto& [name, inner] : schema["properties"].items()) TRY(check_schema(document, inner, where + "." + name));
  }
  if (schema.contains("additionalProperties") && !schema["additionalProperties"].is_boolean()) {
    TRY(check_schema(document, schema["additionalProperties"], where + ".*"));
  }
  if (schema.contains("items")) TRY(check_schema(document, schema["items"], where + "[]"));
  if (schema.contains("allOf")) {
    for (const Json& part : schema["allOf"]) TRY(check_schema(document, part, where));
  }
  return {};
}

Answer<> validate(const Document& document, const Json& reference, const Json& value, const std::string& field) {
  const Json& schema = document.resolve(reference);
  if (schema.contains("allOf")) {
    for (const Json& part : schema["allOf"]) {
      if (auto ok = validate(document, part, value, field); !ok) return ok;
    }
  }
  if (schema.contains("type")) {
    const std::string type = schema["type"];
    if (!is_type(type, value)) return wrong(field, fmt::format("it must be {} {}", type == "object" || type == "array" || type == "integer" ? "an" : "a", type));
  }
  if (schema.contains("enum") && std::ranges::find(schema["enum"], value) == schema["enum"].end()) {
    return wrong(field, fmt::format("it must be one of {}", schema["enum"].dump()));
  }
  if (value.is_string()) return validate_string(schema, value.get_ref<const std::string&>(), field);
  if (value.is_array()) return validate_array(document, schema, value, field);
  if (value.is_object()) return validate_object(document, schema, value, field);
  if (value.is_number()) {
    if (schema.contains("minimum") && less(value, schema["minimum"])) return wrong(field, fmt::format("it must be {} at least", schema["minimum"].dump()));
    if (schema.contains("maximum") && less(schema["maximum"], value)) return wrong(field, fmt::format("it must be {} at most", schema["maximum"].dump()));
  }
  return {};
}

namespace {

Answer<Json> read_word(const std::string& type, const std::string& word, const std::string& name) {
  const char* const end = word.data() + word.size();
  if (type == "integer") {
    i64 number = 0;
    const auto [at, error] = std::from_chars(word.data(), end, number);
    if (error != std::errc{} || at != end) return wrong(name, "it must be an integer");
    return number;
  }
  if (type == "number") {
    double number = 0;
    const auto [at, error] = std::from_chars(word.data(), end, number);
    if (error != std::errc{} || at != end || !std::isfinite(number)) return wrong(name, "it must be a number");
    return number;
  }
  if (type == "boolean") {
    if (word != "true" && word != "false") return wrong(name, "it must be true or false");
    return word == "true";
  }
  return word;
}

}  // namespace

Answer<Json> read_parameter(const Document& document, const Parameter& parameter, const std::vector<std::string>& words) {
  const std::string type = parameter.schema->value("type", "string");
  Json value;
  if (type == "array") {
    value = Json::array();
    const std::string inner = document.resolve(parameter.schema->at("items")).value("type", "string");
    for (const std::string& word : words) {
      auto item = read_word(inner, word, parameter.name);
      if (!item) return item;
      value.push_back(std::move(*item));
    }
  } else {
    if (words.size() != 1) return wrong(parameter.name, "it is given twice");
    auto read = read_word(type, words[0], parameter.name);
    if (!read) return read;
    value = std::move(*read);
  }
  if (auto ok = validate(document, *parameter.schema, value, parameter.name); !ok) return std::unexpected(ok.error());
  return value;
}

Answer<Json> read_json(std::string_view text) {
  struct TooMuch : std::exception {};
  struct Twice : std::exception {};
  unsigned values = 0;
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > static_cast<int>(deepest_json) || ++values > most_json_values) throw TooMuch();
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.empty() && !keys.back().insert(parsed.get<std::string>()).second) throw Twice();
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const TooMuch&) {
    return refuse(400, "the JSON text is nested too deeply, or has too many values");
  } catch (const Twice&) {
    return refuse(400, "the JSON text has a key twice in one object");
  } catch (const std::exception& error) {
    return refuse(400, fmt::format("the body is no JSON: {}", printable(error.what(), 200)));
  }
}

}  // namespace nagaya::api
