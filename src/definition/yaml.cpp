#include "definition/yaml.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>

#include "proto/text.hpp"

namespace nagaya::definition {
namespace {

struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A plain scalar by the core schema (YAML 1.2.2, 10.3.2).
Json plain(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  std::string_view digits = text;
  int base = 10;
  if (digits.starts_with("0x")) {
    base = 16;
    digits.remove_prefix(2);
  } else if (digits.starts_with("0o")) {
    base = 8;
    digits.remove_prefix(2);
  } else if (digits.starts_with('+')) {
    digits.remove_prefix(1);
  }
  const char* const end = digits.data() + digits.size();
  if (!digits.empty() && (base == 10 || digits[0] != '-')) {
    u64 natural = 0;
    if (const auto [at, error] = std::from_chars(digits.data(), end, natural, base); error == std::errc{} && at == end) return natural;
    i64 whole = 0;
    if (const auto [at, error] = std::from_chars(digits.data(), end, whole, base); error == std::errc{} && at == end) return whole;
  }
  if (base == 10 && digits.find_first_not_of("0123456789.eE+-") == std::string_view::npos && digits.find_first_of("0123456789") != std::string_view::npos) {
    double number = 0;
    if (const auto [at, error] = std::from_chars(digits.data(), end, number); error == std::errc{} && at == end && std::isfinite(number)) return number;
  }
  return text;
}

struct Weight {
  std::size_t values = 0, bytes = 0;
};

/// Builds without recursion: the parser's own is bounded, and ours would not be.
class Builder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {
    if (++documents_ > most_documents) throw Refused("more than 1000 documents");
    anchors_.clear();
    root_ = nullptr;
  }
  void OnDocumentEnd() override {
    if (root_.is_null()) return;
    out.push_back(std::move(root_));
  }
  void OnNull(const YAML::Mark&, YAML::anchor_t anchor) override { put(nullptr, anchor); }
  void OnScalar(const YAML::Mark&, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    if (!proto::valid_utf8(text)) throw Refused("it is no UTF-8");
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return put(text, anchor);
    if (tag != "?" && !tag.empty()) {
      for (const char* known : {"int", "float", "bool", "null"}) {
        if (tag == std::string("tag:yaml.org,2002:") + known) return put(plain(text), anchor);
      }
      throw Refused(fmt::format("the tag '{}' is not known", proto::printable(tag, 64)));
    }
    put(plain(text), anchor);
  }
  void OnAlias(const YAML::Mark&, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw Refused("an alias stands in what it names");
    count(found->second.second);
    place(found->second.first);
  }
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { open(Json::array(), anchor); }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { open(Json::object(), anchor); }
  void OnMapEnd() override { close(); }

  std::vector<Json> out;

 private:
  struct Level {
    Json value;
    YAML::anchor_t anchor;
    Weight before;
    std::optional<std::string> key{};
  };

  void count(const Weight& more) {
    weight_.values += more.values;
    weight_.bytes += more.bytes;
    if (weight_.values > most_values) throw Refused("it has more than 100000 values");
    if (weight_.bytes > most_text) throw Refused("its texts have more than 16 MiB, aliases followed");
  }
  void put(Json value, YAML::anchor_t anchor) {
    const Weight own{1, value.is_string() ? value.get_ref<const std::string&>().size() : 0};
    count(own);
    if (anchor != YAML::NullAnchor) anchors_[anchor] = {value, own};
    place(std::move(value));
  }
  void open(Json empty, YAML::anchor_t anchor) {
    if (levels_.size() >= deepest) throw Refused("it is nested more than 32 levels deep");
    levels_.push_back({std::move(empty), anchor, weight_});
    count({1, 0});
  }
  void close() {
    Level level = std::move(levels_.back());
    levels_.pop_back();
    // What is kept for aliases is counted as well: each anchor holds a copy.
    if (level.anchor != YAML::NullAnchor) {
      const Weight own{weight_.values - level.before.values, weight_.bytes - level.before.bytes};
      count(own);
      anchors_[level.anchor] = {level.value, own};
    }
    place(std::move(level.value));
  }
  void place(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return;
    }
    Level& level = levels_.back();
    if (level.value.is_array()) {
      level.value.push_back(std::move(value));
    } else if (!level.key) {
      if (!value.is_string()) throw Refused("a key is no string");
      level.key = value.get<std::string>();
    } else {
      if (level.value.contains(*level.key)) throw Refused(fmt::format("the key '{}' stands twice in one map", proto::printable(*level.key, 64)));
      level.value[*level.key] = std::move(value);
      level.key.reset();
    }
  }

  std::vector<Level> levels_;
  std::map<YAML::anchor_t, std::pair<Json, Weight>> anchors_;
  Json root_;
  Weight weight_;
  std::size_t documents_ = 0;
};

/// Before anything is parsed: brackets nest no deeper than the parser can go.
bool too_deep(std::string_view text) {
  std::size_t depth = 0, most = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') most = std::max(most, ++depth);
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (most > 256) return true;
  }
  return false;
}

constexpr std::array<std::string_view, 8> first_keys = {"kind", "name", "project", "image", "entrypoint", "command", "limits", "labels"};

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> out;
  for (const std::string_view key : first_keys) {
    if (object.contains(key)) out.emplace_back(key);
  }
  for (const auto& [key, value] : object.items()) {
    if (std::ranges::find(first_keys, key) == first_keys.end()) out.push_back(key);
  }
  return out;
}

std::string scalar(const Json& value) {
  if (!value.is_string()) return value.dump();
  const std::string& text = value.get_ref<const std::string&>();
  const bool simple = !text.empty() && text.size() < 80 && std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '/' || c == '.' || c == '-' || c == '='; }) &&
                      (std::isalpha(static_cast<unsigned char>(text[0])) != 0 || text[0] == '/') && plain(text).is_string();
  // Words that older YAML takes for truth values are quoted, too, for other readers. JSON's strings are YAML's.
  constexpr std::array<std::string_view, 8> words = {"y", "n", "yes", "no", "on", "off", "true", "false"};
  std::string lower;
  for (const unsigned char c : text) lower += static_cast<char>(std::tolower(c));
  if (simple && std::ranges::find(words, lower) == words.end()) return text;
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void write(const Json& value, std::size_t indent, std::string& out) {
  const std::string pad(indent, ' ');
  if (value.is_object()) {
    for (const std::string& key : keys_of(value)) {
      const Json& inner = value.at(key);
      out += pad + scalar(key) + ":";
      if (inner.is_structured() && !inner.empty()) {
        out += '\n';
        write(inner, indent + 2, out);
      } else {
        out += " " + (inner.is_structured() ? inner.dump() : scalar(inner)) + "\n";
      }
    }
    return;
  }
  for (const Json& item : value) {
    if (!item.is_structured() || item.empty()) {
      out += pad + "- " + (item.is_structured() ? item.dump() : scalar(item)) + "\n";
      continue;
    }
    std::string inner;
    write(item, indent + 2, inner);
    out += pad + "- " + inner.substr(indent + 2);
  }
}

}  // namespace

Result<std::vector<Json>> read_yaml(std::string_view text) {
  if (text.size() > longest_text) return fail("the text", "it has more than 2 MiB");
  if (text.find('\0') != std::string_view::npos) return fail("the text", "it holds a zero byte");
  if (too_deep(text)) return fail("the text", "it is nested too deeply");
  Builder builder;
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused& refused) {
    return fail("the text", refused.what());
  } catch (const std::exception& error) {
    return fail("it is no YAML", proto::printable(error.what(), 200));
  }
  std::vector<Json> out;
  for (Json& one : builder.out) {
    if (!one.is_array()) {
      out.push_back(std::move(one));
      continue;
    }
    for (Json& inner : one) out.push_back(std::move(inner));
  }
  return out;
}

std::string write_yaml(const Json& value) {
  if (!value.is_structured() || value.empty()) return value.dump() + "\n";
  std::string out;
  write(value, 0, out);
  return out;
}

}  // namespace nagaya::definition
