#include "migrate/definition.hpp"

#include <nlohmann/json.hpp>

#include "container/id.hpp"

namespace nagaya::migrate {
namespace {

using Json = nlohmann::json;

bool flag_of(const Json& json, const char* name) { return json.contains(name) && json[name].is_boolean() && json[name].get<bool>(); }
std::string text_of(const Json& json, const char* name) {
  return json.contains(name) && json[name].is_string() ? json[name].get<std::string>() : std::string();
}

}  // namespace

std::string write_definition(const Definition& definition) {
  const Json json = {{"id", definition.id},
                     {"config", definition.config},
                     {"chained", definition.chained},
                     {"tcpEstablished", definition.tcp_established},
                     {"extUnixSk", definition.ext_unix_sk},
                     {"shellJob", definition.shell_job},
                     {"fileLocks", definition.file_locks},
                     {"lazy", definition.lazy}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Definition> parse_definition(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return fail("the stream of the move is malformed", "the definition is no JSON object");
  Definition out{text_of(json, "id"),         text_of(json, "config"),    flag_of(json, "chained"),  flag_of(json, "tcpEstablished"),
                 flag_of(json, "extUnixSk"), flag_of(json, "shellJob"), flag_of(json, "fileLocks"), flag_of(json, "lazy")};
  TRY(container::check_id(out.id));
  return out;
}

}  // namespace nagaya::migrate
