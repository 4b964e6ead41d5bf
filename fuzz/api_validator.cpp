// Bodies and targets of requests to the API: read, validated and routed. Input: a byte that chooses, then the text.
#include "api/router.hpp"
#include "api/schema.hpp"
#include "api/text.hpp"
#include "fuzz.hpp"

namespace {

using namespace nagaya;

const api::Document& document() {
  static const auto parsed = *api::Document::parse(api::document_text());
  return *parsed;
}

bool holds_nul(const api::Json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>().find('\0') != std::string::npos;
  for (const auto& [key, inner] : value.items()) {
    if (value.is_object() && key.find('\0') != std::string::npos) return true;
    if (inner.is_structured() || inner.is_string()) {
      if (holds_nul(inner)) return true;
    }
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto& operations = document().operations();
  const api::OperationSpec& operation = operations[data[0] % operations.size()];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (operation.body_schema != nullptr) {
    if (const auto json = api::read_json(text)) {
      // What handlers count on: what is valid can be printed, and ends no string early.
      if (api::validate(document(), *operation.body_schema, *json) && (json->dump().empty() || (json->is_structured() && holds_nul(*json)))) __builtin_trap();
    }
  }
  if (const auto target = api::parse_target(text)) {
    for (const std::string& segment : target->segments) {
      if (!api::valid_utf8(segment)) __builtin_trap();
    }
    std::vector<std::string> allowed;
    (void)api::Router(document()).find("GET", target->segments, allowed);
    for (const api::Parameter& parameter : operation.parameters) {
      for (const auto& [name, words] : target->query) (void)api::read_parameter(document(), parameter, words);
    }
  }
  return 0;
}

namespace nagaya::fuzz {

std::vector<std::vector<std::uint8_t>> seeds() {
  std::vector<std::vector<std::uint8_t>> out;
  const char* const texts[] = {
      R"({"name":"web","kind":"container","image":"alpine","command":["sh","-c","x"],"limits":{"memory":1048576,"cpus":1.5},"restart":{"policy":"always"},"labels":{"a":"b"}})",
      R"({"timeout":5,"signal":"TERM","name":"other"})",
      R"({"name":"ci","role":"viewer","projects":["a"],"expires":"2030-01-01T00:00:00Z"})",
      R"({"command":["ls","-l"],"env":["A=1"],"timeout":1,"input":"x"})",
      R"([[[[{"a":[null,true,-1.5e3,"ä\u0000"]}]]]])",
      "/v1/domains/web/exec?command=ls&command=-l&terminal=false&user=root%00&tail=5",
      "/v1/images/docker.io%2flibrary%2Falpine:1?x=%ff",
  };
  const std::size_t count = document().operations().size();
  for (std::size_t i = 0; i < count; i++) {
    for (const char* text : texts) {
      std::vector<std::uint8_t> one{static_cast<std::uint8_t>(i)};
      for (const char* c = text; *c != 0; c++) one.push_back(static_cast<std::uint8_t>(*c));
      out.push_back(std::move(one));
    }
  }
  return out;
}

}  // namespace nagaya::fuzz
