// Reads JSON values into plain types; the first thing wrong is kept, with its place ("linux.mounts[3].options").
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/spec/fields.hpp"

namespace nagaya::container {

class Reader {
 public:
  using Json = nlohmann::json;
  Reader(const Json& value, std::string path, std::optional<Error>& problem)
      : value_(value), path_(std::move(path)), problem_(problem) {}

  /// Member `key`, if it is there and not null.
  template <class T>
  void operator()(const char* key, T& out) {
    if (const Json* member = find(key)) read(*member, join(key), out);
  }
  /// An object whose members land in the enclosing type.
  template <class F>
  void group(const char* key, F inside) {
    if (const Json* member = find(key)) {
      Reader inner(*member, join(key), problem_);
      inside(inner);
    }
  }
  /// An object of objects: each key goes into the member `name`.
  template <class T>
  void named(const char* key, std::vector<T>& out, std::string T::*name) {
    const Json* all = find(key);
    if (!all || !object(*all, join(key))) return;
    for (const auto& [item, value] : all->items()) {
      T made;
      made.*name = item;
      read(value, join(key) + "." + item, made);
      out.push_back(std::move(made));
    }
  }

 private:
  const Json* find(const char* key);
  std::string join(const char* key) const { return path_.empty() ? key : path_ + "." + key; }
  void wrong(const std::string& path, const std::string& why);
  bool object(const Json& value, const std::string& path);

  void read(const Json& value, const std::string& path, bool& out);
  void read(const Json& value, const std::string& path, std::string& out);
  void read(const Json& value, const std::string& path, char& out);
  void read(const Json& value, const std::string& path, NamespaceKind& out);
  void read(const Json& value, const std::string& path, Map& out);
  void number(const Json& value, const std::string& path, i64 least, u64 most, bool& negative, u64& out);

  template <std::integral T>
  void read(const Json& value, const std::string& path, T& out) {
    bool negative = false;
    u64 magnitude = 0;
    number(value, path, static_cast<i64>(std::numeric_limits<T>::min()), static_cast<u64>(std::numeric_limits<T>::max()), negative,
           magnitude);
    out = static_cast<T>(negative ? 0 - magnitude : magnitude);
  }
  template <class T>
  void read(const Json& value, const std::string& path, std::optional<T>& out) {
    read(value, path, out.emplace());
  }
  template <class T>
  void read(const Json& value, const std::string& path, std::vector<T>& out) {
    if (!value.is_array()) return wrong(path, "is not a list");
    out.reserve(value.size());
    for (std::size_t i = 0; i < value.size() && !problem_; ++i)
      read(value[i], path + "[" + std::to_string(i) + "]", out.emplace_back());
  }
  template <class T>
    requires std::is_class_v<T>
  void read(const Json& value, const std::string& path, T& out) {
    if (!object(value, path)) return;
    Reader inner(value, path, problem_);
    describe(inner, out);
  }

  const Json& value_;
  std::string path_;
  std::optional<Error>& problem_;
};

/// Text into JSON: bounded in size and depth.
Result<nlohmann::json> read_json(std::string_view text, std::size_t limit);

}  // namespace nagaya::container
