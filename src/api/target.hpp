// The target of a request ("/v1/domains/web?follow=true"), taken apart by Boost.URL.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/problem.hpp"

namespace nagaya::api {

struct Target {
  std::vector<std::string> segments;  ///< of the path, decoded; they may hold '/'
  std::map<std::string, std::vector<std::string>> query;
  std::string path;  ///< as it came, without the query
};

/// Status 400: it is no path with a query, or what it says is no UTF-8 or holds control characters.
[[nodiscard]] Answer<Target> parse_target(std::string_view text);

}  // namespace nagaya::api
