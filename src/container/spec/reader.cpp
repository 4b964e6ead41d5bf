#include "container/spec/reader.hpp"

#include "container/spec/names.hpp"

namespace nagaya::container {

const Reader::Json* Reader::find(const char* key) {
  if (problem_) return nullptr;
  if (!value_.is_object()) {
    wrong(path_, "is not an object");
    return nullptr;
  }
  const auto it = value_.find(key);
  return it == value_.end() || it->is_null() ? nullptr : &*it;
}

void Reader::wrong(const std::string& path, const std::string& why) {
  if (!problem_) problem_ = Error{(path.empty() ? "the document" : path) + " " + why};
}

bool Reader::object(const Json& value, const std::string& path) {
  if (!value.is_object()) wrong(path, "is not an object");
  return value.is_object() && !problem_;
}

void Reader::read(const Json& value, const std::string& path, bool& out) {
  if (!value.is_boolean()) return wrong(path, "is neither true nor false");
  out = value.get<bool>();
}

void Reader::read(const Json& value, const std::string& path, std::string& out) {
  const auto* text = value.get_ptr<const std::string*>();
  if (!text) return wrong(path, "is not a text");
  // All of them end in system calls, which would see a shorter text.
  if (text->find('\0') != std::string::npos) return wrong(path, "has a NUL character in it");
  out = *text;
}

void Reader::read(const Json& value, const std::string& path, char& out) {
  std::string text;
  read(value, path, text);
  if (problem_) return;
  if (text.size() != 1) return wrong(path, "is not one letter");
  out = text[0];
}

void Reader::read(const Json& value, const std::string& path, NamespaceKind& out) {
  std::string text;
  read(value, path, text);
  if (problem_) return;
  if (const auto kind = namespace_kind(text))
    out = *kind;
  else
    wrong(path, "names no namespace: '" + text + "'");
}

void Reader::read(const Json& value, const std::string& path, Map& out) {
  if (!object(value, path)) return;
  for (const auto& [key, text] : value.items()) {
    if (key.find('\0') != std::string::npos) return wrong(path, "has a name with a NUL character in it");
    auto& entry = out.emplace_back(key, std::string());
    read(text, path + "." + key, entry.second);
    if (problem_) return;
  }
}

void Reader::number(const Json& value, const std::string& path, i64 least, u64 most, bool& negative, u64& out) {
  if (value.is_number_unsigned()) {
    out = value.get<u64>();
    if (out > most) wrong(path, "is too large");
  } else if (value.is_number_integer()) {
    const i64 given = value.get<i64>();
    negative = given < 0;
    out = negative ? 0 - static_cast<u64>(given) : static_cast<u64>(given);
    if (given < least)
      wrong(path, least == 0 ? "is negative" : "is too small");
    else if (!negative && out > most)
      wrong(path, "is too large");
  } else {
    wrong(path, "is not a whole number");
  }
}

Result<nlohmann::json> read_json(std::string_view text, std::size_t limit) {
  constexpr int deepest = 64;
  if (text.size() > limit)
    return fail("the document has " + std::to_string(text.size()) + " bytes", "at most " + std::to_string(limit) + " are read");
  bool too_deep = false;
  const auto guard = [&too_deep](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    too_deep |= depth > deepest;
    return !too_deep;
  };
  auto parsed = nlohmann::json::parse(text, guard, false);
  if (too_deep) return fail("the document is nested too deeply", "at most " + std::to_string(deepest) + " levels are read");
  if (parsed.is_discarded()) return fail("the document is not JSON");
  return parsed;
}

}  // namespace nagaya::container
