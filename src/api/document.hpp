// The API's document (openapi.yaml) as the server uses it: what routes there are, what each takes and gives, who may call.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/access.hpp"
#include "base/types.hpp"

namespace nagaya::api {

/// The document's text as it was compiled in.
[[nodiscard]] std::string_view document_text();

struct Parameter {
  enum class In : unsigned char { path, query, header };
  std::string name;
  In in = In::query;
  bool required = false;
  const Json* schema = nullptr;  ///< resolved
};

struct OperationSpec {
  std::string id, method, path;         ///< "getDomain", "GET", "/v1/domains/{domain}"
  std::vector<std::string> segments{};  ///< of the path; "{name}" stands for a parameter
  Role role = Role::admin;
  Scope scope = Scope::host;
  bool websocket = false;
  std::vector<Parameter> parameters{};
  bool takes_body = false, body_required = false;
  std::string body_type{};                ///< "application/json"
  const Json* body_schema = nullptr;      ///< for JSON
  std::vector<std::string> produces{};    ///< media types of answers that are no problem
  [[nodiscard]] const Parameter* find(Parameter::In in, std::string_view name) const;
};

class Document {
 public:
  /// Reads and checks: only what the validator understands may stand in schemas.
  static Result<std::shared_ptr<const Document>> parse(std::string_view yaml);
  [[nodiscard]] const Json& root() const { return root_; }
  [[nodiscard]] const std::vector<OperationSpec>& operations() const { return operations_; }
  [[nodiscard]] const OperationSpec* find(std::string_view id) const;
  /// Follows "$ref" (within the document) until there is none.
  [[nodiscard]] const Json& resolve(const Json& node) const;
  /// components/schemas/NAME.
  [[nodiscard]] const Json& schema(const std::string& name) const;

 private:
  Result<> collect();
  Result<Parameter> parameter(const Json& node) const;
  Result<OperationSpec> operation(const std::string& path, const std::string& method, const Json& item, const Json& node) const;
  Json root_;
  std::vector<OperationSpec> operations_;
};

}  // namespace nagaya::api
