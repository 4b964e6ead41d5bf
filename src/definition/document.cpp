#include "definition/document.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "proto/schema.hpp"
#include "proto/sizes.hpp"
#include "proto/text.hpp"

namespace nagaya::definition {
namespace {

struct Kind {
  std::string_view name, schema;
  int order;
};
constexpr Kind kinds[] = {{"container", "Container", 2}, {"vm", "Machine", 2}, {"network", "Network", 0}, {"volume", "Volume", 1}};

const Kind* kind_of(const Json& document) {
  if (!document.is_object() || !document.contains("kind") || !document["kind"].is_string()) return nullptr;
  const auto found = std::ranges::find(kinds, std::string_view(document["kind"].get_ref<const std::string&>()), &Kind::name);
  return found == std::end(kinds) ? nullptr : found;
}

const Json& schema() {
  static const Json parsed = Json::parse(schema_text());
  return parsed;
}

/// "512M" becomes its bytes.
Result<> numbers_of(Json& object, std::string_view field, const std::string& shown) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_string()) return {};
  auto size = proto::parse_size(found->get_ref<const std::string&>());
  if (!size) return std::unexpected(std::move(size.error()).within(shown));
  *found = *size;
  return {};
}

}  // namespace

Result<> check(Json& document) {
  const Kind* kind = kind_of(document);
  if (kind == nullptr) {
    if (!document.is_object()) return fail("a definition", "it must be an object", "begin with 'kind: container'");
    if (!document.contains("kind")) return fail("kind", "it is missing", "one of container, vm, network, volume");
    return fail("kind", "there is no such kind", "one of container, vm, network, volume");
  }
  const Json& root = schema();
  const auto against = [&]() -> Result<> {
    auto ok = proto::validate(root, root.at("$defs").at(std::string(kind->schema)), document);
    if (ok) return {};
    return fail(ok.error().field, ok.error().detail, ok.error().hint);
  };
  TRY(against());
  for (const char* field : {"shmSize", "diskSize"}) TRY(numbers_of(document, field, field));
  if (const auto limits = document.find("limits"); limits != document.end()) {
    for (const char* field : {"memory", "memoryReservation", "memorySwap"}) TRY(numbers_of(*limits, field, fmt::format("limits.{}", field)));
  }
  // Their bounds hold for what was written as a text, too.
  return against();
}

std::string title(const Json& document) { return fmt::format("{}/{}", document.value("kind", ""), document.value("name", "")); }

bool is_domain(const Json& document) {
  const std::string kind = document.value("kind", "");
  return kind == "container" || kind == "vm";
}

Result<> arrange(std::vector<Json>& documents) {
  std::set<std::string> seen;
  for (const Json& one : documents) {
    // Containers and machines have one name space.
    const std::string name = is_domain(one) ? "domain/" + one.value("name", "") : title(one);
    if (!seen.insert(name).second) return fail(title(one), "it is defined twice");
  }
  std::ranges::stable_sort(documents, {}, [](const Json& one) { return kind_of(one)->order; });
  return {};
}

Result<std::vector<Json>> read_documents(std::string_view text, const std::string& where) {
  auto documents = read_yaml(text);
  if (!documents) return std::unexpected(std::move(documents.error()).within(where));
  std::size_t number = 0;
  for (Json& one : *documents) {
    ++number;
    auto ok = check(one);
    if (ok) continue;
    const std::string name = one.is_object() && one.contains("name") && one["name"].is_string() ? fmt::format(" ('{}')", proto::printable(one["name"].get<std::string>(), 64)) : "";
    return std::unexpected(std::move(ok.error()).within(fmt::format("{}, document {}{}", where, number, name)));
  }
  TRY(arrange(*documents));
  return documents;
}

}  // namespace nagaya::definition
