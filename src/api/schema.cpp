#include "api/schema.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <set>

#include "api/text.hpp"
#include "proto/schema.hpp"

namespace nagaya::api {

Result<> check_schema(const Document& document, const Json& schema, const std::string& where) { return proto::check_schema(document.root(), schema, where); }

Answer<> validate(const Document& document, const Json& schema, const Json& value, const std::string& field) {
  auto ok = proto::validate(document.root(), schema, value, field);
  if (ok) return {};
  proto::SchemaFault& fault = ok.error();
  return refuse(400, fault.field.empty() ? fault.detail : fmt::format("{}: {}", fault.field, fault.detail), fault.field, fault.hint);
}

namespace {

Answer<Json> read_word(const std::string& type, const std::string& word, const std::string& name) {
  const char* const end = word.data() + word.size();
  if (type == "integer") {
    i64 number = 0;
    const auto [at, error] = std::from_chars(word.data(), end, number);
    if (error != std::errc{} || at != end) return refuse(400, name + ": it must be an integer", name);
    return number;
  }
  if (type == "number") {
    double number = 0;
    const auto [at, error] = std::from_chars(word.data(), end, number);
    if (error != std::errc{} || at != end || !std::isfinite(number)) return refuse(400, name + ": it must be a number", name);
    return number;
  }
  if (type == "boolean") {
    if (word != "true" && word != "false") return refuse(400, name + ": it must be true or false", name);
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
    if (words.size() != 1) return refuse(400, parameter.name + ": it is given twice", parameter.name);
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
