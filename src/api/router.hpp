// From method and path to an operation of the document.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "api/document.hpp"
#include "api/target.hpp"

namespace nagaya::api {

struct Route {
  const OperationSpec* operation = nullptr;
  std::map<std::string, std::string> parameters{};  ///< of the path
};

class Router {
 public:
  explicit Router(const Document& document) : document_(document) {}
  /// HEAD is a GET without its body. Status 404; or 405, and then `allowed` has the methods of that path.
  [[nodiscard]] Answer<Route> find(std::string_view method, const std::vector<std::string>& segments, std::vector<std::string>& allowed) const;

 private:
  const Document& document_;
};

}  // namespace nagaya::api
