#include <nlohmann/json.hpp>

#include "container/spec/fields.hpp"
#include "container/spec/names.hpp"
#include "container/spec/parse.hpp"

namespace nagaya::container {
namespace {

using Json = nlohmann::ordered_json;

class Writer {
 public:
  explicit Writer(Json& object) : object_(object) {}

  template <class T>
  void operator()(const char* key, const T& value) {
    if (Json made; put(value, made)) object_[key] = std::move(made);
  }
  template <class F>
  void group(const char* key, F inside) {
    Json made = Json::object();
    Writer inner(made);
    inside(inner);
    if (!made.empty()) object_[key] = std::move(made);
  }
  template <class T>
  void named(const char* key, const std::vector<T>& values, std::string T::*name) {
    for (const auto& value : values) put(value, object_[key][value.*name]);
  }

 private:
  // Each returns whether there is anything to say.
  static bool put(bool value, Json& out) { return out = value, true; }
  static bool put(const std::string& text, Json& out) { return out = text, !text.empty(); }
  static bool put(char letter, Json& out) { return out = std::string(1, letter), true; }
  static bool put(NamespaceKind kind, Json& out) { return out = namespace_name(kind), true; }
  static bool put(const Map& map, Json& out) {
    for (const auto& [key, value] : map) out[key] = value;
    return !map.empty();
  }
  template <std::integral T>
  static bool put(T value, Json& out) {
    return out = value, true;
  }
  template <class T>
  static bool put(const std::optional<T>& value, Json& out) {
    if (!value) return false;
    put(*value, out);
    return true;
  }
  template <class T>
  static bool put(const std::vector<T>& values, Json& out) {
    for (const auto& value : values) put(value, out.emplace_back());
    return !values.empty();
  }
  template <class T>
    requires std::is_class_v<T>
  static bool put(const T& value, Json& out) {
    out = Json::object();
    Writer inner(out);
    describe(inner, value);
    return !out.empty();
  }

  Json& object_;
};

template <class T>
std::string write_document(const T& value) {
  Json out = Json::object();
  Writer writer(out);
  describe(writer, value);
  return out.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string write_spec(const Spec& spec) { return write_document(spec); }
std::string write_process(const Process& process) { return write_document(process); }

}  // namespace nagaya::container
