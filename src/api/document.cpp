#include "api/document.hpp"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>

#include "api/schema.hpp"
#include "proto/schema.hpp"

namespace nagaya::api {
namespace {

Json scalar(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  if (text == "true") return true;
  if (text == "false") return false;
  if (text == "null" || text == "~" || text.empty()) return nullptr;
  const char* const end = text.data() + text.size();
  i64 whole = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, whole); error == std::errc{} && at == end) return whole;
  double number = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, number); error == std::errc{} && at == end) return number;
  return text;
}

Json to_json(const YAML::Node& node) {
  switch (node.Type()) {
    case YAML::NodeType::Scalar: return scalar(node);
    case YAML::NodeType::Sequence: {
      Json out = Json::array();
      for (const auto& item : node) out.push_back(to_json(item));
      return out;
    }
    case YAML::NodeType::Map: {
      Json out = Json::object();
      for (const auto& item : node) out[item.first.Scalar()] = to_json(item.second);
      return out;
    }
    default: return nullptr;
  }
}

std::vector<std::string> split(const std::string& path) {
  std::vector<std::string> out;
  for (std::size_t at = 1; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    out.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

constexpr std::string_view methods[] = {"get", "post", "put", "patch", "delete"};

}  // namespace

const Parameter* OperationSpec::find(Parameter::In in, std::string_view name) const {
  const auto found = std::ranges::find_if(parameters, [&](const Parameter& p) { return p.in == in && p.name == name; });
  return found == parameters.end() ? nullptr : &*found;
}

Result<std::shared_ptr<const Document>> Document::parse(std::string_view yaml) {
  auto out = std::make_shared<Document>();
  try {
    out->root_ = to_json(YAML::Load(std::string(yaml)));
    TRY(out->collect());
  } catch (const std::exception& error) {
    return fail("the API's document", error.what());
  }
  return out;
}

const OperationSpec* Document::find(std::string_view id) const {
  const auto found = std::ranges::find(operations_, id, &OperationSpec::id);
  return found == operations_.end() ? nullptr : &*found;
}

const Json& Document::resolve(const Json& node) const { return proto::resolve(root_, node); }

const Json& Document::schema(const std::string& name) const { return root_.at("components").at("schemas").at(name); }

Result<Parameter> Document::parameter(const Json& reference) const {
  const Json& node = resolve(reference);
  Parameter out{.name = node.at("name"), .required = node.value("required", false), .schema = &resolve(node.at("schema"))};
  const std::string in = node.at("in");
  if (in == "path") {
    out.in = Parameter::In::path;
  } else if (in == "header") {
    out.in = Parameter::In::header;
  } else if (in != "query") {
    return fail(fmt::format("parameter {}", out.name), fmt::format("'in: {}' is not understood", in));
  }
  TRY(check_schema(*this, *out.schema, "parameter " + out.name));
  return out;
}

Result<OperationSpec> Document::operation(const std::string& path, const std::string& method, const Json& item, const Json& node) const {
  OperationSpec out{.id = node.at("operationId"), .method = method, .path = path, .segments = split(path)};
  std::ranges::transform(out.method, out.method.begin(), [](char c) { return static_cast<char>(c - 'a' + 'A'); });
  TRY_ASSIGN(out.role, parse_role(node.at("x-role").get<std::string>()));
  TRY_ASSIGN(out.scope, parse_scope(node.at("x-scope").get<std::string>()));
  out.websocket = node.value("x-websocket", false);
  for (const Json* from : {&item, &node}) {
    if (!from->contains("parameters")) continue;
    for (const Json& one : from->at("parameters")) {
      TRY_ASSIGN(Parameter parsed, parameter(one));
      out.parameters.push_back(std::move(parsed));
    }
  }
  if (node.contains("requestBody")) {
    const Json& body = resolve(node.at("requestBody"));
    out.takes_body = true;
    out.body_required = body.value("required", false);
    const auto& content = body.at("content");
    if (content.size() != 1) return fail(out.id, "a body has one media type");
    out.body_type = content.begin().key();
    if (out.body_type == "application/json") {
      out.body_schema = &resolve(content.begin().value().at("schema"));
      TRY(check_schema(*this, *out.body_schema, out.id));
    }
  }
  for (const auto& [status, response] : node.at("responses").items()) {
    if (status == "default") continue;
    const Json& resolved = resolve(response);
    if (!resolved.contains("content")) continue;
    for (const auto& [type, media] : resolved.at("content").items()) {
      out.produces.push_back(type);
      TRY(check_schema(*this, media.at("schema"), out.id));
    }
  }
  return out;
}

Result<> Document::collect() {
  const std::string prefix = root_.at("servers").at(0).at("url");
  for (const auto& [path, item] : root_.at("paths").items()) {
    for (const std::string_view method : methods) {
      if (!item.contains(std::string(method))) continue;
      TRY_ASSIGN(OperationSpec one, operation(prefix + path, std::string(method), item, item.at(std::string(method))));
      if (find(one.id) != nullptr) return fail(one.id, "the name is used twice");
      operations_.push_back(std::move(one));
    }
  }
  for (const auto& [name, schema] : root_.at("components").at("schemas").items()) TRY(check_schema(*this, schema, name));
  return {};
}

}  // namespace nagaya::api
